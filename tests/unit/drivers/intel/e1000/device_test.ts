/** What the e1000 driver writes into the registers of its chips, where an emulated card is more patient. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import type { InterruptVectors } from "../../../../../src/bus/bus.ts";
import {
  completeConfig,
  type DeviceOptions,
} from "../../../../../src/config.ts";
import type { Device } from "../../../../../src/device_api.ts";
import { openDriver } from "../../../../../src/drivers/registry.ts";
import {
  ConfigError,
  DeviceTimeoutError,
  NotSupportedError,
} from "../../../../../src/errors.ts";
import { GigabitBus } from "../../../../support/intel/gigabit_bus.ts";

const ID_82540EM = 0x100e;
const ID_82574L = 0x10d3;
const ID_82583V = 0x150c;

// Registers by 317453 and 318694, independent of the driver's table.
const R = {
  CTRL: 0x0000,
  EECD: 0x0010,
  EERD: 0x0014,
  CTRL_EXT: 0x0018,
  ITR: 0x00c4,
  IMS: 0x00d0,
  IMC: 0x00d8,
  EIAC: 0x00dc,
  IVAR: 0x00e4,
  EITR: 0x00e8,
  RCTL: 0x0100,
  TCTL: 0x0400,
  TIPG: 0x0410,
  EXTCNF_CTRL: 0x0f00,
  PBA: 0x1000,
  RDLEN: 0x2808,
  RDT: 0x2818,
  TXDCTL: 0x3828,
  TDLEN: 0x3808,
  RXCSUM: 0x5000,
  RFCTL: 0x5008,
  RAL: 0x5400,
  MRQC: 0x5818,
  RETA: 0x5c00,
  RSSRK: 0x5c80,
} as const;
const EN = 1 << 1;
const QUEUE_STRIDE = 0x100;

interface BusOptions {
  readonly device: number;
  /** Registers that never say that they are done. */
  readonly stuck?: readonly number[];
  /** An 82574 with flash memory. */
  readonly flash?: boolean;
  /** How it interrupts. Default: MSI-X on the 82574L, else INTx. */
  readonly kind?: InterruptVectors["kind"];
}

/** The registers of one of these chips: its EEPROM is there, and INTx on PCI. */
class E1000Bus extends GigabitBus {
  override readonly interrupts: InterruptVectors;
  readonly #eecd: number;

  constructor(options: BusOptions) {
    const { device, stuck = [], flash = false } = options;
    const { kind = device === ID_82574L ? "msix" : "intx" } = options;
    super({ device, vectors: 5 });
    this.#eecd = 1 << 9 | (flash ? 3 << 15 : 0);
    this.interrupts = {
      kind,
      count: kind === "msix" ? 5 : 1,
      route: (fds) => void (this.routed = fds),
      unmask: () => {},
    };
    const { read32, write32 } = this.registers;
    this.registers = {
      read32: (offset) =>
        stuck.includes(offset) ? 0 : this.#read(offset, read32),
      write32,
    };
  }

  #read(offset: number, read32: (offset: number) => number): number {
    if (offset === R.EECD) return this.#eecd;
    if (offset !== R.EERD) return read32(offset);
    // The address 02:00:00:00:00:0N, N the number of the word.
    const word = read32(offset) >>> 8 & 0xff;
    return (word === 0 ? 0x0002 : word << 8) << 16 | 1 << 4;
  }
}

interface Rig {
  readonly device: Device;
  readonly bus: E1000Bus;
  /** What stands in a register. */
  word(offset: number): number;
}

/** Opens a card of registers, runs a test, closes the card, and looks at what is left. */
async function withE1000(
  options: BusOptions,
  config: DeviceOptions,
  test: (rig: Rig) => void | Promise<void>,
): Promise<void> {
  const bus = new E1000Bus(options);
  const device = await openDriver(
    bus,
    completeConfig({ hugepages: "never", ...config }),
  );
  try {
    await test({ device, bus, word: (offset) => bus.words.get(offset) ?? 0 });
  } finally {
    await device.close();
  }
  assertEquals([bus.mapped, bus.busMaster, bus.closed], [0, false, 1]);
  assertEquals(bus.routed, []);
  assertEquals((bus.words.get(R.RCTL)! | bus.words.get(R.TCTL)!) & EN, 0);
  assertEquals(bus.written(R.IMC).at(-1), 0xffffffff);
}

