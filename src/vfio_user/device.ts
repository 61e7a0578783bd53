/**
 * The card as a vfio-user device: its regions and its kinds of interrupts.
 *
 * @module
 */
import type { Card } from "../sim/card.ts";
import type { InterruptRoutes } from "./interrupts.ts";
import { Errno, IrqInfoFlag, Refusal, Region } from "./protocol.ts";

/** Sizes of the regions, by number; a region that is not there has none. */
export const REGION_BYTES: Readonly<Record<number, number>> = {
  [Region.bar0]: 0x20000,
  [Region.bar4]: 0x4000,
  [Region.config]: 0x1000,
};

/** Flags of the kinds of interrupts, by number: INTx, MSI, MSI-X. */
export const IRQ_FLAGS: readonly number[] = [
  IrqInfoFlag.EVENTFD | IrqInfoFlag.MASKABLE | IrqInfoFlag.AUTOMASKED,
  IrqInfoFlag.EVENTFD | IrqInfoFlag.MASKABLE,
  IrqInfoFlag.EVENTFD | IrqInfoFlag.MASKABLE,
];

/** The MSI-X table in BAR 4: four words a vector (PCI 6.8.2). */
const MSIX_TABLE_BYTES = 64 * 16;
const MSIX_VECTOR_CONTROL = 12;
const MSIX_MASKED = 1;
/** Where the capability says that the pending bits are. */
const MSIX_PENDING = 0x2000;
const MSIX_PENDING_BYTES = 8;

/** Reads and writes of a card's regions, in the sizes that a client chooses. */
export class CardRegions {
  readonly #card: Card;
  readonly #routes: InterruptRoutes;
  readonly #table = new DataView(new ArrayBuffer(MSIX_TABLE_BYTES));

  constructor(card: Card, routes: InterruptRoutes) {
    this.#card = card;
    this.#routes = routes;
    this.reset();
  }

  /** What a reset does to BAR 4: all vectors are masked. */
  reset(): void {
    for (let at = 0; at < MSIX_TABLE_BYTES; at += 4) {
      const isControl = at % 16 === MSIX_VECTOR_CONTROL;
      this.#table.setUint32(at, isControl ? MSIX_MASKED : 0, true);
    }
  }

  /** Reads `count` bytes into `into`, in the widest accesses that their place allows. */
  read(region: number, offset: bigint, count: number, into: DataView): void {
    const start = place(region, offset, count);
    for (let done = 0; done < count;) {
      const size = widest(start + done, count - done);
      const value = this.#readOne(region, start + done, size);
      if (size === 4) into.setUint32(done, value, true);
      else if (size === 2) into.setUint16(done, value, true);
      else into.setUint8(done, value);
      done += size;
    }
  }

  /** Writes `count` bytes of `from`. */
  write(region: number, offset: bigint, count: number, from: DataView): void {
    const start = place(region, offset, count);
    for (let done = 0; done < count;) {
      const size = widest(start + done, count - done);
      const value = size === 4
        ? from.getUint32(done, true)
        : size === 2
        ? from.getUint16(done, true)
        : from.getUint8(done);
      this.#writeOne(region, start + done, value, size);
      done += size;
    }
  }

  #readOne(region: number, at: number, size: 1 | 2 | 4): number {
    if (region === Region.bar0) return this.#card.read(at, size);
    if (region === Region.config) return this.#card.readConfig(at, size);
    const word = this.#readBar4(at & ~3);
    return (word >>> ((at & 3) * 8)) & (2 ** (size * 8) - 1);
  }

  #writeOne(region: number, at: number, value: number, size: 1 | 2 | 4): void {
    if (region === Region.bar0) this.#card.write(at, value, size);
    else if (region === Region.config) this.#card.writeConfig(at, value, size);
    // Words and pairs of them only (PCI 6.8.2): what else is written has no effect.
    else if (size === 4 && at < MSIX_TABLE_BYTES) {
      this.#table.setUint32(at, value, true);
    }
  }

  #readBar4(at: number): number {
    if (at < MSIX_TABLE_BYTES) return this.#table.getUint32(at, true);
    const pending = at - MSIX_PENDING;
    if (pending < 0 || pending >= MSIX_PENDING_BYTES) return 0;
    return this.#routes.pendingWord(pending / 4);
  }
}

/** The offset as a number. Throws when the access is not within the region. */
function place(region: number, offset: bigint, count: number): number {
  const size = REGION_BYTES[region] ?? 0;
  if (offset + BigInt(count) > BigInt(size)) {
    throw new Refusal(
      Errno.EINVAL,
      `${count} bytes at 0x${
        offset.toString(16)
      } of region ${region}, which has ${size}`,
    );
  }
  return Number(offset);
}

function widest(at: number, left: number): 1 | 2 | 4 {
  if (at % 4 === 0 && left >= 4) return 4;
  return at % 2 === 0 && left >= 2 ? 2 : 1;
}
