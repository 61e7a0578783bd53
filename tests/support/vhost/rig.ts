/**
 * A device over vhost-user, with DPDK's testpmd behind it, in one isolate or with echo workers.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { Batch } from "../../../src/memory/batch.ts";
import type { EchoArgs } from "../../../src/cli/echo_worker.ts";
import type { DeviceOptions } from "../../../src/config.ts";
import {
  type Device,
  openDevice,
  type QueuePair,
} from "../../../src/device.ts";
import {
  type Handle,
  INDEX_MASK,
  Mempool,
} from "../../../src/memory/mempool.ts";
import { type Run, run } from "../../../src/runtime/run.ts";
import {
  WIRE_COUNTER_BYTES,
  WIRE_SLOT,
  wireCounters,
} from "../../../src/sim/wires/wire.ts";
import { type BackendOptions, Testpmd } from "./testpmd.ts";
import { until } from "../until.ts";

const ECHO = new URL("../../../src/cli/echo_worker.ts", import.meta.url);
const PATIENCE_MS = 20_000;

/** A path for a socket; nothing is there yet. */
export class SocketPath implements Disposable {
  readonly #folder = Deno.makeTempDirSync({ prefix: "ixl-vhost-" });

  /** @param name What the backend's log is named after. */
  constructor(readonly name: string) {}

  /** The path. */
  get path(): string {
    return `${this.#folder}/${this.name}`;
  }

  /** The device's address. */
  get address(): string {
    return `vhost-user:${this.path}`;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

/** How a rig is made. */
export interface RigOptions {
  /** What the backend's log is named after. */
  readonly name: string;
  /** How the backend is started. */
  readonly backend?: Omit<BackendOptions, "socket">;
  /** How the device is opened. */
  readonly device?: DeviceOptions;
}

/** A backend, and a device that is connected to it. */
export class VhostRig implements AsyncDisposable {
  private constructor(
    readonly socket: SocketPath,
    readonly backend: Testpmd,
    readonly device: Device,
  ) {}

  /**
   * Starts the one and opens the other, which listens: a testpmd that listens itself notices only after a second that
   * somebody connects.
   */
  static async open(options: RigOptions): Promise<VhostRig> {
    const socket = new SocketPath(options.name);
    const address = `${socket.address}?server`;
    const [device, backend] = await Promise.allSettled([
      openDevice({ ...options.device, address }),
      Testpmd.backend({
        ...options.backend,
        socket: socket.path,
        client: true,
      }),
    ]);
    if (device.status === "fulfilled" && backend.status === "fulfilled") {
      return new VhostRig(socket, backend.value, device.value);
    }
    for (const part of [device, backend]) {
      if (part.status === "fulfilled") {
        await part.value[Symbol.asyncDispose]();
      }
    }
    throw device.status === "rejected"
      ? device.reason
      : (backend as PromiseRejectedResult).reason;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.device.close();
    await this.backend[Symbol.asyncDispose]();
    this.socket[Symbol.dispose]();
  }
}

/** Bytes that differ from frame to frame, behind two addresses. */
export function makeFrame(size: number, seed: number): Uint8Array {
  const frame = new Uint8Array(size);
  let state = (seed + 1) * 0x9e3779b1;
  for (let i = 0; i < size; i++) {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + i | 0;
    frame[i] = state >>> 24;
  }
  frame.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1], 0);
  return frame;
}

/** The frame as a backend gives it back that swaps the addresses. */
export function swapped(frame: Uint8Array): Uint8Array {
  const back = frame.slice();
  back.set(frame.subarray(6, 12), 0);
  back.set(frame.subarray(0, 6), 6);
  return back;
}

/** A packet with these bytes: a chain, where they do not fit one entry. */
export function packetOf(pool: Mempool, frame: Uint8Array): Handle {
  const handle = pool.allocate();
  assertEquals(handle === 0, false, "the pool is empty");
  const length = Math.min(frame.length, pool.entrySize);
  pool.u8.set(frame.subarray(0, length), pool.offset(handle));
  pool.lengths[handle & INDEX_MASK] = length;
  if (length < frame.length) {
    const rest = packetOf(pool, frame.subarray(length));
    pool.nextSegments[handle & INDEX_MASK] = rest;
  }
  return handle;
}

