/** Every combination of ring features under random traffic: nothing is lost, doubled or out of order. */
import { assert, assertEquals } from "@std/assert";
import { Batch } from "../../../../src/memory/batch.ts";
import { Mempool } from "../../../../src/memory/mempool.ts";
import type { VirtioFeatureName } from "../../../../src/bus/virtio/feature_bits.ts";
import { repetitions, seedsAfter } from "../../../support/runner/repeat.ts";
import type { Taken } from "../../../support/virtio/backend.ts";
import {
  featureCombinations,
  numbered,
  randomFrom,
  VirtioRig,
} from "../../../support/virtio/rig.ts";

const STEPS = repetitions("random", { gate: 400, soak: 1500 });
const BEFORE = seedsAfter("random");
const ENTRIES = 200;

/** What a test does at random to a queue pair, and what must come of it. */
class Player {
  readonly #expected: Uint8Array[] = [];
  readonly #kept: number[] = [];
  readonly #sent: Uint8Array[] = [];
  readonly #collected: { buffer: Taken; bytes: Uint8Array }[] = [];
  /** Receive buffers that were filled and are given back out of order. */
  #number = 0;
  #received = 0;

  constructor(
    readonly rig: VirtioRig,
    readonly inOrder: boolean,
    readonly random: (below: number) => number,
  ) {}

  get moved(): number {
    return this.#received;
  }

