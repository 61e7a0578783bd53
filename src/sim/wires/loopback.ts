/**
 * A plug that sends everything back.
 *
 * @module
 */

import { frameQueueBuffer } from "./frame_queue.ts";
import { DEFAULT_PAIR_BYTES, PairWire } from "./pair.ts";

/** A {@linkcode PairWire} whose two ends are the same. */
export class LoopbackWire extends PairWire {
  /** Holds `bytes` of frames on their way round. */
  constructor(bytes: number = DEFAULT_PAIR_BYTES) {
    const buffer = frameQueueBuffer(bytes);
    super(buffer, buffer);
  }
}
