/** What the igb driver writes into the registers of an 82576 and an I350, where an emulated card is more patient. */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
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
import {
  GigabitBus,
  type GigabitBusOptions,
} from "../../../../support/intel/gigabit_bus.ts";

const ID_82576 = 0x10c9;
const ID_I350 = 0x1521;

// Registers by the datasheets 320961 and 333171, independent of the driver's table.
const R = {
  CTRL: 0x0000,
  STATUS: 0x0008,
  CTRL_EXT: 0x0018,
  MDICNFG: 0x0e04,
  RCTL: 0x0100,
  TCTL: 0x0400,
  GPIE: 0x1514,
  EIMS: 0x1524,
  EIMC: 0x1528,
  EIAC: 0x152c,
  EIAM: 0x1530,
  EITR: 0x1680,
  IVAR: 0x1700,
  IVAR_MISC: 0x1740,
  PCS_LCTL: 0x4208,
  PCS_LSTS: 0x420c,
  RXCSUM: 0x5000,
  RLPML: 0x5004,
  RAL: 0x5400,
  RAH: 0x5404,
  VFTA: 0x5600,
  MRQC: 0x5818,
  SWSM: 0x5b50,
  SW_FW_SYNC: 0x5b5c,
  RETA: 0x5c00,
  RSSRK: 0x5c80,
  RDLEN: 0xc008,
  SRRCTL: 0xc00c,
  RDT: 0xc018,
  RXDCTL: 0xc028,
  DVMOLR: 0xc038,
  TDT: 0xe018,
  TXDCTL: 0xe028,
} as const;
const ENABLE = 1 << 25;
const QUEUE_STRIDE = 0x40;

interface Rig {
  readonly device: Device;
  readonly bus: GigabitBus;
  /** What stands in a register. */
  word(offset: number): number;
}

/** Opens a card of registers, runs a test, closes the card, and looks at what is left. */
async function withIgb(
  options: GigabitBusOptions & { prepare?: (bus: GigabitBus) => void },
  config: DeviceOptions,
  test: (rig: Rig) => void | Promise<void>,
): Promise<void> {
  const bus = new GigabitBus(options);
  options.prepare?.(bus);
  const device = await openDriver(
    bus,
    completeConfig({ hugepages: "never", ...config }),
  );
  try {
    await test({ device, bus, word: (offset) => bus.words.get(offset) ?? 0 });
  } finally {
    await device.close();
  }
  assertEquals(bus.mapped, 0);
  assertEquals(bus.routed, []);
  assertEquals([bus.busMaster, bus.closed], [false, 1]);
  assertEquals((bus.words.get(R.RCTL)! & 2) | (bus.words.get(R.TCTL)! & 2), 0);
}

Deno.test("an 82576 has 16 queues and 24 addresses, an I350 8 and 32", async () => {
  await withIgb({ device: ID_82576 }, { queues: 16 }, ({ device }) => {
    const { maxQueues, rssQueues, retaSize, macFilters } = device.features;
    assertEquals([device.driver, device.model], ["igb", "82576"]);
    assertEquals([maxQueues, rssQueues, retaSize, macFilters], [
      ...[16, 16, 128, 23],
    ]);
    assertEquals(device.macAddress, "02:00:00:00:00:01");
    assertEquals(device.link(), { up: true, speed: 1000 });
  });
  await withIgb({ device: ID_I350 }, { queues: 8 }, ({ device }) => {
    const { maxQueues, macFilters } = device.features;
    assertEquals([device.model, maxQueues, macFilters], ["I350", 8, 31]);
  });
});

Deno.test("what a chip cannot do is refused", async () => {
  const wrong: [number, DeviceOptions][] = [
    [ID_82576, { queues: 17 }],
    [ID_I350, { queues: 9 }],
    [ID_82576, { maxFrameSize: 9725 }],
    [ID_82576, { entrySize: 960 }],
  ];
  for (const [device, config] of wrong) {
    await assertRejects(
      () => withIgb({ device }, config, () => {}),
      ConfigError,
    );
  }
});

