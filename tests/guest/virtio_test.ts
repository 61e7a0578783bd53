/**
 * The virtio driver on QEMU's virtio-net-pci behind VFIO and the IOMMU, watched from the other end of its cable. That
 * cable carries no virtio header, so that checksums and segmentation are the matter of `virtio_tap_test.ts`.
 */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import type { DeviceOptions, DeviceStats, LinkState } from "../../mod.ts";
import { repetitions } from "../support/runner/repeat.ts";
import { Card } from "./console.ts";
import { numbered, numberOf, swapped, tagged } from "./frames.ts";
import {
  asUser,
  bindForUser,
  guestScenarios,
  type Nic,
  untilDevice,
} from "./lab/mod.ts";
import type { PacketReport } from "./programs/card_console.ts";
import { returnsAtOnce, sleepsThrough, wakes } from "./receives.ts";

const scenario = guestScenarios({
  name: "virtio",
  nics: [
    {
      model: "virtio-net-pci",
      properties: { packed: true, speed: 10_000, vectors: 4 },
    },
    {
      model: "virtio-net-pci",
      hotplug: true,
      properties: { packed: true },
    },
    { model: "virtio-net-pci", properties: { vectors: 0 } },
    {
      model: "virtio-net-pci",
      properties: {
        ...{ "disable-legacy": "off", "disable-modern": true },
        ...{ iommu_platform: false, ats: false },
      },
    },
  ],
});

const POLLING = { irqTimeoutMs: 0 } as const;
const SPLIT = { ...POLLING, virtio: { without: ["packed"] } };
const BROADCAST = "ff:ff:ff:ff:ff:ff";

/** Ways to use the rings, each with what must not be accepted for it. */
const RINGS: Readonly<Record<string, readonly string[]>> = {
  "packed": [],
  "packed, events by flags": ["event-index"],
  "packed, chains": ["indirect"],
  "packed, one buffer for each frame": ["mergeable"],
  "split": ["packed"],
  "split, events by flags": ["packed", "event-index"],
  "split, chains": ["packed", "indirect"],
  "split, one buffer for each frame": ["packed", "mergeable"],
};

const bytesOf = ({ hex }: PacketReport) => Uint8Array.fromHex(hex);

/** Few enough for a cable: see "What is as it is" in the driver's README for what QEMU does when it is full. */
const AT_ONCE = 64;

/** Frames that the card echoes, in their order. */
async function echoes(
  nic: Nic,
  frames: Uint8Array[],
  atOnce = AT_ONCE,
): Promise<void> {
  for (let at = 0; at < frames.length; at += atOnce) {
    const some = frames.slice(at, at + atOnce);
    await nic.port.send(...some);
    assertEquals(
      await nic.port.receiveMany(some.length),
      some.map((frame) => swapped(frame)),
    );
  }
}

async function untilTrue(
  what: string,
  holds: () => Promise<boolean>,
): Promise<void> {
  const end = performance.now() + 20_000;
  while (!await holds()) {
    if (performance.now() > end) throw new Error(`${what} did not come`);
  }
}

scenario("comes up with its address and all it can do", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic);
  const { features, ...report } = card.report;
  assertEquals(report, {
    driver: "virtio",
    model: "virtio-net",
    macAddress: nic.mac,
    linkSpeed: 10_000,
    queues: 1,
  });
  for (
    const name of [
      ...["version-1", "access-platform", "packed", "ring-reset"],
      ...["indirect", "event-index", "mergeable", "status", "speed"],
      ...["control-queue", "rx-filters", "set-mac", "announce"],
    ]
  ) {
    assert(features.virtio!.includes(name), name);
  }
  await card.reopen({ virtio: { without: ["packed", "mergeable"] } });
  const accepted = card.report.features.virtio!;
  assert(!accepted.includes("packed") && !accepted.includes("mergeable"));
  await card.close();
});

scenario("receives and sends frames of all sizes", async (guest) => {
  const [nic] = guest.nics;
  const frames = Array.from(
    { length: 1455 },
    (_, i) => numbered(i, nic.mac, 60 + i),
  );
  const card = await Card.open(guest, nic, POLLING);
  for (const without of Object.values(RINGS)) {
    await card.reopen({ ...POLLING, virtio: { without } });
    await card.ask("startEcho");
    await echoes(nic, frames.filter((_, i) => i % 7 === without.length));
  }
  await card.reopen(POLLING);
  await card.ask("startEcho");
  await echoes(nic, frames);
  await card.close();
});

