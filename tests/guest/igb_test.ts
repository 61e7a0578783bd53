/**
 * The igb driver on QEMU's 82576 behind VFIO, watched from outside.
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { PacketFlag } from "../../mod.ts";
import type { DeviceStats, LinkState } from "../../mod.ts";
import { DEFAULT_RSS_KEY } from "../../src/config.ts";
import { ipv4Frame } from "../support/ip_frames.ts";
import { Card } from "./console.ts";
import {
  type Flow,
  numbered,
  numberOf,
  swapped,
  tagged,
  tcpFrame,
} from "./frames.ts";
import { guestScenarios, type Nic } from "./lab/mod.ts";
import type { PacketReport, ReceiveReport } from "./programs/console.ts";

const scenario = guestScenarios({
  name: "igb",
  nics: [{ model: "igb" }],
  // On a busy host the emulated timer is late, and the kernel would give up.
  kernelArguments: ["no_timer_check"],
});

const POLLING = { irqTimeoutMs: 0 } as const;
const ALL_FILTERS = 23;

const bytesOf = ({ hex }: PacketReport) => Uint8Array.fromHex(hex);

/** Frames that the card echoes, in their order; a few at a time, as QEMU's model drops what finds no descriptor. */
async function echoes(
  nic: Nic,
  frames: Uint8Array[],
  atOnce = 128,
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

scenario("comes up with its address and all it can do", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic);
  const { features, ...report } = card.report;
  assertEquals(report, {
    driver: "igb",
    model: "82576",
    macAddress: nic.mac,
    linkSpeed: 1000,
    queues: 1,
  });
  assertEquals([features.maxQueues, features.macFilters], [16, ALL_FILTERS]);
  await card.close();
});

scenario("uses 16 queues, which must poll with 10 vectors", async (guest) => {
  const [nic] = guest.nics;
  const queues = 16;
  const card = await Card.open(guest, nic, { ...POLLING, queues });
  const flows = Array.from({ length: 64 }, (_, i) => ({
    source: ["10.0.0.1", 1000 + i],
    destination: ["10.0.0.2", 2000],
  } as const));
  await nic.port.send(...flows.map((flow) => tcpFrame(nic.mac, flow)));
  const received = await card.receive(flows.length);
  for (const { queue, rssHash } of received) {
    assertEquals(queue, (rssHash & TABLE_MASK) % queues);
  }
  const used = new Set(received.map(({ queue }) => queue));
  assert(used.size > queues / 2, `${used.size} queues`);
  for (const queue of used) {
    await card.ask("send", queue, [numbered(queue, nic.mac).toHex()]);
    assertEquals(numberOf(await nic.port.receive()), queue);
  }
  await card.close();
  await assertRejects(
    () => Card.open(guest, nic, { queues }),
    Error,
    "16 queues need 17 interrupt vectors",
  );
});

scenario("receives and sends frames of all sizes", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, POLLING);
  await card.ask("startEcho");
  await echoes(
    nic,
    Array.from({ length: 1455 }, (_, i) => numbered(i, nic.mac, 60 + i)),
  );
  await card.close();
});

scenario("receives up to its largest frame and not beyond", async (guest) => {
  const [nic] = guest.nics;
  for (const maxFrameSize of [1518, 9000]) {
    const card = await Card.open(guest, nic, { ...POLLING, maxFrameSize });
    const sizes = [maxFrameSize, maxFrameSize + 1, 60];
    const frames = sizes.map((size, i) => numbered(i, nic.mac, size));
    await nic.port.send(...frames);
    const received = await card.receive(2);
    assertEquals(received.map(bytesOf), [frames[0], frames[2]]);
    await card.close();
  }
});

scenario("takes long frames apart and puts them together", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, {
    ...POLLING,
    maxFrameSize: 9000,
  });
  const sizes = [2047, 2048, 2049, 4096, 4097, 9000, 60];
  const frames = sizes.map((size, i) => numbered(i, nic.mac, size));
  await nic.port.send(...frames);
  const received = await card.receive(frames.length);
  assertEquals(received.map(bytesOf), frames);
  assertEquals(received.map(({ segments }) => segments), [1, 1, 2, 2, 3, 5, 1]);
  const hexes = received.map(({ hex }) => hex);
  assertEquals(await card.ask("send", 0, hexes), frames.length);
  assertEquals(await nic.port.receiveMany(frames.length), frames);
  await card.close();
});

