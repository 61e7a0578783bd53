/**
 * The rings of a queue pair in their first state, and back to it while packets are in them.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import { Mempool } from "../../../memory/mempool.ts";
import { QueueCounters } from "../../../stats.ts";
import type { LocalQueue } from "../../queue/rx_queue.ts";
import { QueueControl, Word } from "../../queue/control_block.ts";
import { type AcceptedFeatures, accepts } from "../features.ts";
import {
  type Direction,
  Packed,
  Split,
  type VirtqueueLayout,
  virtqueueLayout,
} from "./layout.ts";
import { HANDLE_MASK, PART, State } from "./state.ts";

/** Views of one virtqueue's memory. */
export interface VirtqueueViews {
  /** Where the parts lie in it. */
  readonly layout: VirtqueueLayout;
  /** Descriptor table, or packed ring. */
  readonly descriptors: Int32Array;
  /** Available ring, or driver event structure. */
  readonly driver: Uint16Array;
  /** Used ring, or device event structure. */
  readonly device: Uint16Array;
  /** Entries of a split ring's used ring. */
  readonly used: Int32Array;
  /** Indirect tables, empty where there are none. */
  readonly tables: Int32Array;
}

/** The features that a queue was set up with. */
export function featuresOf(queue: LocalQueue): AcceptedFeatures {
  if (queue.virtio !== undefined) return queue.virtio.features;
  throw new TypeError(`queue ${queue.index} is not a virtio queue`);
}

/** Lays views over the memory of a virtqueue. */
export function virtqueueViews(
  queue: LocalQueue,
  direction: Direction,
): VirtqueueViews {
  const { buffer, rxOffset, txOffset } = queue.rings;
  const { rxDepth, txDepth } = queue.config;
  const start = direction === "rx" ? rxOffset : txOffset;
  const depth = direction === "rx" ? rxDepth : txDepth;
  const layout = virtqueueLayout(featuresOf(queue), depth, direction);
  const driverBytes = layout.device - layout.driver;
  const deviceBytes = layout.tables - layout.device;
  const used = layout.device + Split.USED_RING_BYTES;
  return {
    layout,
    descriptors: new Int32Array(buffer, start, layout.driver / 4),
    driver: new Uint16Array(buffer, start + layout.driver, driverBytes / 2),
    device: new Uint16Array(buffer, start + layout.device, deviceBytes / 2),
    used: new Int32Array(buffer, start + used, (layout.tables - used) / 4),
    tables: new Int32Array(
      buffer,
      start + layout.tables,
      (layout.bytes - layout.tables) / 4,
    ),
  };
}

/**
 * Empties a ring for both sides: all zero, no interrupts (2.7.7, 2.8.9). The available ring names the descriptors in
 * their order: as long as they are used so, its entries are never written again.
 */
function clearRing(queue: LocalQueue, direction: Direction): void {
  const features = featuresOf(queue);
  const { descriptors, driver, device, tables } = virtqueueViews(
    queue,
    direction,
  );
  descriptors.fill(0);
  driver.fill(0);
  device.fill(0);
  tables.fill(0);
  if (accepts(features, "packed")) {
    driver[Packed.EVENT_FLAGS] = Packed.EVENTS_OFF;
    return;
  }
  const { rxDepth, txDepth } = queue.config;
  const depth = direction === "rx" ? rxDepth : txDepth;
  for (let i = 0; i < depth; i++) driver[Split.AVAIL_RING + i] = i;
  if (accepts(features, "event-index")) {
    // As far ahead as an index can be.
    driver[Split.AVAIL_RING + depth] = 0xffff;
  } else {
    driver[Split.FLAGS] = Split.NO_INTERRUPT;
  }
}

function controlOf({ control, config }: LocalQueue): QueueControl {
  return new QueueControl(control, config.rxDepth, config.txDepth);
}

/** An empty receive ring: every descriptor waits for a buffer. What it held is forgotten, not freed. */
export function resetRxRing(queue: LocalQueue): void {
  const { words, rxSlots, rxIds } = controlOf(queue);
  clearRing(queue, "rx");
  rxSlots.fill(0);
  for (let i = 0; i < rxIds.length; i++) rxIds[i] = i;
  words[Word.RxNext] = 0;
  words[Word.RxHoles] = rxIds.length;
  words[State.RxUsed] = accepts(featuresOf(queue), "packed") ? 1 : 0;
  words[State.RxPublished] = 0;
  words[State.RxAwake] = 0;
  words[State.RxOutOfOrder] = 0;
  words[State.FrameHead] = 0;
  words[State.FrameBytes] = 0;
  words[State.FrameLeft] = 0;
  words[State.RunLeft] = 0;
  words[State.Fault] = 0;
}

/** An empty transmit ring. What it held is forgotten, not freed. */
export function resetTxRing(queue: LocalQueue): void {
  const { words, txSlots, txIds } = controlOf(queue);
  const first = accepts(featuresOf(queue), "packed") ? 1 : 0;
  clearRing(queue, "tx");
  txSlots.fill(0);
  for (let i = 0; i < txIds.length; i++) txIds[i] = i;
  words[Word.TxNext] = 0;
  words[Word.TxClean] = 0;
  words[State.TxUsed] = first;
  words[State.TxPosted] = first;
  words[State.TxPublished] = 0;
  words[State.TxBusy] = 0;
  words[State.TxOutOfOrder] = 0;
  words[State.Fault] = 0;
}

/**
 * Empties the receive ring after the device was reset or its backend went away: the packets in it are freed. Then its
 * user has followed.
 */
export function emptyRxRing(queue: LocalQueue): void {
  const { words, rxSlots } = controlOf(queue);
  const epoch = Atomics.load(words, State.Epoch);
  const pool = Mempool.attach(queue.pool);
  for (const handle of rxSlots) {
    if (handle !== 0) pool.free(handle);
  }
  if (words[State.FrameHead] !== 0) Mempool.freeChain(words[State.FrameHead]);
  resetRxRing(queue);
  Atomics.store(words, State.RxRenewed, epoch);
}

/** The same for the transmit ring, whose packets are counted as abandoned. */
export function emptyTxRing(queue: LocalQueue): void {
  const { words, txSlots } = controlOf(queue);
  const epoch = Atomics.load(words, State.Epoch);
  let abandoned = 0;
  for (const slot of txSlots) {
    // The later parts of a packet go with its first.
    if (slot === 0 || (slot & PART) !== 0) continue;
    Mempool.freeChain(slot & HANDLE_MASK);
    abandoned++;
  }
  new QueueCounters(queue.counters).add("abandoned", abandoned);
  resetTxRing(queue);
  Atomics.store(words, State.TxRenewed, epoch);
}
