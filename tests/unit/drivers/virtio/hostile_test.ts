/**
 * A virtio device that lies: at random, and reproducibly. A failure names its case: with `IXL_CASE=123` only that one is
 * played, with every combination of features.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Batch } from "../../../../src/memory/batch.ts";
import type { VirtioFeatureName } from "../../../../src/bus/virtio/feature_bits.ts";
import { DeviceFaultError } from "../../../../src/errors.ts";
import { INDEX_MASK, Mempool } from "../../../../src/memory/mempool.ts";
import { repetitions, seedsAfter } from "../../../support/runner/repeat.ts";
import type { Taken } from "../../../support/virtio/backend.ts";
import {
  absurd,
  lieInRing,
  type Random,
} from "../../../support/virtio/lies.ts";
import {
  featureCombinations,
  numbered,
  randomFrom,
  VirtioRig,
} from "../../../support/virtio/rig.ts";

const ONLY_CASE = Number(Deno.env.get("IXL_CASE") ?? 0);
/** In a soak more than 100,000 over all combinations. */
const CASES_EACH = repetitions("hostile", { gate: 300, soak: 3200 });
const BEFORE = seedsAfter("hostile");
const ENTRIES = 160;

/** One device that does right for a while, and then does not. */
class Liar {
  readonly #batch = new Batch(16);
  readonly #out = new Set<number>();
  readonly #seen = new Set<number>();
  readonly #held: Taken[] = [];
  /** Whether something was written behind the strict device's back. */
  #broken = false;

  constructor(readonly rig: VirtioRig, readonly random: Random) {}

