/**
 * A whole virtio device on vhost-user backends that lie on the socket, in the rings and with the eventfds at once: at
 * random, and reproducibly. A failure names its case: with `IXL_CASE=123` only that one is played.
 *
 * No message of a backend carries descriptors here that the device wants: one that lacks them cannot be.
 */
import { assert, assertEquals } from "@std/assert";
import { Batch } from "../../../../src/memory/batch.ts";
import type { InterruptVectors } from "../../../../src/bus/bus.ts";
import type { VirtioBusDevice } from "../../../../src/bus/virtio/transport.ts";
import { parseVhostUserAddress } from "../../../../src/bus/vhost_user/address.ts";
import { VhostUserDomain } from "../../../../src/bus/vhost_user/domain.ts";
import { VhostUserTransport } from "../../../../src/bus/vhost_user/transport.ts";
import { completeConfig } from "../../../../src/config.ts";
import type { Device } from "../../../../src/device_api.ts";
import { openDriver } from "../../../../src/drivers/registry.ts";
import { IxlError } from "../../../../src/errors.ts";
import { readSmallFile } from "../../../../src/ffi/files.ts";
import { UnixListener } from "../../../../src/ffi/unix_socket.ts";
import { INDEX_MASK, Mempool } from "../../../../src/memory/mempool.ts";
import {
  HONEST,
  Liar,
  LIES,
  Peer,
  PeerEndpoint,
  type Tally,
} from "../../../support/virtio/hostile_backend.ts";
import {
  assertOpenFiles,
  openFiles,
  withoutLeaks,
} from "../../../support/host/leaks.ts";
import { repetitions, seedsAfter } from "../../../support/runner/repeat.ts";
import { until } from "../../../support/until.ts";
import type { BackendQueue, Taken } from "../../../support/virtio/backend.ts";
import type { Random } from "../../../support/virtio/lies.ts";
import { numbered, randomFrom } from "../../../support/virtio/rig.ts";

const ONLY_CASE = Number(Deno.env.get("IXL_CASE") ?? 0);
/** Cases of one test. */
const CASES_EACH = 1000;
const CASES = repetitions("hostile", { gate: 1, soak: 5 }) * CASES_EACH;
const BEFORE = seedsAfter("hostile");
/** Short: some backends never answer. Those that do have answered before it begins. */
const REPLY_TIMEOUT_MS = 10;
/** Longest pause of any timer meanwhile: a device looks after its backend that often. */
const PAUSE_MS = 1;
/** What nothing here may take: then it hangs. */
const PATIENCE_MS = 20_000;

/** How a case ended. */
type End = "refused" | "closed" | "recovered";

/** A device on a backend's side of the bus that the test has made. */
function busOf(address: string, endpoint: PeerEndpoint): VirtioBusDevice {
  const dma = new VhostUserDomain();
  const virtio = new VhostUserTransport(
    parseVhostUserAddress(address),
    endpoint,
    dma,
    REPLY_TIMEOUT_MS,
  );
  const interrupts: InterruptVectors = {
    kind: "eventfd",
    count: 9,
    route: (fds) => virtio.route(fds),
    unmask: () => {},
  };
  const [vendor, device, revision] = [0x1af4, 0x1041, 1];
  return {
    kind: "virtio",
    address,
    ids: {
      ...{ vendor, device, revision },
      ...{ subsystemVendor: vendor, subsystemDevice: 1 },
    },
    numaNode: -1,
    dma,
    interrupts,
    removal: undefined,
    virtio,
    setBusMaster: () => {},
    reset: () => false,
    describe: () => virtio.describe(),
    close: () => virtio.close(),
  };
}

/** One device and its backends. */
class Case {
  readonly #random: Random;
  readonly #liar: Liar;
  readonly #peers: Peer[] = [];
  readonly #batch = new Batch(16);
  /** Packets that the user has. */
  readonly #out = new Set<number>();
  /** What the last sound transmit queue has taken and not given back. */
  readonly #held: Taken[] = [];
  #holder: BackendQueue | undefined;
  readonly #bus: VirtioBusDevice;
  /** Backends that are still to come before the honest one. */
  #liars: number;
  #honest: Peer | undefined;
  #allowHonest = false;
  #stopped = false;

