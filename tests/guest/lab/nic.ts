/**
 * A card of a guest, from outside: its cable, its link, its plug.
 *
 * @module
 */

import type { FramePort } from "./frame_port.ts";
import type { NicPlace } from "./machine.ts";
import type { Qmp } from "./qmp.ts";
import type { ServedCard } from "./served_card.ts";

/** A card of a guest. */
export class Nic {
  /** Where the guest finds it: `0000:00:04.0`. */
  readonly address: string;
  /** Its MAC address. */
  readonly mac: string;
  /** QEMU's model. */
  readonly model: string;
  /** QEMU's name of it. */
  readonly id: string;
  /** The pcap file of what passes, if one was asked for. */
  readonly capture: string | undefined;
  readonly #device: Readonly<Record<string, unknown>>;
  readonly #port: FramePort | undefined;
  readonly #served: ServedCard | undefined;
  readonly #qmp: Qmp;

  /** Made by `Guest.boot()`. */
  constructor(
    place: NicPlace,
    qmp: Qmp,
    files: {
      port: FramePort | undefined;
      capture: string | undefined;
      served: ServedCard | undefined;
      device: Readonly<Record<string, unknown>>;
    },
  ) {
    ({ address: this.address, mac: this.mac, id: this.id } = place);
    this.model = place.description.model;
    this.capture = files.capture;
    this.#device = files.device;
    this.#qmp = qmp;
    this.#port = files.port;
    this.#served = files.served;
  }

  /** The other end of its cable. A card with a TAP interface has none. */
  get port(): FramePort {
    if (this.#port === undefined) throw new Error(`${this.id} is on a TAP`);
    return this.#port;
  }

  /** Plugs the cable in or out. */
  async setLink(up: boolean): Promise<void> {
    if (this.#served !== undefined) return await this.#served.setCable(up);
    await this.#qmp.execute("set_link", { name: this.id, up });
  }

  /** Asks the guest for the card, and waits until it is out (`hotplug` only). */
  async unplug(options: { timeoutMs?: number } = {}): Promise<void> {
    const remove = () => this.#qmp.execute("device_del", { id: this.id });
    await this.#qmp.eventAfter("DEVICE_DELETED", remove, {
      ...options,
      where: ({ device }) => device === this.id,
    });
  }

  /** Puts the card back into its slot. The guest finds it a little later. */
  async plug(): Promise<void> {
    await this.#qmp.execute("device_add", { ...this.#device });
  }
}