  run(): "fault" | "none" {
    const { random } = this;
    for (let n = random(6); n > 0; n--) this.#honest();
    this.#lie();
    for (let n = 3 + random(6); n > 0; n--) {
      if (this.#use() === "fault") return this.#afterFault();
      if (random(3) === 0) this.#lie();
    }
    return "none";
  }

  /** Gives back what the user has, and starts afresh: then all is as in the beginning. */
  recover(): void {
    const { rig } = this;
    for (const handle of this.#out) Mempool.freeChain(handle);
    this.#out.clear();
    rig.renew();
    rig.rx.receive(this.#batch);
    assertEquals(this.#batch.length, 0);
    assertEquals(rig.pool.inUse, rig.rx.depth, "every packet is there");
    assertEquals(rig.tx.pending, 0);
    const { freeStack, available } = rig.pool;
    const free = new Set(freeStack.subarray(0, available));
    for (const handle of rig.control.rxSlots) free.add(handle);
    assertEquals(free.size, rig.pool.capacity, "every packet is there once");
  }

  /** Traffic as it should be. */
  prove(number: number): void {
    const { rig } = this;
    const frame = numbered(number, 60 + number % 100);
    assert(rig.deliver(frame));
    assertEquals(rig.rx.receive(this.#batch), 1);
    assertEquals(rig.bytesOf(this.#batch.handles[0]), frame);
    assertEquals(rig.tx.send(this.#batch), 1);
    const sent = rig.collect();
    assertEquals(sent?.bytes, frame);
    rig.txDevice.give(sent!.buffer, 0);
    assertEquals(rig.tx.reclaim(), 1);
  }

  #honest(): void {
    const { rig, random } = this;
    for (let n = random(5); n > 0; n--) {
      rig.deliver(numbered(n, 20 + random(rig.mergeable ? 600 : 200)));
    }
    if (this.#use() === "fault") throw new Error("an honest device is blamed");
    for (let n = random(8); n > 0; n--) {
      const sent = rig.collect();
      if (sent !== undefined) this.#held.push(sent.buffer);
    }
    while (this.#held.length > random(3)) {
      rig.txDevice.give(this.#held.shift()!, 0);
    }
  }

  /** The user receives, sends and frees. */
  #use(): "fault" | "fine" {
    const { rig, random } = this;
    const batch = this.#batch;
    try {
      rig.rx.receive(batch);
    } catch (error) {
      assert(error instanceof DeviceFaultError, String(error));
      return "fault";
    }
    this.#takeOver(batch);
    for (const handle of this.#out) {
      if (batch.length < batch.capacity && random(2) === 0) {
        batch.push(handle);
      }
    }
    try {
      const sent = rig.tx.send(batch);
      for (let i = 0; i < sent; i++) this.#out.delete(batch.handles[i]);
      if (random(2) === 0) rig.tx.reclaim();
    } catch (error) {
      assert(error instanceof DeviceFaultError, String(error));
      return "fault";
    }
    if (random(4) === 0) {
      for (const handle of this.#out) Mempool.freeChain(handle);
      this.#out.clear();
    }
    return "fine";
  }

  /** What was received belongs to the user, who never had it already. */
  #takeOver(batch: Batch): void {
    const { pool } = this.rig;
    for (const handle of batch.handles.subarray(0, batch.length)) {
      for (let part = handle; part !== 0;) {
        const index = part & INDEX_MASK;
        assert(!this.#seen.has(part), "no part comes twice");
        this.#seen.add(part);
        assert(pool.lengths[index] <= pool.entrySize, "within its entry");
        assertEquals(pool.offset(part), index * pool.stride, "it is out");
        part = pool.nextSegments[index];
      }
      assert(!this.#out.has(handle), "no packet comes twice");
      this.#out.add(handle);
      this.#seen.clear();
      const start = pool.offloads[handle & INDEX_MASK];
      const end = (start & 0xffff) + (start >>> 16) + 2;
      assert(
        start === 0 || end <= pool.lengths[handle & INDEX_MASK],
        "a checksum within its packet",
      );
    }
    batch.length = 0;
  }

  #lie(): void {
    const { rig, random } = this;
    if (!this.#broken && random(3) === 0) return this.#lieInHeader();
    // From now on the strict device has lost its way.
    this.#broken = true;
    lieInRing(random(2) === 0 ? rig.rxDevice : rig.txDevice, random);
  }

  #lieInHeader(): void {
    const { rig, random } = this;
    const frame = numbered(7, 20 + random(rig.mergeable ? 700 : 230));
    rig.deliver(frame, {
      flags: random(256),
      gsoType: random(256),
      gsoSize: absurd(random, 16),
      csumStart: absurd(random, 16),
      csumOffset: absurd(random, 16),
      buffers: random(2) === 0 ? 1 : absurd(random, 16),
    });
  }

  /** A broken pair stays broken, in both halves, and touches nothing. */
  #afterFault(): "fault" {
    const { rig } = this;
    const before = rig.pool.available;
    assertThrows(() => rig.rx.receive(this.#batch), DeviceFaultError);
    this.#batch.length = 0;
    assertThrows(() => rig.tx.send(this.#batch), DeviceFaultError);
    assertThrows(() => rig.tx.reclaim(), DeviceFaultError);
    assertEquals(rig.pool.available, before);
    return "fault";
  }
}

/** Plays cases; returns how many ended in a fault. */
function lie(
  features: readonly VirtioFeatureName[],
  debug: boolean,
  first: number,
  cases: number,
): number {
  const rig = new VirtioRig({
    features,
    debug,
    entries: ENTRIES,
    entrySize: 256,
    maxFrameSize: 700,
    txDepth: 64,
  });
  let faults = 0;
  try {
    for (let seed = first; seed < first + cases; seed++) {
      const liar = new Liar(rig, randomFrom(seed));
      try {
        if (liar.run() === "fault") faults++;
        liar.recover();
        liar.prove(seed);
      } catch (error) {
        throw new Error(
          `case ${seed} with ${features.join(", ")}, debug ${debug}`,
          { cause: error },
        );
      }
    }
  } finally {
    rig.close();
  }
  return faults;
}

featureCombinations().forEach((features, number) => {
  const first = ONLY_CASE || BEFORE + number * CASES_EACH + 1;
  const name = features.join(", ") || "split, nothing else";
  Deno.test(`a hostile device with ${name}, cases from ${first}`, () => {
    // The driver is faster, and goes other ways, where it need not catch misuse.
    if (ONLY_CASE > 0) {
      for (const debug of [true, false]) lie(features, debug, ONLY_CASE, 1);
      return;
    }
    const half = CASES_EACH / 2;
    const faults = lie(features, true, first, half) +
      lie(features, false, first + half, half);
    assert(faults > CASES_EACH / 4, "many lies are seen");
    assert(faults < CASES_EACH, "some do no harm");
  });
});
