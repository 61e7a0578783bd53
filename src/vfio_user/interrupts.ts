/**
 * Where the card's interrupts go: the client's eventfds, by kind, with masks.
 *
 * The client decides which kind is in use by the eventfds that it gives; the MSI-X table is its affair, and so is
 * what a message contains.
 *
 * @module
 */
import { closeFd } from "../ffi/libc.ts";
import { isEventFd, PeerSignals } from "../ffi/peer_eventfd.ts";
import { Errno, IrqIndex, IrqSetFlag, Refusal } from "./protocol.ts";

/** How many interrupts each kind has, in the order of {@linkcode IrqIndex}: one line, one message, 64 vectors. */
export const IRQ_LINES: readonly number[] = [1, 1, 64];

/** DEVICE_SET_IRQS without its data. */
export interface IrqSet {
  /** What to do with which kind of data: bits of {@linkcode IrqSetFlag}. */
  readonly flags: number;
  /** Which kind of interrupts. */
  readonly index: number;
  /** The first of them, and how many. */
  readonly start: number;
  readonly count: number;
  /** One byte each, with DATA_BOOL. */
  readonly bools: Uint8Array;
  /** One each or none, with DATA_EVENTFD. They belong to the routes when the request is done, and not when it is refused. */
  readonly fds: readonly number[];
}

/** One interrupt. */
class Line {
  /** The eventfd to signal. */
  target: number | undefined;
  masked = false;
  /** It was raised while it was masked. */
  pending = false;

  constructor(readonly signals: PeerSignals) {}

  connect(fd: number | undefined): void {
    if (this.target !== undefined) closeFd(this.target);
    this.target = fd;
    if (fd === undefined) {
      this.pending = false;
      this.masked = false;
    }
  }

  /** Tells the client. A full eventfd loses nothing: reading it tells that there was an interrupt. */
  signal(): void {
    if (this.target !== undefined) this.signals.signal(this.target);
  }
}

/** The eventfds of one client. */
export class InterruptRoutes {
  readonly #signals = new PeerSignals();
  readonly #kinds: readonly (readonly Line[])[] = IRQ_LINES.map((count) =>
    Array.from({ length: count }, () => new Line(this.#signals))
  );
  /** Vectors that the card has fired and that were not signalled yet. */
  readonly #fired = new Uint8Array(IRQ_LINES[IrqIndex.msix]);
  #anyFired = false;
  readonly #lineIsHigh: () => boolean;

  /** @param lineIsHigh Whether the card holds its INTx line. */
  constructor(lineIsHigh: () => boolean) {
    this.#lineIsHigh = lineIsHigh;
  }

  /** The card fires a vector. The client learns it with {@linkcode deliver}, when the card's memory is up to date. */
  fire(vector: number): void {
    this.#fired[vector] = 1;
    this.#anyFired = true;
  }

  /** Tells the client of what has fired, and of a line that is held. */
  deliver(): void {
    this.#holdLine();
    if (!this.#anyFired) return;
    this.#anyFired = false;
    for (let vector = 0; vector < this.#fired.length; vector++) {
      if (this.#fired[vector] === 0) continue;
      this.#fired[vector] = 0;
      this.#signal(vector);
    }
  }

  /**
   * Does what DEVICE_SET_IRQS asks for.
   * @throws {Refusal} when there is no such interrupt, or it cannot do that.
   */
  set(request: IrqSet): void {
    const { flags, index, start, count } = request;
    const lines = this.#kinds[index];
    if (lines === undefined) {
      throw new Refusal(Errno.EINVAL, `there is no interrupt of kind ${index}`);
    }
    if (start + count > lines.length) {
      throw new Refusal(
        Errno.EINVAL,
        `interrupts ${start} to ${start + count} of ${lines.length}`,
      );
    }
    const data = flags & IrqSetFlag.DATA_MASK;
    if ((flags & IrqSetFlag.ACTION_TRIGGER) === 0) {
      this.#mask(request, lines);
    } else if (data === IrqSetFlag.DATA_EVENTFD) {
      const { fds } = request;
      // All are looked at before one is taken.
      if (!fds.every(isEventFd)) {
        throw new Refusal(Errno.EINVAL, "a descriptor that is no eventfd");
      }
      for (let i = 0; i < count; i++) lines[start + i].connect(fds[i]);
    } else if (data === IrqSetFlag.DATA_NONE && count === 0) {
      for (const line of lines) line.connect(undefined);
    } else {
      for (const line of chosen(request, lines)) raise(line);
    }
  }

  /** Bits of the pending array of MSI-X, 32 vectors a word (PCI 6.8.2.10). */
  pendingWord(word: number): number {
    let bits = 0;
    const lines = this.#kinds[IrqIndex.msix];
    for (let bit = 0; bit < 32; bit++) {
      if (lines[word * 32 + bit]?.pending) bits |= 1 << bit;
    }
    return bits >>> 0;
  }

  /** Gives all eventfds back. */
  close(): void {
    for (const line of this.#kinds.flat()) line.connect(undefined);
    this.#signals.close();
  }

  #signal(vector: number): void {
    const [, msi, msix] = this.#kinds;
    if (msix.some(isConnected)) raise(msix[vector]);
    else raise(msi[0]);
  }

  /** INTx is a level: masked by itself once it was signalled, until the client unmasks it (VFIO_IRQ_INFO_AUTOMASKED). */
  #holdLine(): void {
    const [[line], msi, msix] = this.#kinds;
    if (line.masked || line.target === undefined || !this.#lineIsHigh()) return;
    if (isConnected(msi[0]) || msix.some(isConnected)) return;
    line.signal();
    line.masked = true;
  }

  #mask(request: IrqSet, lines: readonly Line[]): void {
    const { flags } = request;
    if ((flags & IrqSetFlag.DATA_EVENTFD) !== 0) {
      throw new Refusal(Errno.ENOTSUP, "masks by eventfd");
    }
    const masked = (flags & IrqSetFlag.ACTION_MASK) !== 0;
    for (const line of chosen(request, lines)) {
      line.masked = masked;
      if (masked || !line.pending) continue;
      line.pending = false;
      raise(line);
    }
  }
}

function raise(line: Line): void {
  if (line.masked) line.pending = true;
  else line.signal();
}

const isConnected = ({ target }: Line): boolean => target !== undefined;

/** The interrupts that a request means. */
function chosen(
  { flags, start, count, bools }: IrqSet,
  lines: readonly Line[],
): Line[] {
  const meant = lines.slice(start, start + count);
  return (flags & IrqSetFlag.DATA_BOOL) !== 0
    ? meant.filter((_, i) => bools[i] !== 0)
    : meant;
}
