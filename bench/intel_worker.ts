/**
 * Measures one point for `intel.ts`, in a worker of its own, as queues are used.
 *
 * @module
 */
import { Batch } from "../src/batch.ts";
import { pinToCpu } from "../src/ffi/cpu.ts";
import { INDEX_MASK } from "../src/mempool.ts";
import { type IntelModel, IntelRings } from "./intel_rings.ts";

/** The two ends of a worker that `lib: deno.worker` would declare. */
const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent) => void;
  postMessage(message: unknown): void;
};

/** What is measured. */
export interface IntelWork {
  /** Which driver. */
  readonly chip: IntelModel;
  /** Which core it runs on. */
  readonly core: number;
  /** Packets at once. */
  readonly batch: number;
  /** Descriptors of each ring. */
  readonly ring: number;
  /** Bytes of a frame. */
  readonly size: number;
}

/** Each number of packets that comes is forwarded, and answered with the nanoseconds a packet took. */
function serve({ chip, core, batch: capacity, ring, size }: IntelWork): void {
  pinToCpu(core);
  const rings = new IntelRings(chip, ring, size);
  const batch = new Batch(capacity);
  const forward = forwarder(rings, batch);
  scope.onmessage = ({ data: packets }) => {
    // As the C program does, too.
    forward(packets / 4);
    const start = performance.now();
    forward(packets);
    scope.postMessage((performance.now() - start) * 1e6 / packets);
  };
}

/** The user's loop, with what it works on as constants around it. */
function forwarder(
  rings: IntelRings,
  batch: Batch,
): (packets: number) => void {
  const { pool: { u8, stride }, pair: { rx, tx }, step } = rings;
  const { handles, capacity } = batch;
  const indexMask = INDEX_MASK;
  return (packets) => {
    for (let done = 0; done < packets; done += capacity) {
      step(capacity);
      const received = rx.receive(batch);
      for (let i = 0; i < received; i++) {
        u8[(handles[i] & indexMask) * stride] ^= 1;
      }
      if (tx.send(batch) !== capacity) throw new Error("a packet is gone");
    }
  };
}

scope.onmessage = ({ data }) => serve(data);