scenario("keeps numbers and order over many turns of a ring", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, {
    ...POLLING,
    rxDepth: 64,
    txDepth: 64,
  });
  await card.ask("startEcho");
  await echoes(
    nic,
    Array.from({ length: 1000 }, (_, i) => numbered(i, nic.mac)),
    50,
  );
  await card.ask("stopEcho");
  assertEquals(await card.receive(1, 500), [], "a duplicate");
  await card.close();
});

/** Microsoft, "Verifying the RSS Hash Calculation": TCP over IPv4 and IPv6. */
const VECTORS: readonly (Flow & { hash: number })[] = [
  {
    source: ["66.9.149.187", 2794],
    destination: ["161.142.100.80", 1766],
    hash: 0x51ccc178,
  },
  {
    source: ["199.92.111.2", 14230],
    destination: ["65.69.140.83", 4739],
    hash: 0xc626b0ea,
  },
  {
    source: ["24.19.198.95", 12898],
    destination: ["12.22.207.184", 38024],
    hash: 0x5c2b394a,
  },
  {
    source: ["38.27.205.30", 48228],
    destination: ["209.142.163.6", 2217],
    hash: 0xafc7327f,
  },
  {
    source: ["153.39.163.191", 44251],
    destination: ["202.188.127.2", 1303],
    hash: 0x10e828a2,
  },
  {
    source: ["3ffe:2501:200:1fff::7", 2794],
    destination: ["3ffe:2501:200:3::1", 1766],
    hash: 0x40207d3d,
  },
  {
    source: ["3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251],
    destination: ["fe80::200:f8ff:fe21:67cf", 38024],
    hash: 0x02d1feef,
  },
];

const TABLE_MASK = 127;

scenario("spreads by the published hashes, key and table", async (guest) => {
  const [nic] = guest.nics;
  const queues = 5;
  const card = await Card.open(guest, nic, { ...POLLING, queues });
  const frames = VECTORS.map((flow) => tcpFrame(nic.mac, flow));
  const spread = async () => {
    await nic.port.send(...frames);
    const received = await card.receive(frames.length);
    // Queues are looked at in turn: back into the order of sending.
    return frames.map((frame) =>
      received.find(({ hex }) => hex === frame.toHex())!
    );
  };
  const seen = async () =>
    (await spread()).map(({ queue, rssHash, flags }) => {
      assert((flags & PacketFlag.RssHash) !== 0);
      return { queue, hash: rssHash };
    });
  const expected = (queueOf: (entry: number) => number) =>
    VECTORS.map(({ hash }) => ({ queue: queueOf(hash & TABLE_MASK), hash }));

  assertEquals(await seen(), expected((entry) => entry % queues));
  await card.call("setRssTable", [3, 0]);
  assertEquals(await seen(), expected((entry) => entry % 2 === 0 ? 3 : 0));
  await card.ask("setRssKey", new Array(40).fill(0));
  assertEquals(await seen(), VECTORS.map(() => ({ queue: 3, hash: 0 })));
  await card.ask("setRssKey", [...DEFAULT_RSS_KEY]);
  await card.call("setRssTable", [4]);
  assertEquals(await seen(), expected(() => 4));
  await card.close();
});

/** Which of these destinations the card takes. */
async function accepted(
  card: Card,
  nic: Nic,
  macs: readonly string[],
): Promise<string[]> {
  // The last one always gets through, so nobody has to wait for what does not come.
  const all = [...macs, "ff:ff:ff:ff:ff:ff"];
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
  const [own, other] = [nic.mac, "02:00:00:00:aa:01"];
  const group = "01:00:5e:00:00:fb";
  const macs = [own, other, group];
  assertEquals(await accepted(card, nic, macs), [own]);
  await card.call("addMacFilter", other);
  assertEquals(await accepted(card, nic, macs), [own, other]);
  await card.call("removeMacFilter", other);
  assertEquals(await accepted(card, nic, macs), [own]);
  await card.call("setAllMulticast", true);
  assertEquals(await accepted(card, nic, macs), [own, group]);
  await card.call("setAllMulticast", false);
  await card.call("setPromiscuous", true);
  assertEquals(await accepted(card, nic, macs), macs);
  await card.call("setPromiscuous", false);
  await card.call("setMacAddress", other);
  assertEquals(await accepted(card, nic, macs), [other]);
  await card.close();
});

