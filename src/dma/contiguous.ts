/**
 * Hugepages that are neighbours in RAM: for devices without an IOMMU, which know physical addresses only.
 *
 * Nobody can ask the kernel for neighbours. What it can be asked is where a page lies, once it is taken. Hence pages
 * are taken until there are enough neighbours among them, and the others are given back. Right after boot a few are
 * enough, because the kernel reserves its hugepages one behind the other.
 *
 * @module
 */
import { IxlError } from "../errors.ts";

/** A file of pages that are taken and given back one by one. */
export interface PageFile {
  /** Takes the pages of a range, or throws when there are not enough. */
  allocate(offset: number, length: number): void;
  /** Gives the pages of a range back. */
  release(offset: number, length: number): void;
  /** Where the page at an offset lies in RAM. */
  physicalAddress(offset: number): bigint;
}

/** A page that was taken. */
export interface PhysicalPage {
  /** Where it is in the file. */
  readonly offset: number;
  /** Where it is in RAM. */
  readonly address: bigint;
}

/** A part of RAM that a memory lies in or may still grow into. */
interface Room {
  readonly start: bigint;
  readonly end: bigint;
}

/** Most pages that are taken to look at them: 2 GiB with pages of 2 MiB. */
const MOST_CANDIDATES = 1024;
/** Drivers add the offset of an entry to the lower half of an address, without carry. */
const NO_CARRY = 1n << 32n;

/** Where the memories of this process have room to grow: others keep out of it as long as there is another place. */
const rooms = new Set<Room>();

/** The pages of one memory, each the neighbour of the one before. */
export class ContiguousPages {
  readonly #file: PageFile;
  readonly #pageSize: number;
  readonly #wanted: number;
  readonly #pages: PhysicalPage[] = [];
  #room: Room | undefined;

  /**
   * @param file Where pages come from.
   * @param pageSize Bytes of a page.
   * @param wanted How many pages the memory may grow to.
   */
  constructor(file: PageFile, pageSize: number, wanted: number) {
    this.#file = file;
    this.#pageSize = pageSize;
    this.#wanted = wanted;
  }

  /** Where the first page lies in RAM; undefined while there is none. */
  get address(): bigint | undefined {
    return this.#pages[0]?.address;
  }

  /**
   * Adds pages until there are `count`, and returns the new ones.
   * @throws {IxlError} "no-hugepages" when there are no neighbours: nothing is taken then.
   */
  growTo(count: number): readonly PhysicalPage[] {
    const missing = count - this.#pages.length;
    if (missing <= 0) return [];
    const candidates: PhysicalPage[] = [];
    let found: PhysicalPage[] = [];
    try {
      found = this.#search(missing, candidates);
    } finally {
      this.#giveBack(candidates, found);
    }
    this.#pages.push(...found);
    this.#makeRoom();
    return found;
  }

  /** Gives all pages but the first `count` back. */
  shrinkTo(count: number): void {
    this.#giveBack(this.#pages.splice(count), []);
    if (count === 0) this.#makeRoom();
  }

  #search(missing: number, candidates: PhysicalPage[]): PhysicalPage[] {
    const begins = this.#pages.length === 0;
    for (let left = true; left;) {
      left = this.#takeCandidates(candidates);
      const found = begins
        ? this.#place(candidates, missing, !left)
        : this.#neighbours(candidates, missing);
      if (found !== undefined) return found;
    }
    throw new IxlError(
      "no-hugepages",
      begins
        ? `without an IOMMU, memory must be in one piece, and there are not enough free hugepages in a row for it (${missing} needed): reserve more at boot (hugepages=256 on the kernel's command line), when RAM is not in pieces yet, or use smaller pools`
        : `without an IOMMU, a pool grows only into the hugepages right behind it, and they are not free (${missing} needed): open the card with a larger pool (poolEntries), or reserve more hugepages at boot`,
    );
  }

  /** Takes some more pages to look at; false when these are the last. */
  #takeCandidates(candidates: PhysicalPage[]): boolean {
    const last = candidates.at(-1) ?? this.#pages.reduce(
      (a, b) => a.offset > b.offset ? a : b,
      { offset: -this.#pageSize, address: 0n },
    );
    let { offset } = last;
    for (let i = 0; i < this.#wanted; i++) {
      offset += this.#pageSize;
      try {
        this.#file.allocate(offset, this.#pageSize);
      } catch (error) {
        const isEmpty = error instanceof IxlError &&
          error.code === "no-hugepages";
        if (isEmpty) return false;
        throw error;
      }
      candidates.push({ offset, address: 0n });
      const address = this.#file.physicalAddress(offset);
      candidates[candidates.length - 1] = { offset, address };
    }
    return candidates.length < MOST_CANDIDATES;
  }

  /** Where a memory begins: with room to grow and away from others, or, once there is no hope for that, anywhere. */
  #place(
    candidates: readonly PhysicalPage[],
    count: number,
    isLast: boolean,
  ): PhysicalPage[] | undefined {
    const away = candidates.filter(({ address }) => !isTaken(address));
    const free = rowsOf(away, this.#pageSize);
    const roomy = free.find((row) => row.length >= this.#wanted);
    if (roomy !== undefined || !isLast) return roomy?.slice(0, count);
    const all = [...free, ...rowsOf(candidates, this.#pageSize)];
    return all.find((row) => row.length >= count)?.slice(0, count);
  }

  /** The pages right behind what there is. */
  #neighbours(
    candidates: readonly PhysicalPage[],
    count: number,
  ): PhysicalPage[] | undefined {
    const last = this.#pages.at(-1)!;
    const rows = rowsOf([last, ...candidates], this.#pageSize);
    const row = rows.find((row) => row.includes(last))!;
    const from = row.indexOf(last) + 1;
    const behind = row.slice(from, from + count);
    return behind.length === count ? behind : undefined;
  }

  #giveBack(
    pages: readonly PhysicalPage[],
    except: readonly PhysicalPage[],
  ): void {
    for (const page of pages) {
      if (except.includes(page)) continue;
      this.#file.release(page.offset, this.#pageSize);
    }
  }

  #makeRoom(): void {
    if (this.#room !== undefined) rooms.delete(this.#room);
    const start = this.address;
    if (start === undefined) return;
    const end = start + BigInt(this.#wanted * this.#pageSize);
    this.#room = { start, end };
    rooms.add(this.#room);
  }
}

function isTaken(address: bigint): boolean {
  for (const { start, end } of rooms) {
    if (address >= start && address < end) return true;
  }
  return false;
}

/** Pages in rows of neighbours, none of which crosses a multiple of 4 GiB. */
function rowsOf(
  pages: readonly PhysicalPage[],
  pageSize: number,
): PhysicalPage[][] {
  const sorted = [...pages].sort((a, b) => (a.address < b.address ? -1 : 1));
  const rows: PhysicalPage[][] = [];
  let next: bigint | undefined;
  for (const page of sorted) {
    if (page.address === next && next % NO_CARRY !== 0n) {
      rows.at(-1)!.push(page);
    } else rows.push([page]);
    next = page.address + BigInt(pageSize);
  }
  return rows;
}
