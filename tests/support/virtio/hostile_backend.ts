/**
 * Vhost-user backends in the isolate of the test that lie in every way that they have: on the socket, in the rings, with
 * the eventfds. Each message of the front end is answered, over a real socket, before its `send()` returns: nothing
 * waits, and the same seed always does the same.
 *
 * @module
 */
import { Endpoint } from "../../../src/bus/vhost_user/endpoint.ts";
import { parseVhostUserAddress } from "../../../src/bus/vhost_user/address.ts";
import {
  HEADER_BYTES,
  HeaderFlag,
  LONGEST_REPLY,
  ProtocolFeature,
  requestName,
} from "../../../src/bus/vhost_user/protocol.ts";
import {
  featureBits,
  type VirtioFeatureName,
} from "../../../src/bus/virtio/feature_bits.ts";
import { libc } from "../../../src/ffi/libc.ts";
import {
  addressOf,
  mapFile,
  mapPlain,
  PAGE_SIZE,
} from "../../../src/ffi/mapping.ts";
import {
  connectUnix,
  type UnixListener,
  UnixSocket,
} from "../../../src/ffi/unix_socket.ts";
import {
  type Answer,
  type BackendPlan,
  FakeBackend,
  type Message,
  message,
  PLAIN,
  type Region,
  regionsOf,
  reply,
  REQUEST,
  wordBytes,
} from "../vhost/backend.ts";
import {
  type BackendQueue,
  PackedBackend,
  type QueuePlace,
  SplitBackend,
  type Taken,
} from "./backend.ts";
import { lieInRing, type Random } from "./lies.ts";
import { DeviceMemory } from "./memory.ts";

/** What changes how rings are used. */
const RING_FEATURES: readonly VirtioFeatureName[] = [
  ...["packed", "mergeable", "event-index"] as const,
  ...["indirect", "in-order", "checksum"] as const,
];
const EVERY_PROTOCOL_FEATURE = Object.values(ProtocolFeature).reduce((a, b) =>
  a | b
);
/** Device configuration (5.1.4): an address, and the link is up. */
const CONFIG = new Uint8Array(24);
CONFIG.set([2, 0, 0, 0, 0, 1, 1]);
/** What honest backends offer: all that a hostile one may have been believed. */
export const HONEST: BackendPlan = {
  ...PLAIN,
  features: (1n << 64n) - 1n,
  protocol: EVERY_PROTOCOL_FEATURE,
  config: CONFIG,
};
/** Standard error: a descriptor to send. */
const A_DESCRIPTOR = 2;
/** More than one message of ours has room for. */
const MANY_DESCRIPTORS = 32;
/** A header that says nothing but that the frame has one buffer (5.1.6.1). */
const HEADER_OF_ONE = new Uint8Array(12);
HEADER_OF_ONE[10] = 1;
const VRING_ERR = /^SET_VRING_ERR$/;
const MEMORY = /^(SET_MEM_TABLE|ADD_MEM_REG)$/;
const VRING_FD = /^SET_VRING_(KICK|CALL|ERR)$/;

/** Bytes for all regions of one backend after the other. */
const ARENA_BYTES = 32 << 20;

/** The memory that a backend was given, mapped a second time, as another process does it. */
class PeerMemory extends DeviceMemory {
  static readonly #arena = new SharedArrayBuffer(ARENA_BYTES + PAGE_SIZE);
  static readonly #start = addressOf(PeerMemory.#arena);
  static #next = (PAGE_SIZE - Number(PeerMemory.#start % BigInt(PAGE_SIZE))) %
    PAGE_SIZE;
  readonly #first = PeerMemory.#next;
  readonly #mapped: { iova: number; size: number; at: number }[] = [];

  /** Maps a region that is not mapped yet; what was mapped stays, whatever the front end says later. */
  map(region: Region): void {
    const iova = Number(region.iova);
    const { size, fd, offset } = region;
    if (this.#mapped.some((old) => old.iova === iova && old.size === size)) {
      return;
    }
    const at = PeerMemory.#next;
    if (at + size > ARENA_BYTES) throw new Error("more memory than expected");
    mapFile(PeerMemory.#start + BigInt(at), size, fd, offset);
    PeerMemory.#next += size;
    this.#mapped.unshift({ iova, size, at });
  }

  override at(address: number, bytes: number): DataView {
    const found = this.#mapped.find(({ iova, size }) =>
      address >= iova && address + bytes <= iova + size
    );
    if (found === undefined) throw new Error(`nothing is at 0x${address}`);
    return new DataView(
      PeerMemory.#arena,
      found.at + address - found.iova,
      bytes,
    );
  }

