/**
 * A served card as a driver of ours sees it: every register access, every mapping is a message.
 */
import type { BusDescription } from "../../../src/bus/description.ts";
import type {
  ConfigSpace,
  InterruptVectors,
  RegisterBusDevice,
  Registers,
} from "../../../src/bus/bus.ts";
import type { DmaDomain } from "../../../src/dma/domain.ts";
import { MappedDomain } from "../../../src/dma/mapped_domain.ts";
import type { DmaMemory } from "../../../src/dma/memory.ts";
import type { PciIds } from "../../../src/pci/ids.ts";
import { bytesOf, COMMAND, IRQ, VfioUserClient } from "./client.ts";
import { assertEquals } from "@std/assert";

const BAR0 = 0;
const CONFIG = 7;
const MSIX = 2;
const VECTORS = 64;
const FDS_AT_ONCE = 16;
const PCI_COMMAND = 4;
const MEMORY = 2;
const BUS_MASTER = 4;

/** A connection as a bus. */
export class VfioUserBus implements RegisterBusDevice {
  readonly kind = "registers" as const;
  readonly address: string = "vfio-user:0";
  readonly removal = undefined;
  readonly numaNode: number = -1;
  readonly client: VfioUserClient;
  readonly dma: DmaDomain;
  readonly registers: Registers;
  readonly config: ConfigSpace;
  readonly ids: PciIds;
  readonly interrupts: InterruptVectors;

  /**
   * @param path The card's socket.
   * @param keep Give no memory away: the card asks for each piece.
   */
  constructor(path: string, keep: boolean) {
    const client = new VfioUserClient(path);
    this.client = client;
    this.config = {
      read: (offset, size) => {
        const view = client.read(CONFIG, offset, size);
        if (size === 4) return view.getUint32(0, true);
        return size === 2 ? view.getUint16(0, true) : view.getUint8(0);
      },
      write: (offset, value, size) =>
        client.write(CONFIG, offset, bytesOf(["u32", value]).slice(0, size)),
    };
    this.config.write(PCI_COMMAND, MEMORY, 2);
    this.ids = this.#readIds();
    this.registers = {
      read32: (offset) => client.read32(BAR0, offset),
      write32: (offset, value) => client.post32(BAR0, offset, value),
    };
    this.dma = keep ? keptDomain(client) : sharedDomain(client);
    this.interrupts = {
      kind: "msix",
      count: VECTORS,
      route: (fds) => this.#route(fds),
      unmask: () => {},
    };
  }

  setBusMaster(enabled: boolean): void {
    const command = this.config.read(PCI_COMMAND, 2) & ~BUS_MASTER;
    this.config.write(PCI_COMMAND, command | (enabled ? BUS_MASTER : 0), 2);
  }

  reset(): boolean {
    this.client.do({ command: COMMAND.reset });
    this.config.write(PCI_COMMAND, MEMORY, 2);
    return true;
  }

  /** Such a description crosses to no other isolate. */
  describe(): BusDescription {
    const nothing = new SharedArrayBuffer(4);
    return { kind: "sim", channel: nothing, world: nothing, doorbellFd: -1 };
  }

  close(): Promise<void> {
    this.client.close();
    return Promise.resolve();
  }

  #route(fds: readonly number[]): void {
    const set = (flags: number, start: number, count: number, some: number[]) =>
      assertEquals(
        this.client.setIrqs(flags, MSIX, start, count, { fds: some }),
        undefined,
      );
    set(IRQ.none | IRQ.trigger, 0, 0, []);
    for (let at = 0; at < fds.length; at += FDS_AT_ONCE) {
      const some = fds.slice(at, at + FDS_AT_ONCE);
      set(IRQ.eventfd | IRQ.trigger, at, some.length, some);
    }
  }

  #readIds(): PciIds {
    const { config } = this;
    return {
      vendor: config.read(0x00, 2),
      device: config.read(0x02, 2),
      revision: config.read(0x08, 1),
      subsystemVendor: config.read(0x2c, 2),
      subsystemDevice: config.read(0x2e, 2),
    };
  }
}

/** Memory that the server maps. */
function sharedDomain(client: VfioUserClient): DmaDomain {
  const domain = new MappedDomain({
    map: ({ fd }, offset, size, address) =>
      assertEquals(client.map({ address, size, offset }, [fd!]), undefined),
    unmap: (address, size) =>
      assertEquals(client.unmap(Number(address), size), undefined),
  });
  return Object.assign(domain, { fileBacked: true });
}

/** Memory that the server asks for. */
function keptDomain(client: VfioUserClient): DmaDomain {
  return new MappedDomain({
    map: (memory: DmaMemory, offset, size, address) => {
      const bytes = memory.u8.subarray(offset, offset + size);
      client.kept.push({ address: Number(address), bytes });
      assertEquals(client.map({ address, size }), undefined);
    },
    unmap: (address, size) => {
      assertEquals(client.unmap(Number(address), size), undefined);
    },
  });
}
