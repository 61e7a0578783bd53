/**
 * A TAP device of the kernel: whatever the kernel sends on it reaches the card, and the other way round.
 *
 * @module
 */
import { closeTap, openTap, readFrame, writeFrame } from "../../ffi/tun.ts";
import type { Frame } from "../frame.ts";
import { type Wire, WIRE_SLOT, wireCounters } from "./wire.ts";

/** A cable to the kernel's network stack. The interface exists until the wire is closed. */
export class TapWire implements Wire {
  readonly fd: number;
  readonly counters: Float64Array;
  /** The kernel's queue holds what the card cannot take yet. */
  readonly patient = true;
  #drained = false;

  /**
   * Makes the interface. It is down and has no address yet.
   *
   * @param name Name of the interface, at most 15 characters.
   * @param buffer Where to count.
   * @throws {IxlError} "permission" without CAP_NET_ADMIN, "device-busy" when the name is taken.
   */
  constructor(name: string, buffer?: SharedArrayBuffer) {
    this.fd = openTap(name);
    this.counters = wireCounters(buffer);
  }

  poll(frame: Frame): boolean {
    const length = readFrame(this.fd, frame.u8);
    this.#drained = length === 0;
    if (this.#drained) return false;
    frame.length = length;
    frame.crcError = false;
    // The kernel leaves padding to the hardware.
    frame.pad();
    this.counters[WIRE_SLOT.generated]++;
    this.counters[WIRE_SLOT.generatedBytes] += frame.length;
    return true;
  }

  transmit(frame: Frame): void {
    const { counters } = this;
    // The kernel refuses frames while the interface is down.
    if (!writeFrame(this.fd, frame.u8, frame.length)) {
      counters[WIRE_SLOT.overflow]++;
      return;
    }
    counters[WIRE_SLOT.received]++;
    counters[WIRE_SLOT.receivedBytes] += frame.length;
  }

  nextPollAt(now: number): number {
    return this.#drained ? Infinity : now;
  }

  close(): void {
    closeTap(this.fd);
  }
}