  constructor(seed: number, listener: UnixListener, tally: Tally) {
    const random = this.#random = randomFrom(seed);
    // Answers have numbers of their own: how many there are may depend on timers.
    this.#liar = new Liar(random, randomFrom(~seed), tally);
    this.#liars = 1 + random(2);
    const address = `vhost-user:${listener.path}?timeout=0`;
    const endpoint = new PeerEndpoint(address, listener, () => this.#next());
    this.#bus = busOf(address, endpoint);
  }

  async play(): Promise<End> {
    try {
      return await this.#play();
    } finally {
      for (const peer of this.#peers.toReversed()) await peer.close();
      const { regions } = this.#bus.dma as VhostUserDomain;
      assertEquals(regions.length, 0, "memory that a backend may still reach");
    }
  }

  async #play(): Promise<End> {
    const device = await this.#open();
    if (device === undefined) return "refused";
    try {
      for (let n = 2 + this.#random(10); n > 0; n--) await this.#act(device);
      if (this.#random(4) === 0) return "closed";
      await this.#recover(device);
      return "recovered";
    } finally {
      await within("closing", device.close());
    }
  }

  #next(): Peer | undefined {
    if (this.#allowHonest) this.#honest = new Peer(HONEST);
    else if (this.#liars-- <= 0) return undefined;
    const peer = this.#honest ?? this.#liar.peer();
    this.#peers.push(peer);
    return peer;
  }

  async #open(): Promise<Device | undefined> {
    const random = this.#random;
    const short = random(2) === 0;
    const config = completeConfig({
      ...{ hugepages: "never", irqTimeoutMs: 0, linkTimeoutMs: 0 },
      ...{ queues: 1 + random(2), rxDepth: 64, txDepth: 64 },
      ...{ entrySize: 256, maxFrameSize: short ? 200 : 700 },
      ...{ poolEntries: 160, debug: random(2) === 0 },
      ...(short ? { virtio: { without: ["mergeable"] } } : {}),
    });
    return await expectIxl(openDriver(this.#bus, config));
  }

  get #peer(): Peer {
    return this.#peers.at(-1)!;
  }

  async #act(device: Device): Promise<void> {
    const random = this.#random;
    const peer = this.#peer;
    switch (random(12)) {
      case 0:
      case 1:
      case 2:
        return this.#traffic(device);
      case 3:
      case 4:
        this.#liar.lieInRings(peer);
        return this.#use(device);
      case 5:
        this.#liar.interrupt(peer);
        return this.#use(device);
      case 6:
        this.#liar.misuseEvents(peer);
        return this.#use(device);
      case 7:
        this.#liar.cutMemory(peer);
        return this.#use(device);
      case 8:
        return await this.#restart(device, random(device.rxQueueCount));
      case 9:
        await expectIxl(device.extendRxMempool(0, 1 + random(60)));
        return;
      case 10:
        await expectIxl(device.shrinkRxMempool(0, 1 + random(20)));
        return;
      default: // The device looks after its backend meanwhile.
        await new Promise((resolve) => setTimeout(resolve, 2 * PAUSE_MS));
        return this.#use(device);
    }
  }

  /** Frames as they should be, as long as nobody has lied in a ring. */
  #traffic(device: Device): void {
    const random = this.#random;
    const peer = this.#peer;
    const [rx, tx] = [peer.soundQueue(0), peer.soundQueue(1)];
    for (let n = random(5); n > 0 && rx !== undefined; n--) {
      peer.deliver(rx, numbered(n, 20 + random(200)));
    }
    this.#use(device);
    if (tx === undefined || tx !== peer.soundQueue(1)) return;
    if (tx !== this.#holder) this.#held.length = 0;
    this.#holder = tx;
    for (let n = random(8); n > 0; n--) {
      const sent = tx.take();
      if (sent !== undefined) this.#held.push(sent);
    }
    while (this.#held.length > random(3)) tx.give(this.#held.shift()!, 0);
  }

  /** The user receives, sends and frees on the first queue. */
  #use(device: Device): void {
    const random = this.#random;
    const batch = this.#batch;
    const { rx, tx } = device.queue(0);
    batch.length = 0;
    attempt(() => rx.receive(batch));
    for (let i = 0; i < batch.length; i++) this.#own(batch.handles[i]);
    for (const handle of this.#out) {
      if (
        batch.length < batch.capacity &&
        !batch.handles.subarray(0, batch.length).includes(handle)
      ) {
        batch.push(handle);
      }
    }
    const sent = attempt(() => tx.send(batch)) ?? 0;
    for (let i = 0; i < sent; i++) this.#out.delete(batch.handles[i]);
    batch.length = 0;
    if (random(2) === 0) attempt(() => tx.reclaim());
    if (random(4) === 0) this.#freeAll();
  }

  /** What was received belongs to the user, who did not have it already. */
  #own(handle: number): void {
    assert(!this.#out.has(handle), "no packet comes twice");
    this.#out.add(handle);
    for (let part = handle; part !== 0;) {
      const pool = Mempool.of(part);
      const index = part & INDEX_MASK;
      assert(pool.lengths[index] <= pool.entrySize, "within its entry");
      part = pool.nextSegments[index];
    }
  }

  #freeAll(): void {
    for (const handle of this.#out) Mempool.freeChain(handle);
    this.#out.clear();
  }

  /** Whatever becomes of it, all packets are at home afterwards. */
  async #restart(device: Device, queue: number): Promise<void> {
    if (queue === 0) this.#out.clear();
    const done = expectIxl(device.restartQueue(queue).then(() => true));
    if (await within("restarting", done)) return;
    this.#stopped = true;
  }

  /** The liars go, an honest backend comes, and all is as if nothing had been. */
  async #recover(device: Device): Promise<void> {
    this.#freeAll();
    for (const peer of this.#peers) peer.hangUp();
    this.#allowHonest = true;
    await until("the link is up", () => {
      return this.#honest?.status === 15n && device.link().up;
    }, PATIENCE_MS);
    if (this.#stopped) {
      for (let queue = 0; queue < device.rxQueueCount; queue++) {
        await within("restarting", device.restartQueue(queue));
      }
    }
    for (let queue = 0; queue < device.rxQueueCount; queue++) {
      this.#prove(device, queue);
    }
  }

  /** A frame there and back; and every packet is where it belongs. */
  #prove(device: Device, queue: number): void {
    const peer = this.#honest!;
    const batch = this.#batch;
    const { rx, tx } = device.queue(queue);
    const frame = numbered(queue, 60);
    batch.length = 0;
    assertEquals(rx.receive(batch), 0);
    const [receiver, sender] = [0, 1].map((way) =>
      peer.soundQueue(2 * queue + way)!
    );
    assert(peer.deliver(receiver, frame), "the ring has buffers");
    assertEquals(rx.receive(batch), 1);
    assertEquals(tx.send(batch), 1);
    const sent = sender.take()!;
    assertEquals(peer.bytesOf(sent), [...frame]);
    sender.give(sent, 0);
    assertEquals(tx.reclaim(), 1);
    batch.length = 0;
    const { pool } = rx;
    assertEquals(rx.receive(batch), 0);
    assertEquals(pool.inUse, rx.depth, "every packet is there");
    const free = new Set(pool.freeStack.subarray(0, pool.available));
    assertEquals(free.size, pool.available, "every packet is there once");
  }
}

/** What a call throws is an error of ours, or the test fails. */
function attempt<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (error instanceof IxlError) return undefined;
    throw error;
  }
}