scenario("takes long frames apart and puts them together", async (guest) => {
  const [nic] = guest.nics;
  const sizes = [2035, 2036, 2037, 2048, 2049, 4096, 4097, 9000, 60];
  const frames = sizes.map((size, i) => numbered(i, nic.mac, size));
  const hexes = frames.map((frame) => frame.toHex());
  const card = await Card.open(guest, nic, POLLING);
  for (const [name, without] of Object.entries(RINGS)) {
    const mergeable = !without.includes("mergeable");
    await card.reopen({
      ...POLLING,
      ...{ maxFrameSize: 9000, virtio: { without } },
      ...(mergeable ? {} : { entrySize: 9024 }),
    });
    await nic.port.send(...frames);
    const received = await card.receive(frames.length);
    assertEquals(received.map(bytesOf), frames, name);
    // The header takes 12 bytes of the first buffer (5.1.6.4).
    assertEquals(
      received.map(({ segments }) => segments),
      sizes.map((size) => mergeable ? Math.ceil((size + 12) / 2048) : 1),
      name,
    );
    assertEquals(await card.ask("send", 0, hexes), frames.length);
    assertEquals(await nic.port.receiveMany(frames.length), frames, name);
  }
  await card.close();
});

scenario("keeps numbers and order over many turns of a ring", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, POLLING);
  for (const without of Object.values(RINGS)) {
    // A packed ring may have any size.
    const depth = without.includes("packed") ? 64 : 72;
    const depths = { rxDepth: depth, txDepth: depth };
    await card.reopen({ ...POLLING, ...depths, virtio: { without } });
    await card.ask("startEcho");
    await echoes(
      nic,
      Array.from({ length: 400 }, (_, i) => numbered(i, nic.mac)),
      100,
    );
    await card.ask("stopEcho");
  }
  assertEquals(await card.receive(1, 500), [], "a duplicate");
  await card.close();
});

/** Which of these destinations the card takes. */
async function accepted(
  card: Card,
  nic: Nic,
  macs: readonly string[],
): Promise<string[]> {
  // The last one always gets through, so nobody has to wait for what does not come.
  const all = [...macs, BROADCAST];
  await nic.port.send(...all.map((mac, i) => numbered(i, mac)));
  const taken: string[] = [];
  for (;;) {
    for (const report of await card.receive(1)) {
      const number = numberOf(bytesOf(report));
      if (number === macs.length) return taken;
      taken.push(all[number]);
    }
  }
}

scenario("filters addresses as it is told", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, POLLING);
  const filters = async () => {
    const [rules] = await guest.qmp.execute("query-rx-filter", {
      name: nic.id,
    }) as Record<string, unknown>[];
    return rules;
  };
  const [own, other] = [nic.mac, "02:00:00:00:aa:01"];
  const group = "01:00:5e:00:00:fb";
  const macs = [own, other, group];
  assertEquals(await accepted(card, nic, macs), [own]);
  await card.call("addMacFilter", other);
  assertEquals(await accepted(card, nic, macs), [own, other]);
  assertEquals((await filters())["unicast-table"], [other]);
  await card.call("removeMacFilter", other);
  assertEquals(await accepted(card, nic, macs), [own]);
  await card.call("setAllMulticast", true);
  assertEquals(await accepted(card, nic, macs), [own, group]);
  assertEquals((await filters()).multicast, "all");
  await card.call("setAllMulticast", false);
  await card.call("setPromiscuous", true);
  assertEquals(await accepted(card, nic, macs), macs);
  assertEquals((await filters()).promiscuous, true);
  await card.call("setPromiscuous", false);
  assertEquals((await filters()).promiscuous, false);
  await card.call("setMacAddress", other);
  assertEquals(await accepted(card, nic, macs), [other]);
  assertEquals((await filters())["main-mac"], other);
  await card.call("setMacAddress", own);
  await card.close();
});