  /** Unmaps all. The last backend that mapped something goes first. */
  close(): void {
    for (const { at, size } of this.#mapped.splice(0)) {
      mapPlain(PeerMemory.#start + BigInt(at), size);
    }
    PeerMemory.#next = this.#first;
  }
}

/** A socket whose other end has answered when a message is sent. */
class ServedSocket extends UnixSocket {
  constructor(fd: number, readonly backend: Peer) {
    super(fd);
  }

  override send(bytes: Uint8Array, fds?: readonly number[]) {
    const sent = super.send(bytes, fds);
    this.backend.step();
    return sent;
  }
}

/** A backend whose answers, rings and eventfds the test uses as it likes. */
export class Peer {
  readonly memory = new PeerMemory();
  readonly #backend: FakeBackend;
  readonly #queues = new Map<number, BackendQueue>();
  readonly #running = new Set<number>();
  #handled = 0;
  /** Whether it has written something wrong into a ring: after that it has lost its way. */
  hasLied = false;

  /**
   * @param plan What it offers, and how it answers.
   * @param onMessage Told of each message, after the answer.
   */
  constructor(
    plan: BackendPlan,
    readonly onMessage: (peer: Peer, message: Message) => void = () => {},
  ) {
    this.#backend = new FakeBackend(plan);
  }

  /** Takes a connection. */
  attach(socket: UnixSocket): void {
    this.#backend.attach(socket);
  }

  /** Handles what the front end has sent. */
  step(): void {
    if (!this.#backend.step()) this.#running.clear();
    const { received } = this.#backend;
    while (this.#handled < received.length) {
      const message = received[this.#handled++];
      if (MEMORY.test(message.name)) {
        for (const region of regionsOf(message)) this.memory.map(region);
      }
      if (message.name === "SET_VRING_KICK") this.#start(message);
      if (message.name === "GET_VRING_BASE") {
        this.#running.delete(Number(message.words[0] & 0xffn));
      }
      this.onMessage(this, message);
    }
  }

  /** Sends what nobody has asked for. */
  say(bytes: Uint8Array, fds?: readonly number[]): void {
    this.#backend.say(bytes, fds);
  }

  /** Ends the connection. Its mappings and eventfds stay with it until it is closed. */
  hangUp(): void {
    this.#running.clear();
    this.#backend.detach();
  }

  /** Gives everything back. */
  async close(): Promise<void> {
    this.hangUp();
    await this.#backend.close();
    this.memory.close();
  }

  /** The device status that it was told. */
  get status(): bigint {
    return this.#backend.status;
  }

  /** A virtqueue that runs, on which all was right so far. */
  soundQueue(virtqueue: number): BackendQueue | undefined {
    this.step();
    if (this.hasLied || !this.#running.has(virtqueue)) return undefined;
    return this.#queues.get(virtqueue);
  }

  /** All virtqueues that were started, even if they were stopped since. */
  get queues(): BackendQueue[] {
    return [...this.#queues.values()];
  }

  /** The descriptors that came with messages of a kind. */
  fds(kind: RegExp): number[] {
    return this.#backend.received.flatMap(({ name, fds }) =>
      kind.test(name) ? fds : []
    );
  }

  #start({ words }: Message): void {
    const virtqueue = Number(words[0] & 0xffn);
    const last = (name: string) =>
      this.#backend.received.findLast((message) =>
        message.name === name && Number(message.words[0] & 0xffn) === virtqueue
      )!;
    const [, descriptors, device, driver] = last("SET_VRING_ADDR").words;
    const place: QueuePlace = {
      descriptors: Number(descriptors),
      driver: Number(driver),
      device: Number(device),
      size: Number(last("SET_VRING_NUM").words[0] >> 32n),
    };
    const [accepted] = this.#backend.last("SET_FEATURES").words;
    const has = (name: VirtioFeatureName) =>
      (accepted & featureBits([name])) !== 0n;
    const Queue = has("packed") ? PackedBackend : SplitBackend;
    const features = {
      packed: has("packed"),
      indirect: has("indirect"),
      eventIndex: has("event-index"),
      inOrder: has("in-order"),
    };
    const isRx = virtqueue % 2 === 0;
    this.#running.add(virtqueue);
    this.#queues.set(
      virtqueue,
      new Queue(this.memory, place, features, isRx),
    );
  }

