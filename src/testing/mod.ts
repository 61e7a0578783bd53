/**
 * For tests of programs that use this library: a software card, and the other end of its cable. Frames go in, frames
 * come out. When the test ends, it fails for everything that the driver did against the datasheet, and for packets that
 * the program did not free.
 *
 * @example Test a function that answers a frame
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { Batch, type QueuePair } from "@ixl/deno";
 * import { TestCard } from "@ixl/deno/testing";
 *
 * function echo({ rx, tx }: QueuePair): void {
 *   const batch = new Batch(1);
 *   rx.receive(batch);
 *   tx.send(batch);
 * }
 *
 * await using card = await TestCard.open();
 * const frame = new Uint8Array(60).fill(7);
 * card.inject(frame);
 * echo(card.device.queue(0));
 * assertEquals(await card.sent(1), [frame]);
 * ```
 *
 * @module
 */
import { Batch } from "../memory/batch.ts";
import type { DeviceOptions } from "../config.ts";
import { type Device, openDevice, simControls } from "../device.ts";
import { DeviceTimeoutError } from "../errors.ts";
import { Mempool } from "../memory/mempool.ts";
import { Packet } from "../memory/packet.ts";
import { until } from "../wait.ts";

/** Cables have names of their own: tests may run at the same time. */
let cables = 0;
const BATCH = 32;

/** What a test found wrong when its card was closed. */
export class TestCardError extends Error {
  /** Name of the class. */
  override readonly name = "TestCardError";
}

/** A software card for the program under test, and the other end of its cable for the test. */
export class TestCard implements AsyncDisposable {
  /** The program's device. It takes every frame unless the options say otherwise. */
  readonly device: Device;
  readonly #peer: Device;
  readonly #batch: Batch = new Batch(BATCH);
  readonly #packet: Packet = new Packet();
  /** Frames that the card has sent and that were not asked for yet. */
  readonly #frames: Uint8Array[] = [];
  /** Buffers in use when no packet is: those in the receive rings. */
  readonly #inRings: readonly number[];

  private constructor(device: Device, peer: Device) {
    this.device = device;
    this.#peer = peer;
    this.#inRings = this.#pools().map(({ inUse }) => inUse);
  }

  /**
   * Opens a software card with a peer.
   *
   * @param options As for `openDevice()`, without an address.
   * @throws {ConfigError} when a value is out of range.
   */
  static async open(options: DeviceOptions = {}): Promise<TestCard> {
    const address = `sim:pair/test-card-${++cables}`;
    const maxFrameSize = options.maxFrameSize;
    const device = await openDevice({ promiscuous: true, ...options, address });
    try {
      const peer = await openDevice({
        ...(maxFrameSize === undefined ? {} : { maxFrameSize }),
        address,
        promiscuous: true,
        irqTimeoutMs: 0,
      });
      return new TestCard(device, peer);
    } catch (error) {
      await device.close();
      throw error;
    }
  }

  /**
   * Puts frames on the wire to the card.
   *
   * @param frames Each from the destination address on, without frame check sequence; short ones are padded to 60 bytes.
   * @throws {RangeError} when the wire has no room for all of them.
   */
  inject(...frames: readonly Uint8Array[]): void {
    const { rx, tx } = this.#peer.queue(0);
    const batch = new Batch(1);
    for (const frame of frames) {
      batch.push(packetOf(rx.pool, this.#packet, frame));
      if (tx.send(batch) === 1) {
        batch.length = 0;
        continue;
      }
      batch.free();
      throw new RangeError(`the wire has no room for ${frames.length} frames`);
    }
  }

  /**
   * Waits until the card has sent so many frames, and takes them.
   *
   * @param count How many frames.
   * @param timeoutMs How long to wait for them. Default: 2000.
   * @throws {DeviceTimeoutError} when fewer came in time.
   */
  async sent(count: number, timeoutMs = 2000): Promise<Uint8Array[]> {
    const haveCome = () => {
      this.#receive();
      return this.#frames.length >= count;
    };
    if (await until(haveCome, timeoutMs)) return this.#frames.splice(0, count);
    throw new DeviceTimeoutError(
      `frame ${count} from the program under test (${this.#frames.length} came)`,
      timeoutMs,
      "the program sent fewer, or later",
    );
  }

  /**
   * Closes both ends. A program that uses workers must have stopped them.
   *
   * @throws {TestCardError} for what the driver did against the datasheet, and for packets that were not freed.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const { device } = this;
    const problems: string[] = [];
    if (!device.closed) {
      problems.push(
        ...simControls(device).violations().map(({ message }) => message),
        ...this.#leaks(),
      );
      await device.close();
    }
    await this.#peer.close();
    if (problems.length > 0) throw new TestCardError(problems.join("; "));
  }

  #pools(): Mempool[] {
    const queues = Array.from(
      { length: this.device.rxQueueCount },
      (_, i) => i,
    );
    return queues.map((queue) => this.device.rxMempool(queue));
  }

  #leaks(): string[] {
    return this.#pools().flatMap((pool, queue) => {
      this.device.queue(queue).tx.reclaim();
      const kept = pool.inUse - this.#inRings[queue];
      return kept > 0
        ? [`${kept} packets of queue ${queue} were not freed`]
        : [];
    });
  }

  #receive(): void {
    const count = this.#peer.queue(0).rx.receive(this.#batch);
    for (let i = 0; i < count; i++) {
      const handle = this.#batch.handles[i];
      this.#frames.push(bytesOf(this.#packet, handle));
      Mempool.freeChain(handle);
    }
    this.#batch.length = 0;
  }
}

/** A copy of a frame, its segments joined. */
function bytesOf(packet: Packet, handle: number): Uint8Array {
  const bytes = new Uint8Array(packet.at(handle).totalLength);
  let at = 0;
  for (let next = handle; next !== 0; next = packet.nextSegment) {
    bytes.set(packet.at(next).bytes(), at);
    at += packet.length;
  }
  return bytes;
}

/** A packet with these bytes, in as many segments as it takes. */
function packetOf(pool: Mempool, packet: Packet, frame: Uint8Array): number {
  let head = 0;
  let last = 0;
  for (let at = 0; at < frame.length; at += pool.entrySize) {
    const segment = pool.allocate();
    if (segment === 0) {
      if (head !== 0) Mempool.freeChain(head);
      throw new RangeError("the wire has no room for another frame");
    }
    packet.at(segment).write(frame.subarray(at, at + pool.entrySize));
    if (head === 0) head = segment;
    else packet.at(last).nextSegment = segment;
    last = segment;
  }
  return head;
}