scenario("lets VLANs through as it is told", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, {
    ...POLLING,
    virtio: { with: ["vlan-filter"] },
  });
  const frames = [5, 7].map((vlan) => tagged(numbered(vlan, nic.mac), vlan));
  const seen = async () => {
    await nic.port.send(...frames, numbered(0, nic.mac));
    const taken: Uint8Array[] = [];
    for (;;) {
      for (const report of await card.receive(1)) {
        const frame = bytesOf(report);
        if (frame[12] === 0x88) return taken;
        taken.push(frame);
      }
    }
  };
  // QEMU 10.0 lets a VLAN through until it was told of it once.
  await card.call("addVlanFilter", 5);
  await card.call("addVlanFilter", 7);
  assertEquals(await seen(), frames);
  await card.call("removeVlanFilter", 5);
  assertEquals(await seen(), [frames[1]]);
  await card.call("addVlanFilter", 5);
  await card.call("removeVlanFilter", 7);
  assertEquals(await seen(), [frames[0]]);
  // Tags stay where they are, filtered or not.
  await card.reopen(POLLING);
  assertEquals(await seen(), frames);
  await card.close();
});

scenario("waits for packets as the mode says", async (guest) => {
  const WAIT_MS = 1000;
  for (const nic of [guest.nics[0], guest.nics[2]]) {
    const card = await Card.open(guest, nic, { irqTimeoutMs: 0 });
    for (const virtio of [{ without: ["packed"] }, {}]) {
      for (const irqTimeoutMs of [0, -1]) {
        await card.reopen({ irqTimeoutMs, virtio });
        await returnsAtOnce(card);
      }
      await card.reopen({ irqTimeoutMs: WAIT_MS, virtio });
      await sleepsThrough(card, WAIT_MS);
      await card.reopen({ irqTimeoutMs: -2, virtio });
      await wakes(
        card,
        WAIT_MS,
        () => nic.port.send(numbered(1, nic.mac)),
      );
    }
    await card.close();
  }
});

scenario("lets the caller wait on a queue's interrupt", async (guest) => {
  for (const nic of [guest.nics[0], guest.nics[2]]) {
    const card = await Card.open(guest, nic, { irqTimeoutMs: -1 });
    const fired = () => card.call<boolean>("checkRxIrq", 0);
    // A line that all share may have told of the beginning.
    await fired();
    await card.call("ackRxIrq", 0);
    assertEquals(await fired(), false);
    for (const number of [1, 2]) {
      await nic.port.send(numbered(number, nic.mac));
      await untilTrue("an interrupt", fired);
      // It is masked now: another frame raises nothing until it is acknowledged.
      await nic.port.send(numbered(10 + number, nic.mac));
      assertEquals((await card.receive(2)).length, 2);
      assertEquals(await fired(), false);
      await card.call("ackRxIrq", 0);
    }
    await card.close();
  }
});

interface Counters {
  polling: number;
  modeSwitches: number;
}

scenario("switches to polling under load and back", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, {
    irqTimeoutMs: 20,
    interruptIntervalUs: 0,
    adaptive: { pollAbove: 20, sleepBelow: 5, windowMs: 50 },
  });
  const counters = () => card.ask<Counters>("counters", 0);
  assertEquals((await counters()).polling, 0);
  let done = false;
  const flood = (async () => {
    for (let i = 0; !done; i++) {
      await nic.port.send(numbered(i, nic.mac));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  })();
  try {
    assert(await card.ask("receiveUntilPolling", true, 30_000));
  } finally {
    done = true;
    await flood;
  }
  assert(await card.ask("receiveUntilPolling", false, 30_000));
  assert((await counters()).modeSwitches >= 2);
  await card.close();
});

/** Pulls the cable and plugs it in again, so often, and expects to be told each time, and frames to pass. */
async function followsLink(
  card: Card,
  nic: Nic,
  times: number,
): Promise<void> {
  const { linkSpeed } = card.report;
  const told = async (number: number, up: boolean) => {
    const change = await card.ask<LinkState>("linkChange", number);
    assertEquals([change.up, change.speed], [up, up ? linkSpeed : 0]);
  };
  await card.ask("watchLink");
  for (let i = 0; i < times; i++) {
    await nic.setLink(false);
    await told(2 * i + 1, false);
    await nic.setLink(true);
    await told(2 * i + 2, true);
    await echoes(nic, [numbered(i, nic.mac)]);
  }
}