  /** Writes a frame into one receive buffer; false where the device has none. */
  deliver(queue: BackendQueue, frame: Uint8Array): boolean {
    const buffer = queue.take();
    if (buffer === undefined) return false;
    const [{ address, length }] = buffer.elements;
    const written = Math.min(HEADER_OF_ONE.length + frame.length, length);
    const bytes = this.memory.bytes(address, written);
    bytes.set(HEADER_OF_ONE);
    bytes.set(
      frame.subarray(0, written - HEADER_OF_ONE.length),
      HEADER_OF_ONE.length,
    );
    queue.give(buffer, written);
    return true;
  }

  /** The bytes of a sent packet, without its header. */
  bytesOf({ elements }: Taken): number[] {
    return elements.flatMap(({ address, length }) => [
      ...this.memory.bytes(address, length),
    ]).slice(HEADER_OF_ONE.length);
  }
}

/** Backends for a device, one for each connection; nobody is there once `next` has none. */
export class PeerEndpoint extends Endpoint {
  /**
   * @param address The device's address.
   * @param listener Where sockets are connected.
   * @param next The backend of the next connection.
   */
  constructor(
    address: string,
    readonly listener: UnixListener,
    readonly next: () => Peer | undefined,
  ) {
    super(parseVhostUserAddress(address));
  }

  override meet(): UnixSocket | undefined {
    const peer = this.next();
    if (peer === undefined) return undefined;
    const ours = connectUnix(this.listener.path)!;
    peer.attach(this.listener.accept()!);
    return new ServedSocket(ours.fd, peer);
  }
}

/** Everything that a hostile backend does. */
export const LIES = [
  "wrong rings",
  "an eventfd raised",
  "an eventfd filled",
  "an eventfd emptied",
  "memory cut",
  "silence",
  "the end",
  "a wrong number",
  "a negative number",
  "descriptors",
  "another's answer",
  "wrong flags",
  "a wrong length",
  "too long",
  "too short",
  "an answer twice",
  "half an answer",
  "noise",
  "a reply to nothing",
  "descriptors for nobody",
  "half a message",
  "half a message and the end",
] as const;

/** One of them. */
export type Lie = typeof LIES[number];

/** How often each lie was told: a test sees that all of them were. */
export type Tally = Map<Lie, number>;

/** A backend's character: all that it does follows from its random numbers. */
export class Liar {
  readonly #random: Random;
  readonly #answers: Random;
  readonly #tally: Tally;
  /** One of so many answers is a lie. */
  readonly #rarity: number;
  /** Requests until it hangs up for good. */
  #patience: number;

  /**
   * @param random What it does of its own accord.
   * @param answers How it answers.
   * @param tally Where its lies are counted.
   */
  constructor(random: Random, answers: Random, tally: Tally) {
    this.#random = random;
    this.#answers = answers;
    this.#tally = tally;
    this.#rarity = [8, 30, 100, 100_000][random(4)];
    this.#patience = 20 + random(300);
  }

  /** A backend of this character. */
  peer(): Peer {
    const random = this.#answers;
    const answer = (name: string) => this.#answer(name);
    const offers = RING_FEATURES.filter(() => random(2) === 0);
    const plan: BackendPlan = {
      features: random(20) === 0
        ? randomWord(random)
        : PLAIN.features | featureBits(offers),
      protocol: random(10) === 0
        ? randomWord(random)
        : random(3) === 0
        ? EVERY_PROTOCOL_FEATURE
        : EVERY_PROTOCOL_FEATURE & ~randomWord(random) &
          ~ProtocolFeature.CONFIG,
      pairs: random(20) === 0 ? randomWord(random) : 4n,
      slots: random(20) === 0 ? randomWord(random) : 8n,
      config: randomBytes(random, 24),
      answer,
    };
    return new Peer(plan, (peer, { name }) => {
      // What it was told to leave alone is what it writes to.
      const isStop = name === "GET_VRING_BASE" || name === "REM_MEM_REG" ||
        name === "SET_VRING_ENABLE";
      if (isStop && this.#answers(this.#rarity) === 0) {
        this.#lieInRings(peer, this.#answers);
      }
    });
  }

  /** Writes wrong things into rings, whatever their state. */
  lieInRings(peer: Peer): void {
    this.#lieInRings(peer, this.#random);
  }

  #lieInRings(peer: Peer, random: Random): void {
    const { queues } = peer;
    if (queues.length === 0) return;
    this.#tell("wrong rings");
    peer.hasLied = true;
    for (let n = 1 + random(3); n > 0; n--) {
      lieInRing(queues[random(queues.length)], random);
    }
  }