Deno.test("a queue gets its descriptors after it is on, and the receiver comes last", async () => {
  await withIgb({ device: ID_82576 }, { queues: 3 }, ({ bus }) => {
    const indexOf = (offset: number, value: (v: number) => boolean) =>
      bus.writes.findLastIndex(([at, v]) => at === offset && value(v));
    for (let queue = 0; queue < 3; queue++) {
      const at = queue * QUEUE_STRIDE;
      const enabled = indexOf(R.RXDCTL + at, (v) => (v & ENABLE) !== 0);
      const length = indexOf(R.RDLEN + at, (v) => v === 512 * 16);
      const tail = indexOf(R.RDT + at, (v) => v === 511);
      assert(length >= 0 && length < enabled && enabled < tail);
      assert(indexOf(R.TXDCTL + at, (v) => (v & ENABLE) !== 0) >= 0);
      assert(tail < indexOf(R.RCTL, (v) => (v & 2) !== 0));
    }
    assertEquals(indexOf(R.RXDCTL + 3 * QUEUE_STRIDE, () => true), -1);
  });
});

Deno.test("receiving is set up as section 8.10 has it", async () => {
  const config = { maxFrameSize: 9000, entrySize: 3008 };
  await withIgb({ device: ID_82576 }, config, ({ word }) => {
    // EN, LPE, BAM, DPF, SECRC.
    assertEquals(word(R.RCTL), 0x0440_8022);
    assertEquals(word(R.RLPML), 9004);
    // BSIZEPACKET 2 KiB, DESCTYPE one buffer, DROP_EN.
    assertEquals(word(R.SRRCTL), 0x8200_0002);
    // PCSD, TUOFLD, IPOFLD.
    assertEquals(word(R.RXCSUM), 0x2300);
    // RSS; TCP and UDP over IPv4 and IPv6, with and without extensions.
    assertEquals(word(R.MRQC), 0x00ff_0002);
    assertEquals(word(R.RXDCTL), 0x0201_0808);
    assertEquals(word(R.TXDCTL), 0x0201_0108);
    // EN, PSP, CT 15, RTLC.
    assertEquals(word(R.TCTL), 0x0100_00fa);
  });
});

Deno.test("key and table are written as little-endian bytes", async () => {
  await withIgb({ device: ID_82576 }, { queues: 4 }, ({ device, word }) => {
    assertEquals(word(R.RETA), 0x03020100);
    device.setRssTable([3, 1]);
    assertEquals([0, 124].map((at) => word(R.RETA + at)), [
      ...[0x01030103, 0x01030103],
    ]);
    device.setRssKey(Uint8Array.from({ length: 40 }, (_, i) => i));
    assertEquals([0, 36].map((at) => word(R.RSSRK + at)), [
      ...[0x03020100, 0x27262524],
    ]);
    assertThrows(() => device.setRssTable([4]), ConfigError);
    assertThrows(() => device.setRssTable([0, 1, 2]), ConfigError);
    assertThrows(() => device.setRssKey(new Uint8Array(39)), ConfigError);
  });
});

Deno.test("vectors: rows of IVAR on the 82576, columns on the I350", async () => {
  const ivar = (word: Rig["word"]) =>
    Array.from({ length: 8 }, (_, i) => word(R.IVAR + 4 * i));
  await withIgb({ device: ID_82576 }, { queues: 10 }, ({ word }) => {
    assertEquals(ivar(word), [
      ...[0x0088_0080, 0x0089_0081, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87],
    ]);
    assertEquals(word(R.IVAR_MISC), 0x8a00);
  });
  await withIgb({ device: ID_I350 }, { queues: 5 }, ({ word }) => {
    assertEquals(ivar(word), [
      ...[0x0081_0080, 0x0083_0082, 0x84, 0, 0, 0, 0, 0],
    ]);
    assertEquals(word(R.IVAR_MISC), 0x8500);
  });
});

Deno.test("interrupts clear and mask themselves, and only those of sleepers are let through", async () => {
  const config = { queues: 2, interruptIntervalUs: 10 };
  await withIgb({ device: ID_82576 }, config, ({ bus, word }) => {
    // NSICR, multiple MSI-X, EIAME, PBA support.
    assertEquals(word(R.GPIE), 0xc000_0011);
    assertEquals([word(R.EIAC), word(R.EIAM)], [7, 7]);
    assertEquals([0, 4, 8].map((at) => word(R.EITR + at)), [
      ...[0x8000_0028, 0x8000_0028, 0x8000_0000],
    ]);
    assertEquals(bus.written(R.EIMS), [4, 3], "link, then queues");
    assertEquals(bus.routed.length, 3);
  });
  const polling = { ...config, irqTimeoutMs: 0 };
  await withIgb({ device: ID_82576 }, polling, ({ bus }) => {
    assertEquals(bus.written(R.EIMS), [4], "the link alone");
  });
});