scenario("tells of the link and works after it was down", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, POLLING);
  await card.ask("startEcho");
  await followsLink(
    card,
    nic,
    repetitions("links", { gate: 3, soak: 100 }),
  );
  await card.close();
});

scenario("tells when it is to make itself known", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, POLLING);
  const announcements = async () =>
    (await card.ask<LinkState>("linkState")).announcements;
  assertEquals(await announcements(), 0);
  await card.ask("watchLink");
  // As after a move to another host.
  await guest.qmp.execute("announce-self", {
    ...{ initial: 50, max: 50, rounds: 1, step: 50 },
    interfaces: [nic.id],
  });
  const { up, announcements: told } = await card.ask<LinkState>(
    "linkChange",
    1,
  );
  assertEquals([up, told], [true, 1]);
  assertEquals(await announcements(), 1);
  await card.close();
});

scenario("works with a single interrupt line for everything", async (guest) => {
  const nic = guest.nics[2];
  const frames = Array.from({ length: 200 }, (_, i) => numbered(i, nic.mac));
  const card = await Card.open(guest, nic, { irqTimeoutMs: 10 });
  for (const irqTimeoutMs of [10, 0]) {
    await card.reopen({ irqTimeoutMs });
    await card.ask("startEcho");
    await echoes(nic, frames, 5);
    await followsLink(card, nic, 3);
    await echoes(nic, frames, 5);
  }
  await card.close();
});

scenario("changes the size of a pool in use", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, POLLING);
  await card.ask("startEcho");
  const capacity = async () =>
    (await card.ask<{ capacity: number }>("pool", 0)).capacity;
  const before = await capacity();
  const frames = Array.from({ length: 50 }, (_, i) => numbered(i, nic.mac));
  await card.call("extendRxMempool", 0, 256);
  assertEquals(await capacity(), before + 256);
  await echoes(nic, frames);
  await card.call("shrinkRxMempool", 0, 256);
  assertEquals(await capacity(), before);
  await echoes(nic, frames);
  await card.close();
});

scenario("counts what passes the cable", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, POLLING);
  await card.ask("startEcho");
  for (const round of [1, 2]) {
    const frames = Array.from(
      { length: 100 * round },
      (_, i) => numbered(i, nic.mac, 60 + i),
    );
    await echoes(nic, frames);
    const bytes = frames.reduce((sum, { length }) => sum + length, 0);
    const { rxPackets, rxBytes, txPackets, txBytes, rxErrors } = await card
      .ask<DeviceStats>("stats");
    assertEquals({ rxPackets, rxBytes, txPackets, txBytes, rxErrors }, {
      rxPackets: frames.length,
      rxBytes: bytes,
      txPackets: frames.length,
      txBytes: bytes,
      rxErrors: 0,
    });
  }
  await card.close();
});

scenario(
  "restarts its queue, alone or with a reset of the device",
  async (guest) => {
    const [nic] = guest.nics;
    const card = await Card.open(guest, nic, POLLING);
    const frames = Array.from({ length: 100 }, (_, i) => numbered(i, nic.mac));
    for (
      const without of [[], ["ring-reset"], ["packed"], [
        "packed",
        "ring-reset",
      ]]
    ) {
      await card.reopen({ ...POLLING, virtio: { without } });
      await card.ask("startEcho");
      for (let i = 0; i < 3; i++) {
        await echoes(nic, frames);
        await card.ask("stopEcho");
        await card.call("restartQueue", 0);
        await card.ask("startEcho");
      }
      await echoes(nic, frames);
    }
    await card.close();
  },
);

