/** Any order of receiving, keeping, sending, freeing and resizing: no frame and no buffer is lost. */
import { assertEquals } from "@std/assert";
import { Batch } from "../../src/memory/batch.ts";
import { Mempool } from "../../src/memory/mempool.ts";
import {
  bytesOf,
  type IxgbeRig,
  numberedFrame,
  withIxgbe,
} from "../support/intel/ixgbe_rig.ts";

const STEPS = 3000;

/** Mulberry32: the same numbers for the same seed. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Frames go in numbered; what comes out is compared at once, in order. */
class Player {
  readonly #kept: number[] = [];
  readonly #sent: Uint8Array[] = [];
  readonly #fed: Uint8Array[] = [];
  #count = 0;

  constructor(readonly rig: IxgbeRig, readonly random: (n: number) => number) {}

  feed(): void {
    for (let n = this.random(20); n >= 0; n--) {
      const long = this.random(4) === 0;
      const length = 60 + this.random(long ? 5900 : 200);
      const frame = numberedFrame(this.#count++, length);
      this.#fed.push(frame);
      this.rig.wire.toCard.push(frame);
    }
  }

  receive(): void {
    const batch = new Batch(1 + this.random(40));
    this.rig.pair.rx.receive(batch);
    for (const handle of batch.handles.subarray(0, batch.length)) {
      assertEquals(bytesOf(handle), this.#fed.shift());
      this.#kept.push(handle);
    }
  }

  send(): void {
    const batch = new Batch(32);
    for (const handle of this.#kept.splice(0, this.random(32))) {
      batch.push(handle);
      this.#sent.push(bytesOf(handle));
    }
    const taken = this.rig.pair.tx.send(batch);
    this.#sent.length -= batch.length - taken;
    this.#kept.unshift(...batch.handles.subarray(taken, batch.length));
  }

  free(): void {
    for (const handle of this.#kept.splice(0, this.random(64))) {
      Mempool.freeChain(handle);
    }
  }

  step(): void {
    this.rig.bus.step(1 + this.random(30));
    for (const frame of this.rig.wire.fromCard.splice(0)) {
      assertEquals(frame, this.#sent.shift());
    }
  }

  /** Frees all, and lets everything through that is on its way. */
  finish(): void {
    for (let quiet = 0; quiet < 8; quiet++) {
      for (const handle of this.#kept.splice(0)) Mempool.freeChain(handle);
      const before = this.#fed.length + this.#sent.length;
      this.rig.bus.settle();
      this.step();
      this.receive();
      this.rig.pair.tx.reclaim();
      if (this.#fed.length + this.#sent.length !== before) quiet = 0;
    }
    for (const handle of this.#kept.splice(0)) Mempool.freeChain(handle);
    assertEquals([this.#fed.length, this.#sent.length], [0, 0]);
  }
}

for (const seed of [1, 2, 3, 4]) {
  Deno.test(`ixgbe loses nothing in random order (seed ${seed})`, async () => {
    const options = {
      rxDepth: 64,
      txDepth: 72,
      poolEntries: 64 + 40 * seed,
      poolMaxEntries: 1000,
      maxFrameSize: 6000,
    };
    await withIxgbe(options, async (rig) => {
      rig.wire.patient = true;
      const random = randomFrom(seed);
      const player = new Player(rig, random);
      const { device, pair } = rig;
      for (let n = 0; n < STEPS; n++) {
        const what = random(100);
        if (what < 20) player.feed();
        else if (what < 45) player.receive();
        else if (what < 60) player.send();
        else if (what < 70) player.free();
        else if (what < 99) player.step();
        else if (random(2) === 0 && pair.rx.pool.target < 900) {
          await device.extendRxMempool(0, 1 + random(99));
        } else if (pair.rx.pool.target > 180) {
          await device.shrinkRxMempool(0, 1 + random(99));
        }
      }
      player.finish();
      assertEquals(pair.tx.pending, 0);
      pair.rx.receive(new Batch(1));
      assertEquals(pair.rx.pool.available, pair.rx.pool.capacity - 64);
      assertEquals(device.readStats().rxMissed, 0);
    });
  });
}