scenario(
  "uses every slot of the address filter, and says when they are full",
  async (guest) => {
    const [nic] = guest.nics;
    const card = await Card.open(guest, nic, POLLING);
    const macs = Array.from(
      { length: ALL_FILTERS },
      (_, i) => `02:00:00:00:bb:${i.toString(16).padStart(2, "0")}`,
    );
    for (const mac of macs) await card.call("addMacFilter", mac);
    assertEquals(await accepted(card, nic, macs), macs);
    await assertRejects(
      () => card.call("addMacFilter", "02:00:00:00:cc:01"),
      Error,
      "23 filters",
    );
    await card.close();
  },
);

scenario("takes VLAN tags out, or leaves them", async (guest) => {
  const [nic] = guest.nics;
  const plain = numbered(1, nic.mac, 64);
  const frame = tagged(plain, 0x6123);
  for (const vlanStrip of [true, false]) {
    const card = await Card.open(guest, nic, { ...POLLING, vlanStrip });
    await nic.port.send(frame, plain);
    const [first, second] = await card.receive(2);
    assertEquals(bytesOf(first), vlanStrip ? plain : frame);
    assertEquals(bytesOf(second), plain);
    const { flags, vlanTag } = first;
    assertEquals((flags & PacketFlag.VlanStripped) !== 0, vlanStrip);
    if (vlanStrip) assertEquals(vlanTag, 0x6123);
    assertEquals(second.flags & PacketFlag.VlanStripped, 0);
    await card.close();
  }
});

scenario("says which checksums are right and which wrong", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, POLLING);
  const { IpChecksumGood, IpChecksumBad, L4ChecksumGood, L4ChecksumBad } =
    PacketFlag;
  for (const protocol of ["tcp", "udp"] as const) {
    const frames = [
      ipv4Frame({ protocol }),
      ipv4Frame({ protocol, spoil: "ip" }),
      ipv4Frame({ protocol, spoil: "l4" }),
      numbered(1, nic.mac),
    ];
    await nic.port.send(...frames);
    const verdicts = (await card.receive(frames.length)).map(({ flags }) =>
      flags & ~PacketFlag.RssHash
    );
    assertEquals(verdicts, [
      IpChecksumGood | L4ChecksumGood,
      IpChecksumBad | L4ChecksumGood,
      IpChecksumGood | L4ChecksumBad,
      0,
    ]);
  }
  await card.close();
});

scenario("waits for packets as the mode says", async (guest) => {
  const [nic] = guest.nics;
  const frame = numbered(1, nic.mac);
  const WAIT_MS = 2000;
  for (const irqTimeoutMs of [0, -1]) {
    const card = await Card.open(guest, nic, { irqTimeoutMs });
    const { elapsed } = await card.ask<ReceiveReport>("receiveOnce");
    assert(elapsed < WAIT_MS / 2, `${irqTimeoutMs}: ${elapsed} ms`);
    await card.close();
  }
  {
    const card = await Card.open(guest, nic, { irqTimeoutMs: WAIT_MS });
    const idle = await card.ask<ReceiveReport>("receiveOnce");
    assertEquals(idle.packets, 0);
    assert(idle.elapsed >= WAIT_MS, `${idle.elapsed} ms`);
    assert(idle.cpu < WAIT_MS / 4, `${idle.cpu} ms of processor time`);
    await card.close();
  }
  {
    const card = await Card.open(guest, nic, { irqTimeoutMs: -2 });
    const waiting = card.ask<ReceiveReport>("receiveOnce");
    await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
    await nic.port.send(frame);
    const woken = await waiting;
    assertEquals(woken.packets, 1);
    assert(woken.irqs > 0);
    assert(woken.elapsed >= WAIT_MS / 2, `${woken.elapsed} ms`);
    await card.close();
  }
});

