/**
 * Words of a queue's control block that the Intel ring engine uses, behind those that every driver has.
 *
 * @module
 */
import { driverWords } from "../../queue/control_block.ts";

/** Indexes into `QueueControl.words`. */
export const IntelWord = driverWords({
  /** Handle of the first segment of a frame whose last has not come; 0 for none, below 0 while it is dropped. */
  ChainHead: 0,
  /** Handle of the last segment that has come. */
  ChainTail: 0,
  /** Bytes of the segments so far. */
  ChainBytes: 0,
  /** The descriptor status that `CachedFlags` belong to. */
  CachedStatus: 0,
  /** Word 0 of that descriptor. */
  CachedType: 0,
  /** The packet flags that they mean. */
  CachedFlags: 0,
});
