/**
 * What the users of a virtio queue pair share besides rings and slots: positions, the frame in the making, and what
 * the device did wrong.
 *
 * @module
 */
import { DeviceFaultError, type IxlError } from "../../../errors.ts";
import { assertNotClosed, driverWords } from "../../queue/control_block.ts";

/** Words of the control block. Indexes of a split ring count modulo 2¹⁶ as in the ring (2.7.6). */
export const State = driverWords({
  /** How often the device object has asked the users of the rings to start them afresh. Written by the device object. */
  Epoch: 0,
  /** The `Epoch` that the user of the receive ring has followed. */
  RxRenewed: 0,
  /** The `Epoch` that the user of the transmit ring has followed. */
  TxRenewed: 0,
  /** Which isolate used the receive ring last, see {@linkcode use}; 0 for none. */
  RxUser: 0,
  /** Which isolate used the transmit ring last; 0 for none. */
  TxUser: 0,
  /** Split: the used index up to which receive buffers were taken. Packed: the wrap counter at `RxNext`, 0 or 1. */
  RxUsed: 0,
  /** Split: the available index that the device was shown. Packed: buffers posted since it was last asked. */
  RxPublished: 0,
  /** Not 0: received packets shall raise the interrupt. */
  RxAwake: 0,
  /** Handle of the first segment of a frame whose last has not come; 0 for none, or while the rest is thrown away. */
  FrameHead: 0,
  /** Handle of its last segment. */
  FrameTail: 0,
  /** Bytes so far. */
  FrameBytes: 0,
  /** Buffers of the frame that are still to come. */
  FrameLeft: 0,
  /** In order: used buffers of which the device wrote no entry, the last excepted, that are still to be taken. */
  RunLeft: 0,
  /** What the device wrote into the last of them. */
  RunBytes: 0,
  /** Split: the used index up to which packets were reclaimed. Packed: the wrap counter at `TxClean`, 0 or 1. */
  TxUsed: 0,
  /** Split: the available index when all is shown. Packed: the wrap counter at `TxNext`, 0 or 1. */
  TxPosted: 0,
  /** Split: the available index that the device was shown. */
  TxPublished: 0,
  /** Transmit descriptors with the device. */
  TxBusy: 0,
  /** Not 0 once a device used receive buffers in another order than it got them: `rxIds` counts. */
  RxOutOfOrder: 0,
  /** Not 0 once packets took descriptors in another order than that of the ring: `txIds` counts. */
  TxOutOfOrder: 0,
  /** One of {@linkcode Fault}; 0 for none. */
  Fault: 0,
  /** The virtqueue where it was seen. */
  FaultQueue: 0,
  /** What the device wrote. */
  FaultValue: 0,
  /** What would have been right. */
  FaultLimit: 0,
});

/** What a device can do wrong, as a number above 0. */
export const Fault = {
  Index: 1,
  Id: 2,
  Length: 3,
  Buffers: 4,
  /** No fault of the device: it is closed. */
  Closed: 5,
} as const;

/** One of {@linkcode Fault}. */
export type FaultCode = typeof Fault[keyof typeof Fault];

const FAULTS: Readonly<
  Partial<Record<number, (value: number, limit: number) => string>>
> = {
  [Fault.Index]: (value, limit) =>
    `said that it used ${value} buffers while it had ${limit}`,
  [Fault.Id]: (value) => `used buffer ${value}, which it did not have`,
  [Fault.Length]: (value, limit) =>
    `wrote ${value} bytes, of at most ${limit}, into a buffer`,
  [Fault.Buffers]: (value, limit) =>
    `spread a frame over ${value} buffers where 1 to ${limit} are possible`,
};

/** Marks a queue pair as broken. The first fault stays. */
export function recordFault(
  words: Int32Array,
  code: FaultCode,
  virtqueue: number,
  value: number,
  limit: number,
): void {
  if (words[State.Fault] !== 0) return;
  words[State.Fault] = code;
  words[State.FaultQueue] = virtqueue;
  words[State.FaultValue] = value;
  words[State.FaultLimit] = limit;
}

/** What the user of a broken queue pair is told. */
export function faultError(words: Int32Array): IxlError {
  assertNotClosed(words);
  const virtqueue = words[State.FaultQueue];
  const way = (virtqueue & 1) === 0 ? "receive" : "transmit";
  const describe = FAULTS[words[State.Fault]];
  const did = describe?.(
    words[State.FaultValue] >>> 0,
    words[State.FaultLimit],
  ) ?? "did something wrong";
  return new DeviceFaultError(
    `the virtio device ${did} (${way} queue ${
      virtqueue >> 1
    }): the queue stands still until it is restarted`,
  );
}

/** Handles stay below 2³⁰. */
export const HANDLE_MASK = 0x3fffffff;
/** Not the first descriptor of its packet. */
export const PART = 1 << 30;
/** A packet in an indirect table, or in several descriptors. */
export const SPECIAL = 1 << 31;
/** In place of a following descriptor: it was the last. */
export const LAST_LINK = 0xffff;

/** In the place of an isolate while another one starts an unused half afresh. */
const RENEWING = -1;

/** This isolate: neither 0 nor {@linkcode RENEWING}. */
const ISOLATE: number = crypto.getRandomValues(new Int32Array(1))[0] & ~1 |
  1 << 30;

/** Says that this isolate uses a half from now on. A plain load where it has said so before. */
export function use(words: Int32Array, half: number): void {
  if (words[half] === ISOLATE) return;
  for (;;) {
    const user = Atomics.load(words, half);
    if (user === RENEWING) continue;
    if (Atomics.compareExchange(words, half, user, ISOLATE) === user) return;
  }
}

/** Says that this isolate uses neither half from now on: another one will. */
export function leave(words: Int32Array): void {
  for (const half of [State.RxUser, State.TxUser]) {
    Atomics.compareExchange(words, half, ISOLATE, 0);
  }
}

/** Does something with a half unless another isolate uses it. */
export function unlessUsedElsewhere(
  words: Int32Array,
  half: number,
  action: () => void,
): void {
  const user = Atomics.compareExchange(words, half, 0, RENEWING);
  if (user !== 0 && user !== ISOLATE) return;
  try {
    action();
  } finally {
    if (user === 0) Atomics.store(words, half, 0);
  }
}
