/**
 * The control virtqueue (5.1.6.5): one command at a time, each answered before the next.
 *
 * A command is what the device reads, and a byte that it writes. The device raises no interrupt: the driver waits for
 * the answer, as it waits for registers elsewhere.
 *
 * Section numbers are those of the Virtual I/O Device specification, version 1.2.
 *
 * @module
 */
import type { VirtqueueAddresses } from "../../../bus/virtio/transport.ts";
import { loadBarrier, storeBarrier } from "../../../dma/barrier.ts";
import { DeviceFaultError, DeviceTimeoutError } from "../../../errors.ts";
import { yieldCpu } from "../../../irq/line.ts";
import type { MemoryPart } from "../../device/device_memory.ts";
import type { Command } from "./commands.ts";
import {
  type ControlRing,
  PackedControlRing,
  SplitControlRing,
} from "./ring.ts";
import { type AcceptedFeatures, accepts, isLegacy } from "../features.ts";
import { virtqueueAddresses, virtqueueLayout } from "../virtqueue/layout.ts";
import { VIRTIO_ADVICE } from "../../../bus/virtio/transport.ts";

/** Descriptors: a power of two, as split rings want it. */
const DEPTH = 16;
const DESCRIPTORS_PER_COMMAND = 2;
/** Bytes of class, command and data (5.1.6.5). */
const COMMAND_BYTES = 2048;
const HEADER_BYTES = 2;
const ACK_BYTES = 1;
const TIMEOUT_MS = 5000;
/** Looks without a pause: most devices answer at once. */
const QUICK_LOOKS = 200;
const PAUSE_MS = 1;

/** Values of the byte that the device writes (5.1.6.5). */
const Ack = { OK: 0, ERROR: 1, NONE: 0xff } as const;

/** How a control queue is made. */
export interface ControlQueueOptions {
  /** As many bytes as {@linkcode controlQueueBytes}. */
  readonly memory: MemoryPart;
  /** The accepted features. */
  readonly features: AcceptedFeatures;
  /** Descriptors, from {@linkcode controlQueueDepth}. */
  readonly depth: number;
  /** Tells the device. */
  readonly notify: () => void;
  /** Longest wait for an answer. Default: five seconds. */
  readonly timeoutMs?: number;
}

/**
 * Descriptors to use of those that the device has: all of them by the legacy interface.
 * @throws {DeviceFaultError} when a command does not fit.
 */
export function controlQueueDepth(
  features: AcceptedFeatures,
  largest: number,
): number {
  if (largest >= DESCRIPTORS_PER_COMMAND) {
    if (isLegacy(features)) return largest;
    return Math.min(DEPTH, 1 << (31 - Math.clz32(largest)));
  }
  throw new DeviceFaultError(
    `the control queue of the virtio device has ${largest} descriptors: no command fits`,
  );
}

/** Bytes of memory for a control queue. */
export function controlQueueBytes(
  features: AcceptedFeatures,
  depth: number,
): number {
  const { bytes } = virtqueueLayout(features, depth, "rx");
  return bytes + COMMAND_BYTES + ACK_BYTES;
}

/** Sends commands and waits for their answers. */
export class ControlQueue {
  /** Descriptors. */
  readonly depth: number;
  /** Where it lies for the device. */
  readonly addresses: VirtqueueAddresses;
  readonly #ring: ControlRing;
  readonly #command: Uint8Array;
  readonly #ack: Uint8Array;
  readonly #commandIova: bigint;
  readonly #notify: () => void;
  readonly #timeoutMs: number;
  /** Why no command can be sent any more. */
  #broken: string | undefined;

  /** @param options Its memory, and what was negotiated. */
  constructor(options: ControlQueueOptions) {
    const { memory, features, depth, timeoutMs = TIMEOUT_MS } = options;
    const { buffer, byteOffset, iova } = memory;
    const { bytes } = virtqueueLayout(features, depth, "rx");
    this.depth = depth;
    this.addresses = virtqueueAddresses(features, depth, iova);
    this.#ring = accepts(features, "packed")
      ? new PackedControlRing(memory, features, depth)
      : new SplitControlRing(memory, features, depth);
    this.#command = new Uint8Array(buffer, byteOffset + bytes, COMMAND_BYTES);
    this.#ack = new Uint8Array(
      buffer,
      byteOffset + bytes + COMMAND_BYTES,
      ACK_BYTES,
    );
    this.#commandIova = iova + BigInt(bytes);
    this.#notify = options.notify;
    this.#timeoutMs = timeoutMs;
  }

  /** Puts the ring into its first state. The device must not use it. */
  resetRing(): void {
    this.#ring.clear();
    this.#broken = undefined;
  }

  /**
   * Sends a command and waits until the device has done it.
   *
   * @throws {DeviceFaultError} when the device refuses it, or answers what is no answer.
   * @throws {DeviceTimeoutError} when it does not answer.
   */
  send(command: Command, data: Uint8Array): void {
    if (this.#broken !== undefined) {
      throw new DeviceFaultError(`${this.#broken}: it takes no more commands`);
    }
    const bytes = HEADER_BYTES + data.length;
    this.#command[0] = command.class;
    this.#command[1] = command.command;
    this.#command.set(data, HEADER_BYTES);
    this.#ack[0] = Ack.NONE;
    this.#ring.push(
      this.#commandIova,
      bytes,
      this.#commandIova + BigInt(COMMAND_BYTES),
    );
    storeBarrier();
    this.#notify();
    this.#waitFor(command);
    this.#judge(command);
  }

  #waitFor({ name }: Command): void {
    const until = performance.now() + this.#timeoutMs;
    for (let looks = 0; !this.#ring.answered; looks++) {
      if (performance.now() > until) {
        this.#broken = `the virtio device did not answer ${name}`;
        throw new DeviceTimeoutError(
          `answer of the virtio device to ${name}`,
          this.#timeoutMs,
          VIRTIO_ADVICE,
        );
      }
      if (looks < QUICK_LOOKS) yieldCpu();
      else sleep(PAUSE_MS);
    }
    loadBarrier();
  }

  #judge({ name, section }: Command): void {
    const wrong = this.#ring.take();
    if (wrong !== undefined) {
      this.#broken = `the virtio device answered ${name} with ${wrong}`;
      throw new DeviceFaultError(this.#broken);
    }
    const answer = this.#ack[0];
    if (answer === Ack.OK) return;
    throw new DeviceFaultError(
      answer === Ack.ERROR
        ? `the virtio device refused ${name} (section ${section})`
        : `the virtio device answered ${name} with ${answer}, which is no answer`,
    );
  }
}

/** Blocks this isolate, as a wait for a register would. */
function sleep(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