  /** The device receives some frames. */
  deliver(): void {
    for (let n = this.random(24); n > 0; n--) {
      const long = this.rig.mergeable && this.random(6) === 0;
      const length = 18 + this.random(long ? 1900 : 220);
      const frame = numbered(this.#number, length);
      if (!this.rig.deliver(frame)) return;
      this.#number++;
      this.#expected.push(frame);
    }
  }

  /** The device finishes frames of one buffer each, not in the order of their buffers, or in order with one entry. */
  deliverTogether(): void {
    const parts: { buffer: Taken; written: number; frame: Uint8Array }[] = [];
    for (let n = this.random(6); n >= 0; n--) {
      // In a run all buffers but the last count as full.
      const { entrySize } = this.rig.pool;
      const full = this.rig.mergeable
        ? entrySize - this.rig.headerBytes
        : entrySize;
      const length = this.inOrder && n > 0 ? full : 18 + this.random(200);
      const frame = numbered(this.#number, length);
      const filled = this.rig.fill(frame);
      if (filled === undefined) break;
      this.#number++;
      parts.push({ ...filled[0], frame });
      // A run ends with its only short frame.
      if (this.inOrder && length !== full) break;
    }
    if (parts.length === 0) return;
    if (this.inOrder) {
      const { written } = parts[parts.length - 1];
      this.rig.rxDevice.giveRun(parts.map(({ buffer }) => buffer), written);
    } else {
      shuffle(parts, this.random);
      for (const { buffer, written } of parts) {
        this.rig.rxDevice.give(buffer, written);
      }
    }
    this.#expected.push(...parts.map(({ frame }) => frame));
  }

  receive(): void {
    const batch = new Batch(1 + this.random(48));
    this.rig.rx.receive(batch);
    for (const handle of batch.handles.subarray(0, batch.length)) {
      assertEquals(this.rig.bytesOf(handle), this.#expected.shift());
      this.#kept.push(handle);
      this.#received++;
    }
    if (batch.length === 0) this.rig.rxDevice.settle();
  }

  send(): void {
    const batch = new Batch(32);
    for (const handle of this.#kept.splice(0, this.random(33))) {
      batch.push(handle);
    }
    this.#hand(batch);
  }

  /** Sends packets in several buffers. */
  sendChains(): void {
    const batch = new Batch(4);
    for (let n = this.random(5); n > 0; n--) {
      const parts = 2 + this.random(20);
      if (this.rig.pool.available < parts + 8) break;
      batch.push(this.rig.chain(
        Array.from({ length: parts }, () => numbered(n, 18 + this.random(90))),
      ));
    }
    this.#hand(batch);
  }

  #hand(batch: Batch): void {
    const bytes = Array.from(
      batch.handles.subarray(0, batch.length),
      (handle) => this.rig.bytesOf(handle),
    );
    const taken = this.rig.tx.send(batch);
    this.#sent.push(...bytes.slice(0, taken));
    this.rig.txDevice.settle();
    this.rig.txDevice.assertNoInterrupts();
    batch.removeFirst(taken);
    batch.free();
  }

  /** The device takes what was sent. */
  collect(): void {
    for (let n = this.random(40); n > 0; n--) {
      const packet = this.rig.collect();
      if (packet === undefined) return;
      assertEquals(packet.bytes, this.#sent.shift());
      this.#collected.push({ buffer: packet.buffer, bytes: packet.bytes });
    }
  }

  /** The device finishes some of what it took: in any order, or in order and perhaps with one entry. */
  finish(): void {
    const count = this.random(this.#collected.length + 1);
    if (count === 0) return;
    if (!this.inOrder) shuffle(this.#collected, this.random);
    const done = this.#collected.splice(0, count).map(({ buffer }) => buffer);
    if (this.inOrder && this.random(2) === 0) {
      this.rig.txDevice.giveRun(done, 0);
      return;
    }
    for (const buffer of done) this.rig.txDevice.give(buffer, 0);
  }

  free(): void {
    for (const handle of this.#kept.splice(0, this.random(40))) {
      Mempool.freeChain(handle);
    }
  }

  /** The device changes its mind about notifications. */
  wish(): void {
    const batch = new Batch(1);
    while (this.rig.rx.receive(batch) > 0) {
      assertEquals(this.rig.bytesOf(batch.handles[0]), this.#expected.shift());
      this.#kept.push(batch.handles[0]);
      this.#received++;
    }
    this.rig.rxDevice.settle();
    this.rig.rxDevice.wantNotifications(this.random(2) === 0);
    this.rig.txDevice.wantNotifications(this.random(2) === 0);
  }

  /** Takes all and frees all: the pool is whole but for the receive ring. */
  end(): void {
    const { rig } = this;
    const batch = new Batch(64);
    for (;;) {
      rig.rx.receive(batch);
      for (const handle of batch.handles.subarray(0, batch.length)) {
        assertEquals(rig.bytesOf(handle), this.#expected.shift());
      }
      if (batch.length === 0) break;
      this.#received += batch.length;
      batch.free();
    }
    assertEquals(this.#expected, []);
    for (const handle of this.#kept.splice(0)) Mempool.freeChain(handle);
    for (;;) {
      const packet = rig.collect();
      if (packet === undefined) break;
      assertEquals(packet.bytes, this.#sent.shift());
      this.#collected.push(packet);
    }
    assertEquals(this.#sent, []);
    for (const { buffer } of this.#collected.splice(0)) {
      rig.txDevice.give(buffer, 0);
    }
    rig.tx.reclaim();
    assertEquals(rig.tx.pending, 0);
    rig.rx.receive(batch);
    assertEquals(rig.pool.inUse, rig.rx.depth, "one packet in each descriptor");
    assertEquals(rig.rx.counters.get("rxPackets"), this.#received);
    assertEquals(rig.rx.counters.get("rxErrors"), 0);
  }
}

function shuffle<T>(list: T[], random: (below: number) => number): void {
  for (let i = list.length - 1; i > 0; i--) {
    const j = random(i + 1);
    [list[i], list[j]] = [list[j], list[i]];
  }
}

function play(
  features: readonly VirtioFeatureName[],
  seed: number,
  debug: boolean,
  legacy = false,
): void {
  const rig = new VirtioRig({
    features,
    debug,
    legacy,
    entries: ENTRIES,
    entrySize: 256,
    maxFrameSize: 2000,
  });
  try {
    const inOrder = features.includes("in-order");
    const player = new Player(rig, inOrder, randomFrom(seed));
    const moves = [
      () => player.deliver(),
      () => player.deliver(),
      () => player.deliverTogether(),
      () => player.receive(),
      () => player.receive(),
      () => player.send(),
      () => player.sendChains(),
      () => player.collect(),
      () => player.collect(),
      () => player.finish(),
      () => player.finish(),
      () => player.free(),
      () => player.wish(),
    ];
    for (let step = 0; step < STEPS; step++) {
      moves[player.random(moves.length)]();
    }
    player.end();
    assert(player.moved > 3 * rig.rx.depth, "the rings went round");
  } finally {
    rig.close();
  }
}

featureCombinations().forEach((features, number) => {
  const seed = BEFORE + number;
  const name = features.join(", ") || "split, nothing else";
  Deno.test(`random traffic with ${name} (seed ${seed})`, () => {
    // The driver is faster, and goes other ways, where it need not catch misuse.
    play(features, seed, true);
    play(features, seed, false);
  });
});

/** What there is without VERSION_1. */
const legacyCombinations = featureCombinations().filter((features) =>
  !features.includes("packed") && !features.includes("in-order")
);

legacyCombinations.forEach((features, number) => {
  const seed = BEFORE + number;
  const name = features.join(", ") || "nothing else";
  Deno.test(`random traffic by the legacy interface with ${name} (seed ${seed})`, () => {
    play(features, seed, true, true);
    play(features, seed, false, true);
  });
});
