/**
 * The part of a device that is the same for all Intel families: what it lets through.
 *
 * @module
 */
import type { PciBusDevice } from "../../bus/bus.ts";
import { rxBufferKiB } from "./ring/rx_queue.ts";
import { BaseDevice, type LocalPair } from "../device/base_device.ts";
import type { MacFilter } from "./mac_filter.ts";
import type { ReceiveMode } from "./receive_mode.ts";

/** An Intel card; `Pair` are the halves of its queue pairs. */
export abstract class IntelDevice<Pair extends LocalPair>
  extends BaseDevice<PciBusDevice> {
  /** Unicast addresses besides the station's. */
  protected abstract readonly filter: MacFilter;
  /** Promiscuous, multicast, VLANs. */
  protected abstract readonly mode: ReceiveMode;

  protected override bufferBytes(entrySize: number): number {
    return rxBufferKiB(entrySize) * 1024;
  }

  override queue(index: number): Pair {
    return super.queue(index) as Pair;
  }

  protected override programFilter(mac: Uint8Array, wanted: boolean): void {
    if (wanted) this.filter.add(mac);
    else this.filter.remove(mac);
  }

  override setPromiscuous(enabled: boolean): void {
    this.assertOpen();
    this.mode.setPromiscuous(enabled);
  }

  override setAllMulticast(enabled: boolean): void {
    this.assertOpen();
    this.mode.setAllMulticast(enabled);
  }

  override addVlanFilter(vlan: number): void {
    this.assertOpen();
    this.mode.setVlan(vlan, true);
  }

  override removeVlanFilter(vlan: number): void {
    this.assertOpen();
    this.mode.setVlan(vlan, false);
  }
}
