/**
 * What the isolates that take turns on a queue pair share besides the rings themselves.
 *
 * @module
 */

import { IxlError } from "../../errors.ts";

/** In the place of an owner's token while the device itself looks after a queue's pool. */
export const DEVICE_TOKEN = -1;

/**
 * Numbers the words of a list, from the first one on: no two can have the same.
 *
 * @param names What each is for; the values are not looked at.
 */
function numbered<Name extends string>(
  names: Readonly<Record<Name, 0>>,
  first: number,
): Readonly<Record<Name, number>> {
  const words = Object.fromEntries(
    Object.keys(names).map((name, i) => [name, first + i]),
  );
  // What JSON makes has properties that V8 compiles into the data path as constants. An object that was filled by
  // computed names has not: virtio took up to 30 % longer for a packet.
  return JSON.parse(JSON.stringify(words));
}

/** Words of the control block that every driver has, one Int32 each. */
export const Word = numbered({
  /** Not 0: the user of the queue must stop. */
  Stop: 0,
  /** Token of the queue object that may receive; 0 for none. */
  Owner: 0,
  /** Token of the queue object that wants to. */
  Wanted: 0,
  /** The last token given out. */
  LastToken: 0,
  /** Next receive descriptor to look at. */
  RxNext: 0,
  /** Receive descriptors before `RxNext` that wait for a buffer. */
  RxHoles: 0,
  /** Next transmit descriptor to fill. */
  TxNext: 0,
  /** Oldest transmit descriptor that is not reclaimed. */
  TxClean: 0,
  /**
   * Token of the queue object that may receive without further checks: there is no request to stop or resize, and
   * the ring is in its usual state. Every request sets it to 0, see {@linkcode QueueControl.ask}.
   */
  Ready: 0,
  /** Not 0: the device is closed. Comes after `Stop`. */
  Closed: 0,
}, 0);

const WORDS = 48;
const OWN_WORDS = Object.keys(Word).length;

/**
 * Numbers the words that a driver needs besides {@linkcode Word}.
 *
 * @param names What each is for; the values are not looked at.
 * @throws {RangeError} when the control block has no room for so many.
 */
export function driverWords<Name extends string>(
  names: Readonly<Record<Name, 0>>,
): Readonly<Record<Name, number>> {
  const count = OWN_WORDS + Object.keys(names).length;
  if (count > WORDS) {
    throw new RangeError(`a control block has ${WORDS} words, not ${count}`);
  }
  return numbered(names, OWN_WORDS);
}

/** Throws when the device of a queue is closed. */
export function assertNotClosed(words: Int32Array): void {
  if (words[Word.Closed] === 0) return;
  throw new IxlError("device-gone", "the device of this queue is closed");
}

/** Views of a queue pair's control block. */
export class QueueControl {
  /** The words, indexed by {@linkcode Word}. */
  readonly words: Int32Array;
  /** Handle of the packet in each receive descriptor, 0 for none. */
  readonly rxSlots: Uint32Array;
  /** Handle of the packet in each transmit descriptor, 0 for none. */
  readonly txSlots: Uint32Array;
  /** For devices that finish in any order: which descriptor's turn is next, by place in the receive ring. */
  readonly rxIds: Uint16Array;
  /** The same for the transmit ring. */
  readonly txIds: Uint16Array;
  /** What follows a transmit descriptor in its packet: for the driver. */
  readonly txLinks: Uint16Array;

  /**
   * @param buffer Memory that {@linkcode QueueControl.allocate} made.
   * @param rxDepth Descriptors of the receive ring.
   * @param txDepth Descriptors of the transmit ring.
   */
  constructor(
    readonly buffer: SharedArrayBuffer,
    rxDepth: number,
    txDepth: number,
  ) {
    this.words = new Int32Array(buffer, 0, WORDS);
    this.rxSlots = new Uint32Array(buffer, WORDS * 4, rxDepth);
    this.txSlots = new Uint32Array(buffer, (WORDS + rxDepth) * 4, txDepth);
    const ids = (WORDS + rxDepth + txDepth) * 4;
    this.rxIds = new Uint16Array(buffer, ids, rxDepth);
    this.txIds = new Uint16Array(buffer, ids + rxDepth * 2, txDepth);
    this.txLinks = new Uint16Array(
      buffer,
      ids + (rxDepth + txDepth) * 2,
      txDepth,
    );
  }

  /** Sets a word that the queue's user shall look at now. */
  ask(word: number, value: number): void {
    Atomics.store(this.words, word, value);
    this.askToLook();
  }

  /** Lets the next receive look at everything, the pool's size included. */
  askToLook(): void {
    Atomics.store(this.words, Word.Ready, 0);
  }

  /** Zeroed memory for one queue pair. */
  static allocate(rxDepth: number, txDepth: number): SharedArrayBuffer {
    return new SharedArrayBuffer(
      WORDS * 4 + rxDepth * 6 + txDepth * 8,
    );
  }
}
