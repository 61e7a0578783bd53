/**
 * Network card drivers in TypeScript: nothing between the program and the card but memory.
 *
 * Open a device, take a queue, and move batches of packets. A packet is an integer handle; its bytes lie in a pool
 * that the card reads and writes. Without a card, `sim:` addresses open a software Intel 82599.
 *
 * @example Send a frame and get it back
 * ```ts
 * import { Batch, openDevice, Packet } from "@ixl/deno";
 *
 * await using device = await openDevice({ address: "sim:loopback", promiscuous: true });
 * const { rx, tx } = device.queue(0);
 *
 * const batch = new Batch(32);
 * const packet = new Packet().at(rx.pool.allocate());
 * packet.write(new Uint8Array(60).fill(0xff, 0, 6));
 * batch.push(packet.handle);
 * tx.send(batch);
 *
 * console.log(rx.receive(batch)); // 1
 * batch.free();
 * ```
 *
 * @module
 */
export { Batch } from "./src/memory/batch.ts";
export type {
  BusDescription,
  InterruptStatusDescription,
  PortsDescription,
  SimBusDescription,
  VfioBusDescription,
  VhostUserBusDescription,
  VirtioPciBusDescription,
  VirtioPortsBusDescription,
} from "./src/bus/description.ts";
export type {
  SimControls,
  Violation,
  ViolationKind,
} from "./src/bus/sim/device.ts";
export type {
  WireCounterName,
  WireCounters,
} from "./src/bus/sim/wire_counters.ts";
export {
  type AdaptiveConfig,
  DEFAULT_RSS_KEY,
  type DeviceConfig,
  type DeviceOptions,
  type RssConfig,
  type VirtioConfig,
} from "./src/config.ts";
export {
  attachQueue,
  type Device,
  type DeviceFeatures,
  type DeviceListing,
  type LinkState,
  listDevices,
  openDevice,
  type OpenOptions,
  type QueueDescription,
  type QueuePair,
  type RingsDescription,
  type RxQueue,
  simControls,
  type TxQueue,
  type VirtioQueueDescription,
} from "./src/device.ts";
export type {
  DmaBacking,
  DmaMemory,
  DmaMemoryOptions,
} from "./src/dma/memory.ts";
export type { DmaDomain } from "./src/dma/domain.ts";
export type { PoolSet } from "./src/dma/pool_set.ts";
export {
  ConfigError,
  DeviceFaultError,
  DeviceTimeoutError,
  IxlError,
  type IxlErrorCode,
  NotSupportedError,
  PoolError,
  SystemError,
} from "./src/errors.ts";
export { Handover, type HandoverDescription } from "./src/memory/handover.ts";
export {
  type Handle,
  Mempool,
  type MempoolDescription,
  type MempoolOptions,
  type PoolUser,
} from "./src/memory/mempool.ts";
export { Packet, PacketFlag } from "./src/memory/packet.ts";
export {
  type QueueContext,
  type QueueWorker,
} from "./src/runtime/queue_context.ts";
export {
  type QueueSnapshot,
  Run,
  run,
  type RunOptions,
  type WorkerFailure,
} from "./src/runtime/run.ts";
export type { PciIds } from "./src/pci/ids.ts";
export { stopOnSignals } from "./src/runtime/signals.ts";
export {
  type CounterName,
  type DeviceStats,
  emptyStats,
  QueueCounters,
  Slot,
} from "./src/stats.ts";