/** The same for what is awaited. */
async function expectIxl<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await within("an answer", promise);
  } catch (error) {
    if (error instanceof IxlError) return undefined;
    throw error;
  }
}

/** Fails where nothing comes of it. */
async function within<T>(what: string, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = realTimeout(() => reject(new Error(`${what} hangs`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

const realTimeout = setTimeout;
const realInterval = setInterval;

/** Makes all timers quick, so that nobody waits for the next look at a backend. */
function quickTimers(): Disposable {
  const quick = (milliseconds = 0) => Math.min(milliseconds, PAUSE_MS);
  // deno-lint-ignore no-explicit-any
  const scope = globalThis as any;
  scope.setTimeout = (action: () => void, milliseconds?: number) =>
    realTimeout(action, quick(milliseconds));
  scope.setInterval = (action: () => void, milliseconds?: number) =>
    realInterval(action, quick(milliseconds));
  return {
    [Symbol.dispose]: () => {
      scope.setTimeout = realTimeout;
      scope.setInterval = realInterval;
    },
  };
}

/** What devices complain of is expected. */
function silence(): Disposable {
  const original = console.error;
  console.error = () => {};
  return { [Symbol.dispose]: () => void (console.error = original) };
}

/** Mappings of memory that devices share. */
function sharedMappings(): number {
  const lines = readSmallFile("/proc/self/maps")!.split("\n");
  return lines.filter((line) => line.includes("/memfd:")).length;
}

/** Plays cases; returns how they ended. */
async function play(
  first: number,
  cases: number,
  tally: Tally,
): Promise<Record<End, number>> {
  const ends = { refused: 0, closed: 0, recovered: 0 };
  const mappings = sharedMappings();
  const folder = Deno.makeTempDirSync();
  const listener = UnixListener.listen(`${folder}/socket`);
  try {
    using _silence = ONLY_CASE > 0 ? undefined : silence();
    using _timers = quickTimers();
    for (let seed = first; seed < first + cases; seed++) {
      const before = openFiles();
      try {
        ends[await new Case(seed, listener, tally).play()]++;
        await assertOpenFiles(before);
      } catch (error) {
        throw new Error(`case ${seed}`, { cause: error });
      }
    }
    assertEquals(sharedMappings(), mappings);
  } finally {
    listener.close();
    Deno.removeSync(folder);
  }
  return ends;
}

const blocks = ONLY_CASE > 0 ? 1 : CASES / CASES_EACH;
for (let block = 0; block < blocks; block++) {
  const first = ONLY_CASE || BEFORE + block * CASES_EACH + 1;
  const cases = ONLY_CASE > 0 ? 1 : CASES_EACH;
  Deno.test(`backends that lie in every way do no harm, ${cases} cases from ${first}`, () =>
    withoutLeaks(async () => {
      const tally: Tally = new Map();
      const ends = await play(first, cases, tally);
      if (ONLY_CASE > 0) return;
      for (const [end, count] of Object.entries(ends)) {
        assert(count > cases / 50, `${count} cases ${end}`);
      }
      for (const lie of LIES) assert(tally.has(lie), `nobody tried ${lie}`);
    }));
}