/** The bytes of a packet with all its segments. */
export function bytesOf(handle: Handle): Uint8Array {
  const parts: number[] = [];
  for (let segment = handle; segment !== 0;) {
    const { u8, lengths, nextSegments } = Mempool.of(segment);
    const at = Mempool.of(segment).offset(segment);
    parts.push(...u8.subarray(at, at + lengths[segment & INDEX_MASK]));
    segment = nextSegments[segment & INDEX_MASK];
  }
  return new Uint8Array(parts);
}

/** Sends frames, all in one batch if the ring takes it. */
export function send({ rx, tx }: QueuePair, frames: readonly Uint8Array[]) {
  const batch = new Batch(frames.length);
  for (const frame of frames) batch.push(packetOf(rx.pool, frame));
  const deadline = performance.now() + PATIENCE_MS;
  while (batch.length > 0) {
    batch.removeFirst(tx.send(batch));
    if (performance.now() > deadline) throw new Error("the ring stays full");
  }
}

/** Receives as many frames. */
export function receive({ rx }: QueuePair, count: number): Uint8Array[] {
  const frames: Uint8Array[] = [];
  const batch = new Batch(32);
  const deadline = performance.now() + PATIENCE_MS;
  while (frames.length < count) {
    const received = rx.receive(batch);
    for (let i = 0; i < received; i++) frames.push(bytesOf(batch.handles[i]));
    batch.free();
    if (performance.now() > deadline) {
      throw new Error(`${frames.length} of ${count} frames came`);
    }
  }
  return frames;
}

/** Sends frames and checks what a backend gives back that swaps the addresses. */
export function assertEchoed(
  pair: QueuePair,
  frames: readonly Uint8Array[],
): void {
  send(pair, frames);
  assertEquals(receive(pair, frames.length), frames.map(swapped));
}

/** How echo workers are started. */
export interface EchoOptions {
  /** Bytes of a frame. */
  readonly size?: number | "imix";
  /** Most frames on their way, in each queue; as many as the backend never drops unless given. */
  readonly window?: number;
}

/** Workers that send numbered frames and check what comes back. */
export class EchoRun implements AsyncDisposable {
  private constructor(
    readonly running: Run,
    readonly wires: readonly Float64Array[],
  ) {}

  /** Starts one on each queue. */
  static async start(
    device: Device,
    options: EchoOptions = {},
  ): Promise<EchoRun> {
    const counters = Array.from(
      { length: device.rxQueueCount },
      () => new SharedArrayBuffer(WIRE_COUNTER_BYTES),
    );
    const args: EchoArgs = {
      traffic: { flows: 16, size: options.size ?? 60 },
      counters,
      batch: 32,
      window: options.window ?? device.rxQueueDepth / 2,
    };
    const running = await run(device, { worker: ECHO, args });
    return new EchoRun(running, counters.map((buffer) => wireCounters(buffer)));
  }

  /** A count of all queues together. */
  total(name: keyof typeof WIRE_SLOT): number {
    return this.wires.reduce((sum, wire) => sum + wire[WIRE_SLOT[name]], 0);
  }

  /** Waits until each queue has received so many more. */
  async moreThan(frames: number): Promise<void> {
    const received = () => this.wires.map((wire) => wire[WIRE_SLOT.received]);
    const goals = received().map((before) => before + frames);
    await until(
      `${frames} more frames in each queue`,
      () =>
        this.running.failures.length > 0 ||
        received().every((now, queue) => now >= goals[queue]),
    );
    assertEquals(this.running.failures, []);
  }

  /** Ends the generation. */
  pause(): void {
    for (const wire of this.wires) wire[WIRE_SLOT.stop] = 1;
  }

  /** Waits until every frame is back, and checks that each was right and came once and in its turn. */
  async assertNothingLost(): Promise<void> {
    this.pause();
    await until(
      "every frame is back",
      () => this.total("received") >= this.total("generated"),
    );
    assertEquals(this.total("received"), this.total("generated"));
    assertEquals(this.total("missing"), 0);
    this.assertSound();
  }

  /** Checks that what came back was right, and came once and in its turn. */
  assertSound(): void {
    for (
      const name of [
        "corrupted",
        "foreign",
        "reordered",
        "duplicated",
      ] as const
    ) {
      assertEquals(this.total(name), 0, name);
    }
    assertEquals(this.running.failures, []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.running.stop();
  }
}