Deno.test("an 82574L has two queues, RSS and a vector for each", async () => {
  await withE1000({ device: ID_82574L }, { queues: 2 }, (rig) => {
    const { device, bus, word } = rig;
    assertEquals([device.driver, device.model], ["e1000", "82574L"]);
    assertEquals(device.features.retaSize, 128);
    assertEquals(bus.routed.length, 3);
    // Nibbles with their valid bits: RXQ0 on 0, RXQ1 on 1, everything else on 2.
    assertEquals(word(R.IVAR), 0x000a_0098);
    assertEquals(word(R.EIAC), 3 << 20);
    assertEquals(
      word(R.CTRL_EXT) & (0x1000_0000 | 1 << 24 | 1 << 27),
      0x1100_0000,
    );
    assertEquals([word(R.EITR), word(R.EITR + 4)], [40, 40]);
    // RXQ0, RXQ1, OTHER, LSC.
    assertEquals(bus.written(R.IMS), [0x0130_0004]);
    assertEquals(word(R.RFCTL), 1 << 15 | 1 << 12);
    assertEquals(word(R.RXCSUM), 1 << 13 | 1 << 9 | 1 << 8);
    assertEquals(word(R.MRQC), 0x0017_0001);
    assertEquals(word(R.RETA), 0x8000_8000);
    assertEquals(word(R.RSSRK), 0xda56_5a6d);
  });
});

Deno.test("an 82574L with flash memory reads it again after the reset", async () => {
  for (const flash of [false, true]) {
    await withE1000({ device: ID_82574L, flash }, {}, ({ bus }) => {
      const asked = bus.written(R.CTRL_EXT).some((word) => word & 1 << 13);
      assertEquals(asked, flash);
    });
  }
});

Deno.test("an 82540EM has one queue and one interrupt, and nothing of the 82574 is touched", async () => {
  await withE1000({ device: ID_82540EM }, {}, ({ device, bus, word }) => {
    assertEquals(device.model, "82540EM");
    assertEquals(bus.routed.length, 1);
    assertEquals(word(R.ITR), 40);
    // RXT0 and LSC.
    assertEquals(bus.written(R.IMS), [0x84]);
    assertEquals(word(R.RXCSUM), 1 << 9 | 1 << 8);
    for (
      const offset of [R.IVAR, R.EIAC, R.RFCTL, R.MRQC, R.RETA, R.EXTCNF_CTRL]
    ) {
      assertEquals(bus.written(offset), []);
    }
    assertThrows(() => device.setRssTable([0]), NotSupportedError);
    assertThrows(() => device.setRssKey(new Uint8Array(40)), NotSupportedError);
  });
});

Deno.test("an 82574L without MSI-X has one queue, and one interrupt for all", async () => {
  for (const kind of ["msi", "intx"] as const) {
    const options = { device: ID_82574L, kind };
    await withE1000(options, { interrupts: kind }, (rig) => {
      const { device, bus, word } = rig;
      const { maxQueues, queueInterrupts } = device.features;
      assertEquals([maxQueues, queueInterrupts], [1, false]);
      assertEquals(bus.routed, [device.rxIrq(0)]);
      assertEquals([word(R.IVAR), word(R.EIAC)], [0, 0]);
      // RXT0, LSC.
      assertEquals(bus.written(R.IMS), [0x84]);
    });
    await assertRejects(
      () => withE1000(options, { interrupts: "msix" }, () => {}),
      ConfigError,
      `has ${kind} interrupts, not msix`,
    );
  }
});

Deno.test("an 82583V has extended descriptors, and one interrupt", async () => {
  await withE1000({ device: ID_82583V }, {}, ({ device, bus, word }) => {
    assertEquals([device.model, device.features.maxQueues], ["82583V", 1]);
    assertEquals(word(R.RFCTL) & 1 << 15, 1 << 15);
    assertEquals([bus.routed.length, bus.written(R.MRQC)], [1, []]);
  });
});