scenario("works on when workers are restarted under load", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, { irqTimeoutMs: 100 });
  // QEMU's packed rings stall with event indices once their cable was full.
  const choices = [["event-index"], ["packed", "ring-reset"]] as const;
  for (const virtio of choices.map((without) => ({ without: [...without] }))) {
    await card.reopen({ irqTimeoutMs: 100, virtio });
    await card.ask("startWorkers");
    const some = Array.from({ length: 20 }, (_, i) => numbered(i, nic.mac));
    let done = false;
    const load = (async () => {
      while (!done) {
        await nic.port.send(...some);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    try {
      for (let i = 0; i < 2; i++) await card.ask("restartWorker", 0);
    } finally {
      done = true;
      await load;
    }
    await card.ask("stopWorkers");
    await card.receive(Infinity, 500);
    nic.port.takeAll();
    await card.ask("startEcho");
    await nic.port.send(numbered(4711, nic.mac));
    await nic.port.receive({ where: (frame) => numberOf(frame) === 4711 });
  }
  await card.close();
});

const FORWARD = ["deno", "run", "-q", "-P=demo", "examples/forward.ts"];

scenario(
  "a card removed under load ends the program, and works when it is back",
  async (guest) => {
    const [b, a] = guest.nics;
    const frame = new Uint8Array(60).fill(0xff);
    for (const turn of [1, 2]) {
      for (const { address } of [a, b]) await bindForUser(guest, address);
      const forward = await guest.spawn(
        asUser([...FORWARD, a.address, b.address]),
      );
      await forward.prints(/forwarding/, { timeoutMs: 90_000 });
      await a.port.send(frame);
      assertEquals((await b.port.receive()).length, frame.length);
      const sending = a.port.send(...Array(200).fill(frame));
      await a.unplug();
      const { code, stderr } = await forward.ended();
      await sending.catch(() => {});
      assertEquals(code, 1, `turn ${turn}: ${stderr}`);
      assertStringIncludes(stderr, `${a.address} was removed`);
      await untilDevice(guest, a.address, "absent");
      await a.plug();
      await untilDevice(guest, a.address, "present");
    }
  },
);

scenario(
  "starts clean after a SIGKILL in the midst of traffic",
  async (guest) => {
    const nics = [guest.nics[0], guest.nics[2]];
    const TIMES = repetitions("kills", { gate: 2, soak: 10 });
    const kill = async (nic: Nic, options: DeviceOptions) => {
      const frames = Array.from({ length: 50 }, (_, n) => numbered(n, nic.mac));
      const card = await Card.open(guest, nic, options);
      await card.ask("startEcho");
      await nic.port.send(...frames, ...frames, ...frames);
      await nic.port.receiveMany(10);
      await card.program.kill();
      nic.port.takeAll();
    };
    for (let i = 0; i < TIMES; i++) {
      const options = i % 2 === 0 ? POLLING : SPLIT;
      await Promise.all(nics.map((nic) => kill(nic, options)));
    }
    for (const nic of nics) {
      const card = await Card.open(guest, nic, POLLING);
      await card.ask("startEcho");
      // What the cable still held comes first.
      await nic.port.send(numbered(4711, nic.mac));
      await nic.port.receive({ where: (frame) => numberOf(frame) === 4711 });
      await card.close();
    }
  },
);

scenario("comes back when the device calls itself broken", async (guest) => {
  const [nic] = guest.nics;
  const frames = Array.from({ length: 100 }, (_, i) => numbered(i, nic.mac));
  const card = await Card.open(guest, nic, POLLING);
  for (const options of [POLLING, SPLIT]) {
    await card.reopen(options);
    await card.ask("watchLink");
    await card.ask("confuse");
    await card.ask("startEcho");
    for (const [number, up] of [[1, false], [2, true]] as const) {
      const change = await card.ask<LinkState>("linkChange", number);
      assertEquals(change.up, up);
    }
    await echoes(nic, frames);
    await card.ask("stopEcho");
  }
  await card.close();
});

scenario("survives a buffer that nobody mapped", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, POLLING);
  for (const options of [POLLING, SPLIT]) {
    await card.reopen(options);
    await card.ask("sendUnmapped");
    await card.call("restartQueue", 0);
    // The model sends zeros for what it could not read.
    nic.port.takeAll();
    await card.ask("startEcho");
    await echoes(nic, [numbered(1, nic.mac)]);
    await card.ask("stopEcho");
  }
  await card.close();
  const faults = await guest.dmarFaults();
  assert(faults.length > 0);
  for (const fault of faults) {
    assertMatch(fault, /DMA Read.*00:04\.0.*fault addr 0x[0-9a-f]+ /);
  }
}, { expectFaults: true });

scenario("refuses a device of the legacy interface", async (guest) => {
  const nic = guest.nics[3];
  await assertRejects(
    () => Card.open(guest, nic),
    Error,
    "has the legacy interface of virtio alone",
  );
});
