/**
 * Registers of the software card, reached from any isolate of the process.
 *
 * Each isolate has a channel of its own: a ring of commands in shared memory. Writes are posted, as on PCIe; a read
 * waits for its answer and thereby pushes all earlier writes of the same isolate ahead of it.
 *
 * @module
 */
import { DeviceTimeoutError, IxlError } from "../../errors.ts";
import { IrqLine, yieldCpu } from "../../irq/line.ts";
import type { ConfigSpace, RegisterQueueBus } from "../bus.ts";
import type { SimBusDescription } from "../description.ts";

/** Words that everybody on the bus shares. */
export const World = {
  /** 1 while the card's worker sleeps. To wake it, raise the doorbell. */
  Sleeping: 0,
  /** Control messages sent. */
  Control: 1,
  /** Control messages answered. */
  Answered: 2,
  /** 1 once the worker has ended, for whatever reason. */
  Ended: 3,
} as const;

/** Words of {@linkcode World}, with room. */
export const WORLD_BYTES = 64;

/** Commands in a channel. */
export const Command = {
  Write: 1,
  Read: 2,
  ConfigWrite: 3,
  ConfigRead: 4,
} as const;

/** Word offsets in a channel; the two sides' words on cache lines of their own. */
export const Layout = {
  Head: 0,
  Tail: 16,
  Reply: 17,
  ReplyCount: 18,
  Entries: 32,
} as const;

/** Words of an entry: command and size, offset, value. */
export const ENTRY_WORDS = 4;
/** Entries in a channel, a power of two. */
export const CHANNEL_ENTRIES = 256;
const MASK = CHANNEL_ENTRIES - 1;
const READ_TIMEOUT_MS = 10_000;
/** What to look at when the software card does not answer. */
export const STARVED =
  "its worker gets no time: the machine is overloaded, or the program was stopped for a while";
/** Looks at the answer before the caller goes to sleep for it. */
const SPINS_BEFORE_SLEEP = 200;

/** Memory for a channel. */
export function allocateChannel(): SharedArrayBuffer {
  return new SharedArrayBuffer(
    (Layout.Entries + CHANNEL_ENTRIES * ENTRY_WORDS) * 4,
  );
}

/** The isolate's side of a channel. */
class Channel {
  readonly #words: Int32Array;
  readonly #world: Int32Array;
  readonly #doorbell: IrqLine;

  constructor(description: SimBusDescription) {
    this.#words = new Int32Array(description.channel);
    this.#world = new Int32Array(description.world);
    this.#doorbell = new IrqLine(description.doorbellFd);
  }

  /** Appends a command; waits only while the ring is full. */
  post(command: number, offset: number, value: number): void {
    const words = this.#words;
    const head = words[Layout.Head];
    if (((head - Atomics.load(words, Layout.Tail)) | 0) >= CHANNEL_ENTRIES) {
      this.#waitForRoom(head);
    }
    const at = Layout.Entries + (head & MASK) * ENTRY_WORDS;
    words[at] = command;
    words[at + 1] = offset;
    words[at + 2] = value;
    // Sequentially consistent: the sleeping word is read after the command is visible, so one of the two sees it.
    Atomics.store(words, Layout.Head, (head + 1) | 0);
    if (Atomics.load(this.#world, World.Sleeping) !== 0) this.#doorbell.raise();
  }

  /** Posts a command and waits for its answer. */
  ask(command: number, offset: number): number {
    const words = this.#words;
    const before = Atomics.load(words, Layout.ReplyCount);
    this.post(command, offset, 0);
    for (let spins = 0; spins < SPINS_BEFORE_SLEEP; spins++) {
      if (Atomics.load(words, Layout.ReplyCount) !== before) {
        return words[Layout.Reply] >>> 0;
      }
    }
    const until = performance.now() + READ_TIMEOUT_MS;
    while (Atomics.load(words, Layout.ReplyCount) === before) {
      this.#assertAlive();
      if (performance.now() > until) {
        throw new DeviceTimeoutError(
          `an answer of the software card to a read of 0x${
            offset.toString(16)
          }`,
          READ_TIMEOUT_MS,
          STARVED,
        );
      }
      Atomics.wait(words, Layout.ReplyCount, before, 50);
    }
    return words[Layout.Reply] >>> 0;
  }

  #waitForRoom(head: number): void {
    const until = performance.now() + READ_TIMEOUT_MS;
    while (
      ((head - Atomics.load(this.#words, Layout.Tail)) | 0) >= CHANNEL_ENTRIES
    ) {
      this.#assertAlive();
      if (performance.now() > until) {
        throw new DeviceTimeoutError(
          "room for a register write to the software card",
          READ_TIMEOUT_MS,
          STARVED,
        );
      }
      yieldCpu();
    }
  }

  #assertAlive(): void {
    if (Atomics.load(this.#world, World.Ended) === 0) return;
    throw new IxlError(
      "device-gone",
      "the software card's worker has ended: see the error above",
    );
  }
}

/** BAR 0 of the software card. */
export class SimRegisters implements RegisterQueueBus {
  readonly #channel: Channel;

  /** @param description What `describe()` returned; for this isolate alone. */
  constructor(description: SimBusDescription) {
    this.#channel = new Channel(description);
  }

  read32(offset: number): number {
    return this.#channel.ask(Command.Read, offset);
  }

  write32(offset: number, value: number): void {
    this.#channel.post(Command.Write, offset, value | 0);
  }

  unmaskInterrupt(): void {
    // The card has MSI-X.
  }
}

/** Configuration space of the software card. */
export class SimConfigSpace implements ConfigSpace {
  readonly #channel: Channel;

  /** @param description What `describe()` returned; for this isolate alone. */
  constructor(description: SimBusDescription) {
    this.#channel = new Channel(description);
  }

  read(offset: number, size: 1 | 2 | 4): number {
    return this.#channel.ask(Command.ConfigRead | (size << 8), offset);
  }

  write(offset: number, value: number, size: 1 | 2 | 4): void {
    this.#channel.post(Command.ConfigWrite | (size << 8), offset, value | 0);
  }
}