Deno.test("the 8254x's address is the EEPROM's, whatever a driver before left", async () => {
  await withE1000({ device: ID_82540EM }, {}, ({ device, word }) => {
    assertEquals(device.macAddress, "02:00:00:01:00:02");
    assertEquals(word(R.RAL), 0x0100_0002);
  });
});

Deno.test("a polling queue leaves the shared interrupt to the link", async () => {
  const config = { irqTimeoutMs: 0 };
  await withE1000({ device: ID_82540EM }, config, ({ device, bus }) => {
    assert(bus.routed[0] !== device.rxIrq(0));
    assertEquals(bus.written(R.IMS), [0x04]);
  });
});

Deno.test("the units are set up as 317453 sections 14.4 and 14.5 have it", async () => {
  const config = { maxFrameSize: 9000, entrySize: 4096 };
  await withE1000({ device: ID_82540EM }, config, ({ word }) => {
    // EN, LPE, BAM, BSIZE 3 with BSEX for 4096 bytes, SECRC.
    assertEquals(word(R.RCTL), 0x0603_8022);
    // EN, PSP, CT 15, COLD 64, RTLC.
    assertEquals(word(R.TCTL), 0x0104_00fa);
    assertEquals(word(R.TIPG), 0x0060_2008);
    assertEquals(word(R.PBA), 40);
    assertEquals(word(R.TXDCTL) & 1 << 22, 0);
  });
  await withE1000({ device: ID_82574L }, {}, ({ word }) => {
    assertEquals(word(R.RCTL), 0x0400_8002);
    assertEquals(word(R.TCTL), 0x1104_00fa);
    assertEquals(word(R.TXDCTL) & 1 << 22, 1 << 22);
  });
});

Deno.test("a ring is whole before its unit runs, and gets its descriptors then", async () => {
  await withE1000({ device: ID_82574L }, { queues: 2 }, ({ bus }) => {
    const last = (offset: number, holds: (value: number) => boolean) =>
      bus.writes.findLastIndex(([at, value]) => at === offset && holds(value));
    for (const at of [0, QUEUE_STRIDE]) {
      const length = last(R.RDLEN + at, (value) => value === 512 * 16);
      const tail = last(R.RDT + at, (value) => value === 511);
      const enabled = bus.writes.findIndex(([offset, value], i) =>
        i > length && offset === R.RCTL && (value & EN) !== 0
      );
      assert(length >= 0 && length < enabled && enabled < tail);
    }
  });
});

Deno.test("restarting one queue leaves the other's ring alone", async () => {
  await withE1000({ device: ID_82574L }, { queues: 2 }, async (rig) => {
    const { device, bus, word } = rig;
    bus.writes.length = 0;
    await device.restartQueue(1);
    const touched = (offset: number) => bus.written(offset).length > 0;
    assertEquals([touched(R.RDLEN), touched(R.TDLEN)], [false, false]);
    assertEquals(touched(R.RDLEN + QUEUE_STRIDE), true);
    assertEquals([word(R.RCTL) & EN, word(R.TCTL) & EN], [EN, EN]);
  });
});

Deno.test("what these chips cannot do is refused", async () => {
  const wrong: [number, DeviceOptions][] = [
    [ID_82540EM, { queues: 2 }],
    [ID_82574L, { queues: 3 }],
    [ID_82583V, { queues: 2 }],
    [ID_82574L, { maxFrameSize: 9231 }],
  ];
  for (const [device, config] of wrong) {
    await assertRejects(
      () => withE1000({ device }, config, () => {}),
      ConfigError,
    );
  }
});

Deno.test("a chip that does not answer is given up, by the name of the bit", async () => {
  const cases: [number, number, string][] = [
    [ID_82574L, R.EECD, "EECD.AUTO_RD"],
    [ID_82574L, R.EXTCNF_CTRL, "EXTCNF_CTRL.MDIO_SW_OWNERSHIP"],
    [ID_82540EM, R.EERD, "EERD.DONE"],
  ];
  for (const [device, register, name] of cases) {
    await assertRejects(
      () => withE1000({ device, stuck: [register] }, {}, () => {}),
      DeviceTimeoutError,
      name,
    );
  }
});