Deno.test("with fewer vectors than queues all poll, or nothing goes", async () => {
  const options = { device: ID_82576, vectors: 10 };
  const polling = { queues: 16, irqTimeoutMs: 0 };
  await withIgb(options, polling, ({ bus, word }) => {
    assertEquals(bus.routed.length, 1);
    assertEquals([word(R.IVAR), word(R.IVAR_MISC)], [0, 0x8000]);
    assertEquals(bus.written(R.EIMS), [1]);
  });
  await assertRejects(
    () => withIgb(options, { queues: 16 }, () => {}),
    NotSupportedError,
    "17 interrupt vectors",
  );
});

Deno.test("an 82576 wants MSI-X, even to poll", async () => {
  const options = { device: ID_82576, vectors: 1, kind: "msi" } as const;
  await assertRejects(
    () => withIgb(options, { irqTimeoutMs: 0 }, () => {}),
    NotSupportedError,
    "the igb driver needs MSI-X",
  );
});

Deno.test("an I350 keeps where its PHY is, and writes its VLAN table ten times", async () => {
  const prepare = (bus: GigabitBus) => void bus.words.set(R.MDICNFG, 0x200000);
  const options = { device: ID_I350, prepare };
  await withIgb(options, { vlanStrip: true }, ({ bus, word }) => {
    assertEquals(word(R.MDICNFG), 0x200000);
    assertEquals(bus.written(R.STATUS), [1 << 20], "DEV_RST_SET");
    assertEquals(bus.written(R.VFTA), Array(10).fill(0));
    assertEquals(word(R.DVMOLR), 0xc000_0000);
  });
  await withIgb({ device: ID_82576 }, {}, ({ bus }) => {
    assertEquals(bus.written(R.STATUS), []);
    assertEquals(bus.written(R.VFTA), [0]);
    assertEquals(bus.written(R.DVMOLR), []);
  });
});

Deno.test("VLAN tags are stripped as CTRL.VME says", async () => {
  for (const vlanStrip of [true, false]) {
    await withIgb({ device: ID_82576 }, { vlanStrip }, ({ word }) => {
      assertEquals((word(R.CTRL) & 1 << 30) !== 0, vlanStrip);
    });
  }
});

Deno.test("a VLAN is a bit of VFTA, and RCTL.VFE is on while there is one", async () => {
  const VFE = 1 << 18;
  await withIgb({ device: ID_I350 }, {}, ({ bus, device, word }) => {
    const at = R.VFTA + 4 * (0x123 >> 5);
    device.addVlanFilter(0x123);
    assertEquals(bus.written(at), [...Array(10).fill(0), ...Array(10).fill(8)]);
    assertEquals(word(R.RCTL) & VFE, VFE);
    device.setPromiscuous(true);
    assertEquals(word(R.RCTL) & VFE, 0);
    device.setPromiscuous(false);
    assertEquals(word(R.RCTL) & VFE, VFE);
    device.removeVlanFilter(0x123);
    assertEquals([word(at), word(R.RCTL) & VFE], [0, 0]);
  });
});

Deno.test("further addresses go to slots 1 to 23, those from 16 on to their own block", async () => {
  await withIgb({ device: ID_82576 }, {}, ({ device, word }) => {
    const macs = Array.from(
      { length: 23 },
      (_, i) => `02:11:22:33:44:${(i + 1).toString(16).padStart(2, "0")}`,
    );
    for (const mac of macs) device.addMacFilter(mac);
    const last = R.RAL + 0xe0 + 7 * 8;
    assertEquals([word(last), word(last + 4)], [0x33221102, 0x80001744]);
    assertThrows(() => device.addMacFilter("02:00:00:00:00:99"), ConfigError);
    device.removeMacFilter(macs[22]);
    assertEquals(word(last + 4), 0);
    device.addMacFilter("02:00:00:00:00:99");
    assertEquals(word(last), 0x00000002);
  });
});

