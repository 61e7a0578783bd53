/**
 * The device side of virtqueues, written from the specification alone (Virtio 1.2): it fails where the driver does
 * anything that it must not.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import type { DeviceMemory } from "./memory.ts";

/** Which features were agreed on. */
export interface BackendFeatures {
  readonly packed: boolean;
  readonly indirect: boolean;
  readonly eventIndex: boolean;
  readonly inOrder: boolean;
}

/** One element of a buffer. */
export interface Element {
  readonly address: number;
  readonly length: number;
}

/** A buffer that the device has taken from a virtqueue. */
export interface Taken {
  /** Head of its descriptor chain (2.7.8), or buffer id (2.8). */
  readonly id: number;
  /** Descriptors of the ring that it takes. */
  readonly descriptors: number;
  readonly elements: readonly Element[];
  /** Where its descriptors lie, and what stood in them: the driver must not change it meanwhile. */
  readonly words: readonly { address: number; words: readonly number[] }[];
}

/** Where a virtqueue lies. */
export interface QueuePlace {
  readonly descriptors: number;
  readonly driver: number;
  readonly device: number;
  readonly size: number;
}

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const AVAIL = 1 << 7;
const USED = 1 << 15;

/** A virtqueue as its device sees it. */
export abstract class BackendQueue {
  /** Buffers that are taken and not given back, by id. */
  protected readonly taken = new Map<number, Taken>();
  /** Times that the driver notified since the last {@linkcode settle}. */
  protected notified = 0;

  /**
   * @param memory What the device can reach.
   * @param place Where the virtqueue lies.
   * @param features What was agreed on.
   * @param writes Whether the device writes its buffers: a receive queue.
   */
  constructor(
    readonly memory: DeviceMemory,
    readonly place: QueuePlace,
    readonly features: BackendFeatures,
    readonly writes: boolean,
  ) {}

  /** The driver notified the device. */
  notify(): void {
    this.notified++;
  }

  /** Takes the next available buffer, if there is one. */
  abstract take(): Taken | undefined;
  /** Gives a buffer back, `written` bytes of it filled. True when the driver wants an interrupt for it. */
  abstract give(buffer: Taken, written: number): boolean;
  /** In order only: gives several back with one entry, of which all but the last were used completely. */
  abstract giveRun(buffers: readonly Taken[], written: number): boolean;
  /** Says whether, or from which buffer on, the driver shall notify. */
  abstract wantNotifications(wanted: boolean): void;
  /** Fails unless the driver notified when and only when it had to since the last call. */
  abstract settle(): void;
  /** Fails unless the driver's part of the event suppression says that it wants no interrupt now. */
  abstract assertNoInterrupts(): void;

  /** Buffers that the device has. */
  get held(): number {
    return this.taken.size;
  }

  protected hold(buffer: Taken): Taken {
    assert(
      !this.taken.has(buffer.id),
      `buffer ${buffer.id} is with the device`,
    );
    assert(buffer.elements.length > 0);
    for (const { address, length } of buffer.elements) {
      assert(length > 0, "an element has a length");
      this.memory.at(address, length);
    }
    const mine = [...this.taken.values()].reduce(
      (sum, { descriptors }) => sum + descriptors,
      buffer.descriptors,
    );
    assert(mine <= this.place.size, "no more descriptors than there are");
    this.taken.set(buffer.id, buffer);
    return buffer;
  }

  protected release(buffer: Taken): void {
    assertEquals(this.taken.get(buffer.id), buffer);
    for (const { address, words } of buffer.words) {
      assertEquals(
        this.words(address),
        words,
        "the driver changed a descriptor",
      );
    }
    this.taken.delete(buffer.id);
  }

  /** The four words of a descriptor. */
  protected words(address: number): number[] {
    const view = this.memory.at(address, 16);
    return [0, 4, 8, 12].map((offset) => view.getUint32(offset, true));
  }

  protected element([low, high, length]: readonly number[]): Element {
    return { address: high * 2 ** 32 + low, length };
  }

  protected u16(address: number): number {
    return this.memory.at(address, 2).getUint16(0, true);
  }

  protected setU16(address: number, value: number): void {
    this.memory.at(address, 2).setUint16(0, value, true);
  }

  protected checkWriteFlag(flags: number): void {
    assertEquals((flags & WRITE) !== 0, this.writes, "2.7.5: the WRITE flag");
  }
}

/** A split virtqueue (2.7). */
export class SplitBackend extends BackendQueue {
  /** The next entry of the available ring. */
  #next = 0;
  #used = 0;
  #settled = 0;
  /** Where the next descriptor lies, in order (2.7.5). */
  #table = 0;
  #wantsAll = true;

