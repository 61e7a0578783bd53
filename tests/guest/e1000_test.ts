/**
 * The e1000 driver on QEMU's 82540EM, 82545EM and 82574L behind VFIO, watched from the other end of their cables.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { LinkState } from "../../src/device_api.ts";
import { PacketFlag } from "../../src/packet.ts";
import type { CounterName, DeviceStats } from "../../src/stats.ts";
import { ipv4Frame } from "../support/ip_frames.ts";
import { CardProgram } from "./card_program.ts";
import { Card } from "./console.ts";
import { addressesOf, flowFrame, FLOWS } from "./flows.ts";
import { macBytes, numbered, numberOf } from "./frames.ts";
import {
  asUser,
  bindForUser,
  type Guest,
  guestScenarios,
  type Nic,
} from "./lab/mod.ts";

interface Model {
  readonly name: string;
  /** Which card of the guest it is. */
  readonly index: number;
  readonly queues: number;
  /** Largest frame that a driver may ask for. */
  readonly maxFrameSize: number;
  readonly hashes: boolean;
}

const MODELS: Model[] = [
  {
    name: "82540EM",
    index: 0,
    queues: 1,
    maxFrameSize: 16110,
    hashes: false,
  },
  {
    name: "82545EM",
    index: 1,
    queues: 1,
    maxFrameSize: 16110,
    hashes: false,
  },
  { name: "82574L", index: 2, queues: 2, maxFrameSize: 9230, hashes: true },
];

const BROADCAST = "ff:ff:ff:ff:ff:ff";
const OTHER = "02:00:00:00:00:77";
const GROUP = "01:00:5e:00:00:05";
/** Frames of one send. Those beyond a full ring the 8254x's models drop and count, as silicon does. */
const BURST = 48;

const scenario = guestScenarios({
  name: "e1000",
  nics: [{ model: "e1000" }, { model: "e1000-82545em" }, { model: "e1000e" }],
  hugepages: 64,
});

/**
 * Waits until what a test before sent has come back or was dropped, and frames pass one by one. While the models of
 * the 8254x catch up they drop what does not fit the ring.
 */
async function passing(nic: Nic): Promise<void> {
  for (let number = 10_001; number < 10_011; number++) {
    await nic.port.send(numbered(number, nic.mac));
    const where = (frame: Uint8Array) => numberOf(frame) === number;
    const came = await nic.port.receive({ where, timeoutMs: 5000 })
      .then(() => true, () => false);
    if (came) return;
  }
  throw new Error("nothing passes");
}

