/**
 * Waking a vhost-user backend from any isolate.
 *
 * @module
 */
import { IrqLine } from "../../irq/line.ts";
import type { VhostUserBusDescription } from "../description.ts";
import type { VirtioQueueBus } from "../virtio/transport.ts";

/** The kick eventfds of a vhost-user connection. */
export class VhostUserNotifier implements VirtioQueueBus {
  readonly #kicks: readonly IrqLine[];

  /** @param description The eventfds. */
  constructor({ kickFds }: VhostUserBusDescription) {
    this.#kicks = kickFds.map((fd) => new IrqLine(fd));
  }

  notify(virtqueue: number): void {
    this.#kicks[virtqueue].raise();
  }

  unmaskInterrupt(): boolean {
    return false;
  }
}
