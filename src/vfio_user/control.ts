/**
 * What the outside tells a served card whose isolate never looks at its event loop: to stop, and whether its cable is
 * plugged in.
 *
 * @module
 */
import { EventFd } from "../ffi/eventfd.ts";

/** Words of the shared memory. */
const Word = { Stop: 0, CableOut: 1 } as const;
const WORDS = 2;

/** What crosses to the server's isolate: structured-clonable. */
export interface ControlDescription {
  /** Two words: to stop, and that the cable is out. */
  readonly words: SharedArrayBuffer;
  /** An eventfd that wakes the server. */
  readonly fd: number;
}

/** The end of it in either isolate. */
export class CardControl {
  readonly #words: Int32Array;
  readonly #wake: EventFd;

  /** @param description Where the other end is. */
  constructor(readonly description: ControlDescription) {
    this.#words = new Int32Array(description.words);
    this.#wake = new EventFd(description.fd);
  }

  /** Makes one. Its maker closes it when the server has ended. */
  static create(): CardControl {
    return new CardControl({
      words: new SharedArrayBuffer(WORDS * Int32Array.BYTES_PER_ELEMENT),
      fd: EventFd.create().fd,
    });
  }

  /** Whether the server shall end. */
  get stopped(): boolean {
    return Atomics.load(this.#words, Word.Stop) !== 0;
  }

  /** Whether the cable is plugged in. */
  get cable(): boolean {
    return Atomics.load(this.#words, Word.CableOut) === 0;
  }

  /** Ends the server. */
  stop(): void {
    Atomics.store(this.#words, Word.Stop, 1);
    this.#wake.signal();
  }

  /** Plugs the cable in, or pulls it. */
  setCable(plugged: boolean): void {
    Atomics.store(this.#words, Word.CableOut, plugged ? 0 : 1);
    this.#wake.signal();
  }

  /** What to sleep on. */
  get fd(): number {
    return this.description.fd;
  }

  /** After a sleep: the next one lasts until there is news again. */
  clear(): void {
    this.#wake.clear();
  }

  /** Gives the eventfd back. */
  close(): void {
    this.#wake.close();
  }
}
