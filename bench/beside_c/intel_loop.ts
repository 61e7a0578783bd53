/**
 * Measures one point for `intel.ts`, in a process of its own: it takes an {@linkcode IntelWork} as JSON in its argument,
 * and answers each line with a number of packets by the nanoseconds a packet took.
 *
 * @module
 */
import { Batch } from "../../src/memory/batch.ts";
import { pinToCpu } from "../../src/ffi/cpu.ts";
import { INDEX_MASK } from "../../src/memory/mempool.ts";
import { type IntelModel, IntelRings } from "../rings/intel_rings.ts";

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

function serve({ chip, core, batch: capacity, ring, size }: IntelWork): void {
  pinToCpu(core);
  const rings = new IntelRings(chip, ring, size);
  const forward = forwarder(rings, new Batch(capacity));
  const line = new Uint8Array(64);
  for (;;) {
    const length = Deno.stdin.readSync(line);
    if (length === null) return;
    const packets = Number(new TextDecoder().decode(line.subarray(0, length)));
    // As the C program does, too.
    forward(packets / 4);
    const start = performance.now();
    forward(packets);
    console.log((performance.now() - start) * 1e6 / packets);
  }
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

serve(JSON.parse(Deno.args[0]));