scenario("lets the caller wait on a queue's interrupt", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, {
    irqTimeoutMs: -1,
    // QEMU's model raises a vector of its own when the interval is over.
    interruptIntervalUs: 0,
  });
  const fired = () => card.call<boolean>("checkRxIrq", 0);
  assertEquals(await fired(), false);
  for (const number of [1, 2]) {
    await nic.port.send(numbered(number, nic.mac));
    await untilTrue("an interrupt", fired);
    // It is masked now: another frame raises nothing until it is acknowledged.
    await nic.port.send(numbered(10 + number, nic.mac));
    assertEquals((await card.receive(2)).length, 2);
    assertEquals(await fired(), false);
    await card.call("ackRxIrq", 0);
    await untilTrue("the interrupt that was kept back", fired);
    await card.call("ackRxIrq", 0);
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
  // A queue looks at the clock every 256th time only, which takes long here.
  await untilTrue("polling", async () => {
    await card.ask("drain", 200);
    return (await counters()).polling === 1;
  });
  done = true;
  await flood;
  await untilTrue("the way back to interrupts", async () => {
    await card.ask("drain", 200);
    return (await counters()).polling === 0;
  });
  assert((await counters()).modeSwitches >= 2);
  await card.close();
});

scenario("tells of the link and works after it was down", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, POLLING);
  await card.ask("watchLink");
  await card.ask("startEcho");
  const TIMES = 25;
  for (let i = 0; i < TIMES; i++) {
    await nic.setLink(false);
    await untilLink(card, 2 * i + 1);
    await nic.setLink(true);
    await untilLink(card, 2 * i + 2);
    await echoes(nic, [numbered(i, nic.mac)]);
  }
  const states = await card.ask<LinkState[]>("links");
  assertEquals(
    states,
    Array.from(
      { length: 2 * TIMES },
      (_, i) =>
        i % 2 === 0 ? { up: false, speed: 0 } : { up: true, speed: 1000 },
    ),
  );
  await card.close();
});

function untilLink(card: Card, changes: number): Promise<void> {
  return untilTrue(
    `change ${changes} of the link`,
    async () => (await card.ask<LinkState[]>("links")).length >= changes,
  );
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
    assertEquals(await card.ask<DeviceStats>("stats"), {
      rxPackets: frames.length,
      rxBytes: bytes,
      txPackets: frames.length,
      txBytes: bytes,
      rxMissed: 0,
      rxErrors: 0,
    });
  }
  await card.close();
});

scenario("works on when workers are restarted under load", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, { queues: 2, irqTimeoutMs: 100 });
  await card.ask("startWorkers");
  const flows = VECTORS.map((flow) => tcpFrame(nic.mac, flow));
  let done = false;
  const load = (async () => {
    while (!done) {
      await nic.port.send(...flows);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  for (const queue of [0, 1, 0, 1]) await card.ask("restartWorker", queue);
  done = true;
  await load;
  await card.ask("stopWorkers");
  await card.receive(Infinity, 500);
  nic.port.takeAll();
  await card.ask("startEcho");
  await nic.port.send(numbered(7, nic.mac));
  await nic.port.receive({
    where: (frame) => frame[12] === 0x88 && numberOf(frame) === 7,
  });
  await card.close();
});

scenario(
  "starts clean after a SIGKILL in the midst of traffic",
  async (guest) => {
    const [nic] = guest.nics;
    for (let i = 0; i < 5; i++) {
      const card = await Card.open(guest, nic, POLLING);
      await card.ask("startEcho");
      const frames = Array.from({ length: 50 }, (_, n) => numbered(n, nic.mac));
      await nic.port.send(...frames, ...frames, ...frames);
      await nic.port.receiveMany(10);
      await card.program.kill();
      nic.port.takeAll();
    }
    const card = await Card.open(guest, nic, POLLING);
    await card.ask("startEcho");
    // What the cable still held comes first.
    await nic.port.send(numbered(4711, nic.mac));
    await nic.port.receive({ where: (frame) => numberOf(frame) === 4711 });
    await card.close();
  },
);

scenario("survives a buffer that nobody mapped", async (guest) => {
  const [nic] = guest.nics;
  const card = await Card.open(guest, nic, POLLING);
  await card.ask("sendUnmapped");
  await card.call("restartQueue", 0);
  // The model sends zeros for what it could not read.
  nic.port.takeAll();
  await card.ask("startEcho");
  await echoes(nic, [numbered(1, nic.mac)]);
  await card.close();
  const faults = await guest.dmarFaults();
  assert(faults.length > 0);
  for (const fault of faults) {
    assertMatch(fault, /DMA Read.*00:04\.0.*fault addr 0x1[0-9a-f]+ /);
  }
}, { expectFaults: true });