/** Waits until a condition holds. */
async function eventually(holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 20_000;
  while (!await holds()) {
    if (performance.now() > end) throw new Error("it does not come");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

type Counters = Record<CounterName, number>[];

/** Sends frames and expects them back, in order. */
async function echoed(nic: Nic, frames: Uint8Array[]): Promise<void> {
  for (let at = 0; at < frames.length; at += BURST) {
    const some = frames.slice(at, at + BURST);
    await nic.port.send(...some);
    assertEquals(await nic.port.receiveMany(some.length), some);
  }
}

function ofLengths(nic: Nic, from: number, to: number): Uint8Array[] {
  return Array.from(
    { length: to - from + 1 },
    (_, i) => numbered(i, nic.mac, from + i),
  );
}

/** Which frames arrive, by their numbers: the last one always does, and so ends the wait. */
async function arriving(
  card: CardProgram,
  frames: Uint8Array[],
): Promise<number[]> {
  const { port, mac } = card.nic;
  const last = numbered(999, mac);
  await port.send(...frames, last);
  const numbers: number[] = [];
  for (;;) {
    const number = numberOf(await port.receive());
    if (number === 999) return numbers;
    numbers.push(number);
  }
}

function tagged(frame: Uint8Array, tag: number): Uint8Array {
  const longer = new Uint8Array(frame.length + 4);
  longer.set(frame.subarray(0, 12));
  longer.set([0x81, 0x00, tag >> 8, tag & 0xff], 12);
  longer.set(frame.subarray(12), 16);
  return longer;
}

for (const model of MODELS) {
  const on = (
    what: string,
    test: (guest: Guest, nic: Nic) => Promise<void>,
  ): void =>
    scenario(
      `${model.name} ${what}`,
      (guest) => test(guest, guest.nics[model.index]),
    );

  on("comes up with its address and what it can do", async (guest, nic) => {
    const card = await CardProgram.start(guest, nic, { queues: model.queues });
    assertEquals(await card.call("driver"), "e1000");
    assertEquals(await card.call("model"), model.name);
    assertEquals(await card.call("macAddress"), nic.mac);
    assertEquals(await card.call("linkSpeed"), 1000);
    assertEquals(await card.call("features"), {
      maxQueues: model.queues,
      rssQueues: model.hashes ? 2 : 0,
      retaSize: model.hashes ? 128 : 0,
      macFilters: 15,
      maxFrameSize: model.maxFrameSize,
      rxChecksum: true,
      vlanStrip: true,
      queueInterrupts: model.queues > 1,
      txChecksum: false,
      segmentation: false,
      vlanFilter: false,
    });
    if (!model.hashes) {
      const error = await assertRejects(() => card.call("setRssTable", [0]));
      assertEquals((error as Error).name, "NotSupportedError");
    }
    await card.close();
  });

  on("echoes every size in order over many wraps", async (guest, nic) => {
    const card = await CardProgram.start(guest, nic, {
      rxDepth: 64,
      txDepth: 64,
    });
    const frames = ofLengths(nic, 60, 1514);
    await echoed(nic, frames);
    const bytes = frames.reduce((sum, { length }) => sum + length, 0);
    const stats = await card.call<DeviceStats>("readStats");
    assertEquals(stats, {
      rxPackets: frames.length,
      rxBytes: bytes,
      txPackets: frames.length,
      txBytes: bytes,
      rxMissed: 0,
      rxErrors: 0,
    });
    await card.close();
    assertEquals(nic.port.takeAll(), [], "nothing twice");
  });

  on("takes long frames in several buffers", async (guest, nic) => {
    const largest = 9000;
    const card = await CardProgram.start(guest, nic, { maxFrameSize: largest });
    const around = (length: number) =>
      ofLengths(nic, length - 1, Math.min(length + 1, largest));
    await echoed(nic, [2048, 4096, 8192, largest].flatMap(around));
    // Beyond the largest, with room for tags: dropped, and the next one is not.
    assertEquals(
      await arriving(card, [numbered(1, nic.mac, largest + 20)]),
      [],
    );
    const [{ rxErrors }] = await card.call<Counters>("counters");
    assertEquals(rxErrors, 1);
    await card.close();
  });

  on("obeys its filters", async (guest, nic) => {
    const card = await CardProgram.start(guest, nic);
    const frames = [nic.mac, BROADCAST, OTHER, GROUP].map((to, i) =>
      numbered(i, to)
    );
    assertEquals(await arriving(card, frames), [0, 1]);
    await card.call("setAllMulticast", true);
    assertEquals(await arriving(card, frames), [0, 1, 3]);
    await card.call("setAllMulticast", false);
    await card.call("addMacFilter", OTHER);
    assertEquals(await arriving(card, frames), [0, 1, 2]);
    await card.call("removeMacFilter", OTHER);
    assertEquals(await arriving(card, frames), [0, 1]);
    await card.call("setPromiscuous", true);
    assertEquals(await arriving(card, frames), [0, 1, 2, 3]);
    await card.call("setMacAddress", OTHER);
    await card.call("setPromiscuous", false);
    await nic.port.send(numbered(7, nic.mac), numbered(8, OTHER));
    assertEquals(numberOf(await nic.port.receive()), 8);
    await card.close();
  });

  on("takes VLAN tags out", async (guest, nic) => {
    const card = await CardProgram.start(guest, nic, {
      vlanStrip: true,
      role: "describe",
    });
    const plain = numbered(1, nic.mac, 100);
    const [with_, without] = await card.describe([
      tagged(plain, 0xa123),
      plain,
    ]);
    const head = plain.subarray(0, 64).toHex();
    assertEquals([with_.length, with_.head], [100, head]);
    assertEquals(
      with_.flags & PacketFlag.VlanStripped,
      PacketFlag.VlanStripped,
    );
    assertEquals(with_.vlanTag, 0xa123);
    assertEquals([without.length, without.head], [100, head]);
    assertEquals(without.flags & PacketFlag.VlanStripped, 0);
    await card.close();
  });

  on("sleeps on its interrupt, and polls when it pays", async (guest, nic) => {
    const card = await CardProgram.start(guest, nic, {
      irqTimeoutMs: -2,
      adaptive: { pollAbove: 150, sleepBelow: 50, windowMs: 50 },
    });
    const before = await card.call<number>("cpuMs");
    await new Promise((resolve) => setTimeout(resolve, 3000));
    const idle = await card.call<number>("cpuMs") - before;
    assert(idle < 1500, `${idle} ms of processor time in 3 s of idleness`);
    for (let i = 0; i < 5; i++) await echoed(nic, [numbered(i, nic.mac)]);
    const [quiet] = await card.call<Counters>("counters");
    assert(quiet.irqs >= 2, `${quiet.irqs} interrupts`);
    const polling = (wanted: number) => ([{ polling }]: Counters) =>
      polling === wanted;
    let at = 100;
    for (let busy = 0; busy === 0;) {
      await echoed(nic, ofLengths(nic, 60, 60 + BURST));
      [{ polling: busy }] = await card.call<Counters>("counters");
      assert(++at < 200, "never polls");
    }
    await card.until<Counters>("counters", polling(0));
    await echoed(nic, [numbered(999, nic.mac)]);
    await card.close();
  });

  on("polls without interrupts", async (guest, nic) => {
    const card = await CardProgram.start(guest, nic, { irqTimeoutMs: 0 });
    await echoed(nic, ofLengths(nic, 60, 200));
    const [{ irqs, polls }] = await card.call<Counters>("counters");
    assertEquals(irqs, 0);
    assert(polls > 0);
    await nic.setLink(false);
    await card.prints(/link {"up":false/);
    await nic.setLink(true);
    await card.prints(/link {"up":true/);
    await card.close();
  });

  on("lets the caller wait on its interrupt", async (guest, nic) => {
    // With an interval, QEMU raises a vector of its own at its end.
    const card = await Card.open(guest, nic, {
      irqTimeoutMs: -1,
      interruptIntervalUs: 0,
    });
    const fired = () => card.call<boolean>("checkRxIrq", 0);
    // Where the link shares the interrupt, it may have come up with one.
    while (await fired()) await card.call("ackRxIrq", 0);
    for (const number of [1, 2, 3]) {
      await nic.port.send(numbered(number, nic.mac));
      await eventually(fired);
      assertEquals(await fired(), false, "it was taken");
      assertEquals((await card.receive(1)).length, 1);
      await nic.port.send(numbered(10 + number, nic.mac));
      await new Promise((resolve) => setTimeout(resolve, 500));
      assertEquals(await fired(), false, "it is masked");
      await card.call("ackRxIrq", 0);
      await eventually(fired);
      assertEquals((await card.receive(1)).length, 1);
      await card.call("ackRxIrq", 0);
      while (await fired()) await card.call("ackRxIrq", 0);
    }
    await card.close();
  });

  on("follows its link down and up", async (guest, nic) => {
    const card = await CardProgram.start(guest, nic);
    const is = (wanted: boolean) => ({ up }: LinkState) => up === wanted;
    for (let i = 0; i < 10; i++) {
      await nic.setLink(false);
      await card.until("link", is(false));
      await nic.setLink(true);
      await card.until("link", is(true));
      await echoed(nic, [numbered(i, nic.mac)]);
    }
    await card.prints(/(link {"up":false[^]*link {"up":true[^]*){3}/);
    await card.close();
  });

  on("changes workers under load", async (guest, nic) => {
    const card = await CardProgram.start(guest, nic);
    let stopped = false;
    const load = (async () => {
      for (let i = 0; !stopped; i++) {
        await nic.port.send(...ofLengths(nic, 60, 60 + BURST));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    for (let i = 0; i < 3; i++) {
      await card.call("restartWorker", 0);
      await card.call("moveWorker", 0);
    }
    stopped = true;
    await load;
    assertEquals(await card.call("failures"), []);
    await passing(nic);
    const [{ poolInUse }] = await card.call<{ poolInUse: number }[]>("pools");
    assert(poolInUse <= 1024, `${poolInUse} packets are out`);
    await card.close();
  });

  on("starts cleanly after a SIGKILL in mid-traffic", async (guest, nic) => {
    for (let i = 0; i < 2; i++) {
      const card = await CardProgram.start(guest, nic);
      await nic.port.send(...ofLengths(nic, 60, 60 + BURST));
      await card.kill();
    }
    const card = await CardProgram.start(guest, nic);
    await passing(nic);
    assertEquals(nic.port.takeAll(), []);
    await echoed(nic, ofLengths(nic, 60, 300));
    await card.close();
  });
}

const HASHING = MODELS.find(({ hashes }) => hashes)!;

/** What became of each flow's frame, in the order of the flows. */
async function spread(
  card: CardProgram,
  protocol: "tcp" | "udp",
): Promise<{ queue: number; hash: number }[]> {
  const frames = FLOWS.map((flow) => flowFrame(flow, protocol, card.nic.mac));
  const answers = await card.describe(frames);
  return frames.map((frame) => {
    const head = addressesOf(frame.toHex());
    const answer = answers.find((answer) => addressesOf(answer.head) === head)!;
    assertEquals(answer.flags & PacketFlag.RssHash, PacketFlag.RssHash);
    return { queue: answer.queue, hash: answer.rssHash };
  });
}

scenario(
  "82574L hashes as published, spreads by its table, and changes both live",
  async (guest) => {
    const nic = guest.nics[HASHING.index];
    const card = await CardProgram.start(guest, nic, {
      queues: 2,
      role: "describe",
    });
    const queueOf = (hash: number) => (hash & 127) % 2;
    assertEquals(
      await spread(card, "tcp"),
      FLOWS.map(({ withPorts }) => ({
        queue: queueOf(withPorts),
        hash: withPorts,
      })),
    );
    assertEquals(
      await spread(card, "udp"),
      FLOWS.map(({ addresses }) => ({
        queue: queueOf(addresses),
        hash: addresses,
      })),
      "no ports of UDP",
    );
    await card.call("setRssTable", [1]);
    const all = await spread(card, "tcp");
    assertEquals(all.map(({ queue }) => queue), FLOWS.map(() => 1));
    await card.call("setRssTable", [0, 1]);
    await card.call("setRssKey", new Array(40).fill(0));
    const zero = await spread(card, "tcp");
    assertEquals(zero, FLOWS.map(() => ({ queue: 0, hash: 0 })));
    await card.close();
  },
);

scenario("82574L gives its verdict on checksums", async (guest) => {
  const nic = guest.nics[HASHING.index];
  const card = await CardProgram.start(guest, nic, { role: "describe" });
  const { IpChecksumGood, IpChecksumBad, L4ChecksumGood, L4ChecksumBad } =
    PacketFlag;
  for (const protocol of ["tcp", "udp"] as const) {
    const frames = ([undefined, "ip", "l4"] as const).map((spoil) => {
      const frame = ipv4Frame({ protocol, ...(spoil ? { spoil } : {}) });
      frame.set(macBytes(nic.mac));
      return frame;
    });
    const answers = await card.describe(frames);
    const verdicts = answers.map(({ flags }) => flags & ~PacketFlag.RssHash);
    assertEquals(verdicts, [
      IpChecksumGood | L4ChecksumGood,
      IpChecksumBad | L4ChecksumGood,
      IpChecksumGood | L4ChecksumBad,
    ]);
  }
  await card.close();
});

scenario("82574L echoes on both queues, and restarts one", async (guest) => {
  const nic = guest.nics[HASHING.index];
  const card = await CardProgram.start(guest, nic, { queues: 2, rxDepth: 64 });
  const frames = Array.from({ length: 200 }, (_, i) => {
    const frame = flowFrame(FLOWS[i % FLOWS.length], "tcp", nic.mac);
    frame[54] = i;
    return frame;
  });
  const bothQueues = async () => {
    await nic.port.send(...frames);
    const back = await nic.port.receiveMany(frames.length);
    const sorted = (all: Uint8Array[]) =>
      all.map((frame) => frame[54]).sort((a, b) => a - b);
    assertEquals(sorted(back), sorted(frames));
  };
  await bothQueues();
  await card.call("restartWorker", 0);
  await bothQueues();
  await card.call("restartWorker", 1);
  await bothQueues();
  const counters = await card.call<Counters>("counters");
  assert(counters.every(({ rxPackets }) => rxPackets > 0));
  await card.close();
});

scenario("forwards between all chips as an ordinary user", async (guest) => {
  const [old, , newer] = guest.nics;
  for (const { address } of [old, newer]) await bindForUser(guest, address);
  for (const [from, to] of [[old, newer], [newer, old]]) {
    const forward = await guest.spawn(asUser([
      ...["deno", "run", "-q", "-P=demo", "examples/forward.ts"],
      ...[from.address, to.address, "--queues", "1"],
    ]));
    await forward.prints(/forwarding/);
    const frames = Array.from({ length: 100 }, (_, i) => numbered(i, OTHER));
    for (const frame of frames) await from.port.send(frame);
    const back = await to.port.receiveMany(frames.length);
    assertEquals(back.map(numberOf), frames.map(numberOf));
    await forward.signal("SIGINT");
    const { code, stdout } = await forward.ended();
    assertEquals(code, 0);
    assert(/sent: 100/.test(stdout), stdout);
  }
});