  /** Sends what nobody has asked for, or hangs up. */
  interrupt(peer: Peer): void {
    const random = this.#random;
    const id = Object.values(REQUEST)[random(Object.keys(REQUEST).length)];
    const word = reply(id, wordBytes(randomWord(random)));
    switch (random(6)) {
      case 0:
        this.#tell("a reply to nothing");
        return peer.say(word);
      case 1:
        this.#tell("descriptors for nobody");
        return peer.say(word, descriptors(random));
      case 2:
        this.#tell("half a message");
        return peer.say(word.slice(0, 1 + random(word.length - 1)));
      case 3:
        this.#tell("half a message and the end");
        peer.say(word.slice(0, 1 + random(word.length - 1)));
        return peer.hangUp();
      case 4:
        this.#tell("noise");
        return peer.say(randomBytes(random, 1 + random(3 * LONGEST_REPLY)));
      default:
        this.#tell("the end");
        return peer.hangUp();
    }
  }

  /** Does with the eventfds what is not its business. */
  misuseEvents(peer: Peer): void {
    const random = this.#random;
    const fds = peer.fds(random(2) === 0 ? VRING_ERR : VRING_FD);
    if (fds.length === 0) return;
    const fd = fds[random(fds.length)];
    const count = new BigUint64Array(1);
    switch (random(3)) {
      case 0:
        this.#tell("an eventfd raised");
        count[0] = 1n;
        return void libc().write(fd, count, 8n);
      case 1: // As full as it can be: the next raise finds no room.
        this.#tell("an eventfd filled");
        libc().read(fd, count, 8n);
        count[0] = 0xffff_ffff_ffff_fffen;
        return void libc().write(fd, count, 8n);
      default:
        this.#tell("an eventfd emptied");
        return void libc().read(fd, count, 8n);
    }
  }

  /** Tries to take memory away that both have mapped. */
  cutMemory(peer: Peer): void {
    this.#tell("memory cut");
    for (const fd of peer.fds(MEMORY)) {
      libc().ftruncate(fd, BigInt(this.#random(2) * PAGE_SIZE));
    }
  }

  #answer(name: string): Answer {
    if (--this.#patience < 0) return { kind: "close" };
    const random = this.#answers;
    if (random(this.#rarity) !== 0) return { kind: "proper" };
    const id = Object.values(REQUEST).find((id) => requestName(id) === name)!;
    const { VERSION, REPLY } = HeaderFlag;
    const word = wordBytes(randomWord(random));
    const close = random(3) === 0;
    const bytes = (what: Lie, bytes: Uint8Array, fds: number[] = []) => {
      this.#tell(what);
      return { kind: "bytes", bytes, fds, close } as const;
    };
    switch (random(14)) {
      case 0:
        this.#tell("the end");
        return { kind: "close" };
      case 1:
        if (random(2) !== 0) return { kind: "proper" };
        this.#tell("silence");
        return { kind: "silence" };
      case 2:
      case 3:
        this.#tell("a wrong number");
        return { kind: "word", word: randomWord(random) };
      case 4: // All ones are -1 too, a virtqueue's number as well as a count.
        return bytes("a negative number", reply(id, wordBytes(-1n)));
      case 5:
        return bytes("descriptors", reply(id, word), descriptors(random));
      case 6:
        return bytes("another's answer", reply(random(64), word));
      case 7:
        return bytes("wrong flags", reply(id, word, random(2 ** 32)));
      case 8:
        return bytes(
          "a wrong length",
          message([id, VERSION | REPLY, random(2 ** 32)], word),
        );
      case 9:
        return bytes("too long", reply(id, randomBytes(random, random(9000))));
      case 10:
        return bytes("too short", reply(id, word.slice(random(8))));
      case 11:
        return bytes(
          "an answer twice",
          new Uint8Array([...reply(id, word), ...reply(id, word)]),
        );
      case 12:
        return bytes(
          "half an answer",
          reply(id, word).slice(0, 1 + random(HEADER_BYTES + 7)),
        );
      default:
        return bytes("noise", randomBytes(random, 1 + random(64)));
    }
  }

  #tell(what: Lie): void {
    this.#tally.set(what, (this.#tally.get(what) ?? 0) + 1);
  }
}

function randomWord(random: Random): bigint {
  const half = () => BigInt(random(2 ** 32));
  const words = [0n, 1n, (1n << 64n) - 1n, 1n << BigInt(random(64))];
  return words[random(6)] ?? half() << 32n | half();
}

function randomBytes(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random(256));
}

function descriptors(random: Random): number[] {
  return Array(1 + random(MANY_DESCRIPTORS)).fill(A_DESCRIPTOR);
}
