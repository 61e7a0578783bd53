/**
 * Which address stands in which slot of a card's unicast filter.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { equalMac } from "../../net/ethernet.ts";

/** Slot of the MAC address; the others are free for more. */
export const STATION_SLOT = 0;

/** What a chip does with its filter. */
export interface MacSlots {
  /** Slots, that of the MAC address included. */
  readonly count: number;
  /** Makes the card take frames for an address. */
  write(slot: number, mac: Uint8Array): void;
  /** Makes a slot empty. */
  clear(slot: number): void;
}

/** The unicast filter beyond the MAC address. */
export class MacFilter {
  readonly #taken: (Uint8Array | undefined)[] = [];

  /** @param slots The chip's slots. */
  constructor(readonly slots: MacSlots) {}

  /** Adds an address; one that is there already stays. Throws a ConfigError when all slots are taken. */
  add(mac: Uint8Array): void {
    if (this.#find(mac) >= 0) return;
    const { count } = this.slots;
    for (let slot = STATION_SLOT + 1; slot < count; slot++) {
      if (this.#taken[slot] !== undefined) continue;
      this.slots.write(slot, mac);
      this.#taken[slot] = mac;
      return;
    }
    throw new ConfigError(
      "mac",
      `all ${
        count - 1
      } filters are in use: remove one, or receive promiscuously`,
    );
  }

  /** Takes an address out; one that is not there is ignored. */
  remove(mac: Uint8Array): void {
    const slot = this.#find(mac);
    if (slot < 0) return;
    this.slots.clear(slot);
    this.#taken[slot] = undefined;
  }

  #find(mac: Uint8Array): number {
    return this.#taken.findIndex((other) =>
      other !== undefined && equalMac(other, 0, mac, 0)
    );
  }
}