  get #availableIndex(): number {
    return this.u16(this.place.driver + 2);
  }

  override take(): Taken | undefined {
    const { driver, size } = this.place;
    const flags = this.u16(driver);
    assert(flags <= 1, "2.7.7.1: flags are 0 or 1");
    if (this.features.eventIndex) assertEquals(flags, 0, "2.7.7.1");
    const ahead = (this.#availableIndex - this.#next) & 0xffff;
    assert(ahead <= size, "2.7.6: no more entries than the ring has");
    if (ahead === 0) return undefined;
    const head = this.u16(driver + 4 + (this.#next % size) * 2);
    this.#next = (this.#next + 1) & 0xffff;
    return this.hold(this.#chain(head));
  }

  #chain(head: number): Taken {
    const { size, descriptors } = this.place;
    const elements: Element[] = [];
    const seen: { address: number; words: number[] }[] = [];
    const visited = new Set<number>();
    let at = head;
    for (;;) {
      assert(at < size, "2.7.5: a descriptor of the table");
      assert(!visited.has(at), "2.7.5.2: no loops");
      visited.add(at);
      if (this.features.inOrder) {
        assertEquals(
          at,
          this.#table,
          "2.7.5: in order, from the table's start",
        );
        this.#table = (this.#table + 1) % size;
      }
      const address = descriptors + at * 16;
      const words = this.words(address);
      seen.push({ address, words });
      const flags = words[3] & 0xffff;
      assertEquals(flags & ~(NEXT | WRITE | INDIRECT), 0, "2.7.5: known flags");
      if ((flags & INDIRECT) !== 0) {
        assert(this.features.indirect, "2.7.5.3.1: only where agreed on");
        assertEquals(flags & NEXT, 0, "2.7.5.3.1: not both");
        elements.push(...this.#table16(this.element(words), seen));
        break;
      }
      this.checkWriteFlag(flags);
      elements.push(this.element(words));
      if ((flags & NEXT) === 0) break;
      const next = words[3] >>> 16;
      if (this.features.inOrder) assertEquals(next, (at + 1) % size, "2.7.5.2");
      at = next;
    }
    for (const { descriptors: count, id } of this.taken.values()) {
      assert(count > 0 && id !== head);
    }
    assert(elements.length <= size, "2.7.5.3.1: no longer than the queue");
    return { id: head, descriptors: visited.size, elements, words: seen };
  }

  #table16(
    { address, length }: Element,
    seen: { address: number; words: number[] }[],
  ): Element[] {
    assert(length > 0 && length % 16 === 0, "2.7.5.3: whole descriptors");
    const elements: Element[] = [];
    const count = length / 16;
    for (let at = 0;;) {
      const place = address + at * 16;
      const words = this.words(place);
      seen.push({ address: place, words });
      const flags = words[3] & 0xffff;
      assertEquals(
        flags & ~(NEXT | WRITE),
        0,
        "2.7.5.3.1: no table in a table",
      );
      this.checkWriteFlag(flags);
      elements.push(this.element(words));
      if ((flags & NEXT) === 0) break;
      const next = words[3] >>> 16;
      assert(next < count, "2.7.5.3: within the table");
      assertEquals(next, at + 1, "2.7.5.3.1: one after the other");
      at = next;
    }
    assertEquals(elements.length, count, "nothing in the table is unused");
    return elements;
  }

  override give(buffer: Taken, written: number): boolean {
    this.release(buffer);
    const before = this.#used;
    this.#write(this.#used, buffer.id, written);
    this.#advance(1);
    return this.#interrupts(before);
  }

  override giveRun(buffers: readonly Taken[], written: number): boolean {
    assert(this.features.inOrder);
    for (const buffer of buffers) this.release(buffer);
    const before = this.#used;
    // 2.7.9: one entry, at the place of the first, with the id of the last.
    this.#write(this.#used, buffers[buffers.length - 1].id, written);
    this.#advance(buffers.length);
    return this.#interrupts(before);
  }

  /** For lying: writes an entry of the used ring. */
  writeEntry(index: number, id: number, written: number): void {
    this.#write(index, id, written);
  }

  /** For lying: writes the used index. */
  writeIndex(index: number): void {
    this.setU16(this.place.device + 2, index);
  }

  /** For lying: the used index as it should be. */
  get usedIndex(): number {
    return this.#used;
  }

  #write(index: number, id: number, written: number): void {
    const { device, size } = this.place;
    const entry = this.memory.at(device + 4 + (index % size) * 8, 8);
    entry.setUint32(0, id, true);
    entry.setUint32(4, written, true);
  }

  #advance(count: number): void {
    this.#used = (this.#used + count) & 0xffff;
    this.setU16(this.place.device + 2, this.#used);
  }

  #interrupts(before: number): boolean {
    const { driver, size } = this.place;
    if (!this.features.eventIndex) return (this.u16(driver) & 1) === 0;
    const event = this.u16(driver + 4 + size * 2);
    return between(event, before, this.#used);
  }

  override assertNoInterrupts(): void {
    const { driver, size } = this.place;
    if (!this.features.eventIndex) {
      assertEquals(this.u16(driver), 1, "2.7.7.1: flags");
      return;
    }
    const event = this.u16(driver + 4 + size * 2);
    const until = (event - this.#used) & 0xffff;
    assert(until >= size, `an interrupt is wanted in ${until} buffers`);
  }

  override wantNotifications(wanted: boolean): void {
    const { device, size } = this.place;
    this.#wantsAll = wanted;
    if (this.features.eventIndex) {
      // 2.7.10: the next entry that is written, or one that is far.
      const event = wanted ? this.#next : this.#next - 1;
      this.setU16(device + 4 + size * 8, event & 0xffff);
    } else {
      this.setU16(device, wanted ? 0 : 1);
    }
  }

  override settle(): void {
    const { device, size } = this.place;
    const now = this.#availableIndex;
    const changed = now !== this.#settled;
    const due = changed &&
      (this.features.eventIndex
        ? between(this.u16(device + 4 + size * 8), this.#settled, now)
        : this.#wantsAll);
    assertEquals(this.notified > 0, due, "2.7.10: notifications");
    this.#settled = now;
    this.notified = 0;
  }
}

/** Whether an index that goes from `before` to `after` writes the entry `event` (2.7.7.1). */
function between(event: number, before: number, after: number): boolean {
  for (let at = before; at !== after; at = (at + 1) & 0xffff) {
    if (at === event) return true;
  }
  return false;
}

/** A packed virtqueue (2.8). */
export class PackedBackend extends BackendQueue {
  #next = 0;
  #wrap = true;
  /** Descriptors that are the device's, by place: the driver must not change them (2.8.15). */
  readonly #mine = new Map<number, number[]>();
  #usedAt = 0;
  #usedWrap = true;
  /** Descriptors that were taken, ever. */
  #seen = 0;
  /** Descriptors that were available at the last {@linkcode settle}, ever. */
  #counted = 0;
  /** Where the descriptor after them belongs. */
  #settled = { at: 0, wrap: true };

  override take(): Taken | undefined {
    this.#checkEvents();
    const { size, descriptors } = this.place;
    if (!this.#isAvailable(this.#next, this.#wrap)) return undefined;
    const elements: Element[] = [];
    const seen: { address: number; words: number[] }[] = [];
    let count = 0;
    let id = 0;
    for (;;) {
      assert(count < size, "2.8.19: no longer than the queue");
      assert(
        this.#isAvailable(this.#next, this.#wrap),
        "2.8.19.1: the first comes last",
      );
      const address = descriptors + this.#next * 16;
      const words = this.words(address);
      this.#mine.set(this.#next, words);
      const flags = words[3] >>> 16;
      id = words[3] & 0xffff;
      const known = NEXT | WRITE | INDIRECT | AVAIL | USED;
      assertEquals(flags & ~known, 0, "2.8.13: known flags");
      this.#next++;
      this.#seen++;
      count++;
      if (this.#next === size) {
        this.#next = 0;
        this.#wrap = !this.#wrap;
      }
      if ((flags & INDIRECT) !== 0) {
        assert(this.features.indirect, "2.8.17: only where agreed on");
        assertEquals(flags & NEXT, 0, "2.8.17: not in a chain");
        assertEquals(count, 1, "2.8.17: not in a chain");
        elements.push(...this.#table(this.element(words), seen));
        break;
      }
      this.checkWriteFlag(flags);
      elements.push(this.element(words));
      if ((flags & NEXT) === 0) break;
    }
    assert(id < size, "a buffer id below the queue's size");
    assert(elements.length <= size, "2.8.16: no longer than the queue");
    return this.hold({ id, descriptors: count, elements, words: seen });
  }

  #isAvailable(at: number, wrap: boolean): boolean {
    const flags = this.words(this.place.descriptors + at * 16)[3] >>> 16;
    return ((flags & AVAIL) !== 0) === wrap && ((flags & USED) !== 0) !== wrap;
  }

  #table(
    { address, length }: Element,
    seen: { address: number; words: number[] }[],
  ): Element[] {
    assert(length > 0 && length % 16 === 0, "2.8.7: whole descriptors");
    return Array.from({ length: length / 16 }, (_, n) => {
      const place = address + n * 16;
      const words = this.words(place);
      seen.push({ address: place, words });
      const flags = words[3] >>> 16;
      assertEquals(flags & ~WRITE, 0, "2.8.17: no flags but WRITE");
      this.checkWriteFlag(flags);
      return this.element(words);
    });
  }

  override give(buffer: Taken, written: number): boolean {
    return this.#give(buffer, [buffer], written);
  }

  override giveRun(buffers: readonly Taken[], written: number): boolean {
    assert(this.features.inOrder);
    // 2.8.8: one descriptor, in the place of the first, with the id of the last.
    return this.#give(buffers[buffers.length - 1], buffers, written);
  }

  #give(named: Taken, buffers: readonly Taken[], written: number): boolean {
    const { size } = this.place;
    for (const buffer of buffers) this.release(buffer);
    const count = buffers.reduce((sum, one) => sum + one.descriptors, 0);
    const wrap = this.#usedWrap;
    const from = this.#usedAt;
    for (const [at] of walk(from, wrap, count, size)) {
      const words = this.words(this.place.descriptors + at * 16);
      assertEquals(
        words,
        this.#mine.get(at),
        "the driver changed a descriptor",
      );
      this.#mine.delete(at);
    }
    this.writeUsed(from, named.id, written, wrap);
    this.#usedAt += count;
    if (this.#usedAt >= size) {
      this.#usedAt -= size;
      this.#usedWrap = !wrap;
    }
    return this.#interrupts(from, wrap, count);
  }

  /** For lying: writes a used descriptor. */
  writeUsed(at: number, id: number, written: number, wrap: boolean): void {
    const view = this.memory.at(this.place.descriptors + at * 16, 16);
    const flags = (wrap ? AVAIL | USED : 0) | (this.writes ? WRITE : 0);
    view.setUint32(8, written, true);
    view.setUint16(12, id, true);
    view.setUint16(14, flags, true);
  }

  /** For lying: where the next used descriptor belongs. */
  get usedPlace(): { at: number; wrap: boolean } {
    return { at: this.#usedAt, wrap: this.#usedWrap };
  }

  #checkEvents(): number {
    const flags = this.u16(this.place.driver + 2);
    assert(flags <= 2, "2.8.14: reserved bits are 0");
    assert(flags < 2 || this.features.eventIndex, "2.8.10");
    return flags;
  }

  #interrupts(from: number, wrap: boolean, count: number): boolean {
    const flags = this.#checkEvents();
    if (flags !== 2) return flags === 0;
    const named = this.u16(this.place.driver);
    return walk(from, wrap, count, this.place.size).some(([at, round]) =>
      at === (named & 0x7fff) && round === (named >>> 15 === 1)
    );
  }

  override assertNoInterrupts(): void {
    assertEquals(this.#checkEvents(), 1, "2.8.10: disabled");
  }

  override wantNotifications(wanted: boolean): void {
    const { device } = this.place;
    if (wanted && this.features.eventIndex) {
      const { at, wrap } = this.#settled;
      this.setU16(device, at | (wrap ? 0x8000 : 0));
      this.setU16(device + 2, 2);
    } else {
      this.setU16(device + 2, wanted ? 0 : 1);
    }
  }

  /** Descriptors that became available since the last {@linkcode settle}. */
  #count(): number {
    const { size } = this.place;
    let at = this.#next;
    let wrap = this.#wrap;
    let count = this.#seen;
    for (let ahead = 0; ahead < size && this.#isAvailable(at, wrap); ahead++) {
      count++;
      if (++at === size) {
        at = 0;
        wrap = !wrap;
      }
    }
    const since = count - this.#counted;
    this.#counted = count;
    this.#settled = { at, wrap };
    return since;
  }

  override settle(): void {
    const { device, size } = this.place;
    const flags = this.u16(device + 2);
    const named = this.u16(device);
    const from = this.#settled;
    const count = this.#count();
    const due = flags === 2
      ? walk(from.at, from.wrap, count, size).some(([at, round]) =>
        at === (named & 0x7fff) && round === (named >>> 15 === 1)
      )
      : flags === 0 && count > 0;
    assertEquals(this.notified > 0, due, "2.8.21: notifications");
    this.notified = 0;
  }
}

/** Places from one on, each with its wrap counter. */
function walk(
  from: number,
  wrap: boolean,
  count: number,
  size: number,
): [at: number, wrap: boolean][] {
  return Array.from({ length: count }, (_, n) => {
    const rounds = Math.floor((from + n) / size);
    return [(from + n) % size, wrap !== (rounds % 2 === 1)];
  });
}