Deno.test("promiscuous and all-multicast are bits of RCTL", async () => {
  await withIgb({ device: ID_82576 }, {}, ({ device, word }) => {
    const modes = () => word(R.RCTL) & 0x18;
    assertEquals(modes(), 0);
    device.setAllMulticast(true);
    assertEquals(modes(), 0x10);
    device.setPromiscuous(true);
    assertEquals(modes(), 0x18);
    device.setAllMulticast(false);
    assertEquals(modes(), 0x18, "promiscuous is for groups too");
    device.setPromiscuous(false);
    assertEquals(modes(), 0);
  });
});

Deno.test("statistics subtract check sequences and what queues dropped", async () => {
  await withIgb({ device: ID_82576 }, {}, ({ device, bus }) => {
    const counts = {
      GPRC: [0x4074, 10],
      GORCL: [0x4088, 1000],
      GORCH: [0x408c, 1],
      MPC: [0x4010, 2],
      RQDPC: [0xc030, 3],
      TPT: [0x40d4, 5],
      TOTL: [0x40c8, 500],
      CRCERRS: [0x4000, 4],
      RUC: [0x40a4, 1],
      RFC: [0x40a8, 2],
      ROC: [0x40ac, 3],
      RJC: [0x40b0, 4],
      XONRXC: [0x4048, 5],
      XOFFRXC: [0x4050, 6],
      FCRUC: [0x4058, 7],
      // Passed, missed, damaged, and 8 for others.
      TPR: [0x40d0, 10 + 2 + 14 + 8],
    };
    for (const [offset, value] of Object.values(counts)) {
      bus.words.set(offset, value);
    }
    assertEquals(device.readStats(), {
      rxPackets: 7,
      rxBytes: 2 ** 32 + 1000 - 40,
      txPackets: 5,
      txBytes: 480,
      rxMissed: 5,
      rxErrors: 14,
      rxTooShort: 3,
      rxTooLong: 7,
      rxControl: 18,
      rxFiltered: 8,
    });
  });
});

Deno.test("SerDes and SGMII are negotiated by the PCS, which says whether they are up", async () => {
  // FSV 1000, FDV, AN_ENABLE, AN_RESTART, AN_TIMEOUT_EN; over SGMII the PHY outside decides.
  const modes = [
    { device: 0x10e7, mode: 3, control: 0x7000c, forced: true },
    { device: 0x1524, mode: 2, control: 0x30000, forced: false },
  ];
  for (const { device, mode, control, forced } of modes) {
    const bus = new GigabitBus({ device });
    const { write32, read32 } = bus.registers;
    bus.registers = {
      write32,
      // The EEPROM says so after each reset.
      read32: (offset: number) =>
        read32(offset) | (offset === R.CTRL_EXT ? mode << 22 : 0) |
        (offset === R.PCS_LSTS ? 5 : 0),
    };
    const card = await openDriver(
      bus,
      completeConfig({ hugepages: "never" }),
    );
    assertEquals(card.link(), { up: true, speed: 1000 });
    assertEquals(bus.words.get(R.PCS_LCTL), control);
    assertEquals((bus.words.get(R.CTRL)! & 1 << 11) !== 0, forced);
    assertEquals(bus.phy.size, 0, "the PHY is left alone");
    await card.close();
  }
});

Deno.test("a lock that a dead driver left is taken over", async () => {
  const prepare = (bus: GigabitBus) => {
    const { write32, read32 } = bus.registers;
    let reset = false;
    bus.registers = {
      read32,
      write32: (offset: number, value: number) => {
        write32(offset, value);
        if (offset !== R.CTRL || (value & 1 << 26) === 0) return;
        if (!reset) bus.words.set(R.SWSM, 1).set(R.SW_FW_SYNC, 2);
        reset = true;
      },
    };
  };
  await withIgb({ device: ID_82576, prepare }, {}, ({ device, word }) => {
    assertEquals(device.link().up, true);
    assertEquals(word(R.SW_FW_SYNC), 0);
  });
});

Deno.test("firmware that keeps the PHY is an error with a name", async () => {
  const bus = new GigabitBus({ device: ID_82576 });
  const { write32, read32 } = bus.registers;
  bus.registers = {
    write32,
    read32: (offset: number) =>
      read32(offset) | (offset === R.SW_FW_SYNC ? 1 << 17 : 0),
  };
  await assertRejects(
    () => openDriver(bus, completeConfig({ hugepages: "never" })),
    DeviceTimeoutError,
    "SW_FW_SYNC",
  );
  assertEquals([bus.mapped, bus.closed], [0, 1]);
});
