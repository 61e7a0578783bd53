/**
 * The software cards' side of the bus: a loop in a worker of its own that serves register accesses, steps the cards,
 * and sleeps when there is nothing to do.
 *
 * @module
 */
import { receiveMessageOnPort } from "node:worker_threads";
import { ConfigError, IxlError, type IxlErrorCode } from "../../errors.ts";
import { loadNative } from "../../ffi/native.ts";
import { IrqLine, Sleeper, yieldCpu } from "../../irq/line.ts";
import { Card } from "../../sim/card.ts";
import { DmaTable } from "../../sim/dma_table.ts";
import type { Wire } from "../../sim/wires/wire.ts";
import type { SimSpec } from "./address.ts";
import {
  CHANNEL_ENTRIES,
  Command,
  ENTRY_WORDS,
  Layout,
  World,
} from "./channel.ts";
import type { SimReply, SimRequest, SimStart } from "./protocol.ts";
import { WireBox } from "./wire_box.ts";

/** Frames that each card moves in each direction before register accesses are looked at again. */
const STEP_BUDGET = 64;
/** Rounds without work before the worker sleeps. */
const IDLE_ROUNDS = 64;
/** Rounds without work before it lets others run. */
const YIELD_ROUNDS = 4;
const LONGEST_SLEEP_MS = 1000;

type NodePort = Parameters<typeof receiveMessageOnPort>[0];

interface Slot {
  readonly card: Card;
  readonly wire: Wire;
  readonly lines: (IrqLine | undefined)[];
  readonly channels: Int32Array[];
}

/** Serves cards until told to end. Blocks the isolate once it has begun. */
export async function serve(start: SimStart): Promise<void> {
  await loadNative();
  new Server(start).run();
}

class Server {
  readonly #world: Int32Array;
  readonly #port: NodePort;
  readonly #doorbell: IrqLine;
  readonly #dma = new DmaTable();
  readonly #wires = new WireBox();
  readonly #slots = new Map<number, Slot>();
  /** The values of the map, for the loop. */
  #cards: Slot[] = [];
  #sleeper: Sleeper;
  #answered = 0;
  #ended = false;

  constructor(start: SimStart) {
    this.#world = new Int32Array(start.world);
    // Deno's two declarations of MessagePort do not know each other.
    this.#port = start.port as unknown as NodePort;
    this.#doorbell = new IrqLine(start.doorbellFd);
    this.#sleeper = new Sleeper([this.#doorbell]);
  }

  run(): void {
    try {
      let idle = 0;
      while (!this.#ended) {
        if (this.#round() > 0) idle = 0;
        else if (++idle > IDLE_ROUNDS) {
          this.#sleep();
          idle = YIELD_ROUNDS;
        } else if (idle > YIELD_ROUNDS) yieldCpu();
      }
    } finally {
      try {
        for (const card of [...this.#slots.keys()]) this.#close(card);
      } finally {
        Atomics.store(this.#world, World.Ended, 1);
      }
    }
  }

  /** Serves everybody once; returns how much was done. */
  #round(): number {
    let done = 0;
    if (Atomics.load(this.#world, World.Control) !== this.#answered) {
      this.#answer();
      done++;
    }
    const cards = this.#cards;
    const now = performance.now();
    for (let i = 0; i < cards.length; i++) {
      const { card, channels } = cards[i];
      for (let c = 0; c < channels.length; c++) {
        done += serveChannel(card, channels[c]);
      }
      done += card.step(STEP_BUDGET, now);
    }
    return done;
  }

  /** Sleeps until a doorbell, a frame or a timer; not at all when there is something already. */
  #sleep(): void {
    const now = performance.now();
    const wait = Math.min(this.#nextEvent(now) - now, LONGEST_SLEEP_MS);
    if (wait <= 0) return;
    Atomics.store(this.#world, World.Sleeping, 1);
    if (!this.#anythingPosted()) this.#sleeper.sleep(wait);
    Atomics.store(this.#world, World.Sleeping, 0);
    this.#doorbell.clear();
  }

  #nextEvent(now: number): number {
    let next = Infinity;
    for (const { card, wire } of this.#cards) {
      next = Math.min(next, card.deadline(now), wire.nextPollAt(now));
    }
    return next;
  }

  #anythingPosted(): boolean {
    return Atomics.load(this.#world, World.Control) !== this.#answered ||
      this.#cards.some(({ channels }) =>
        channels.some((words) =>
          Atomics.load(words, Layout.Head) !== words[Layout.Tail]
        )
      );
  }

  #answer(): void {
    const request = receiveMessageOnPort(this.#port)?.message as
      | SimRequest
      | undefined;
    // The count is raised after the message was posted: it is there.
    if (request === undefined) return;
    this.#port.postMessage(this.#tryPerform(request));
    Atomics.store(this.#world, World.Answered, ++this.#answered);
    Atomics.notify(this.#world, World.Answered);
  }

  #tryPerform(request: SimRequest): SimReply {
    try {
      return this.#perform(request);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      return { ok: false, code: codeOf(error, request.op), message };
    }
  }

  #perform(request: SimRequest): SimReply {
    switch (request.op) {
      case "open":
        this.#open(request.card, request.spec, request.counters);
        break;
      case "close":
        this.#close(request.card);
        break;
      case "channel":
        this.#slot(request.card).channels.push(
          new Int32Array(request.channel),
        );
        break;
      case "map":
        this.#dma.map(
          request.iova,
          request.buffer,
          request.byteOffset,
          request.length,
        );
        break;
      case "unmap":
        this.#dma.unmap(request.iova, request.length);
        break;
      case "route":
        this.#route(this.#slot(request.card), request.fds);
        break;
      case "reset":
        this.#slot(request.card).card.reset();
        break;
      case "link":
        this.#slot(request.card).card.setLink(request.up);
        break;
      case "violations":
        return {
          ok: true,
          violations: [...this.#slot(request.card).card.violations],
        };
      case "end":
        this.#ended = true;
        break;
    }
    return { ok: true };
  }

  #open(number: number, spec: SimSpec, counters: SharedArrayBuffer): void {
    const wire = this.#wires.plug(spec, counters);
    const lines: (IrqLine | undefined)[] = [];
    const card = new Card({
      model: spec.model,
      macAddress: spec.mac || defaultMac(number),
      dma: this.#dma,
      wire,
      interrupt: (vector) => lines[vector]?.raise(),
    });
    this.#slots.set(number, { card, wire, lines, channels: [] });
    this.#afterPlugging();
  }

  #close(number: number): void {
    const slot = this.#slots.get(number);
    if (!slot) return;
    this.#slots.delete(number);
    try {
      this.#wires.unplug(slot.wire);
    } finally {
      this.#afterPlugging();
    }
  }

  #afterPlugging(): void {
    this.#cards = [...this.#slots.values()];
    this.#sleeper = new Sleeper([
      this.#doorbell,
      ...this.#cards.map(({ wire }) => new IrqLine(wire.fd)),
    ]);
  }

  #route({ lines }: Slot, fds: readonly number[]): void {
    lines.length = 0;
    for (const fd of fds) lines.push(fd < 0 ? undefined : new IrqLine(fd));
  }

  #slot(card: number): Slot {
    const slot = this.#slots.get(card);
    if (slot) return slot;
    throw new ConfigError("card", `there is no card ${card}`);
  }
}

/** Carries out what an isolate posted. Returns the number of commands. */
function serveChannel(card: Card, words: Int32Array): number {
  const head = Atomics.load(words, Layout.Head);
  const first = words[Layout.Tail];
  for (let tail = first; tail !== head; tail = (tail + 1) | 0) {
    const at = Layout.Entries + (tail & (CHANNEL_ENTRIES - 1)) * ENTRY_WORDS;
    const offset = words[at + 1];
    const size = (words[at] >>> 8) as 1 | 2 | 4;
    switch (words[at] & 0xff) {
      case Command.Write:
        card.write(offset, words[at + 2] >>> 0, 4);
        break;
      case Command.Read:
        reply(words, card.read(offset, 4));
        break;
      case Command.ConfigWrite:
        card.writeConfig(offset, words[at + 2] >>> 0, size);
        break;
      case Command.ConfigRead:
        reply(words, card.readConfig(offset, size));
        break;
    }
    Atomics.store(words, Layout.Tail, (tail + 1) | 0);
  }
  return (head - first) | 0;
}

function reply(words: Int32Array, value: number): void {
  words[Layout.Reply] = value | 0;
  Atomics.add(words, Layout.ReplyCount, 1);
  Atomics.notify(words, Layout.ReplyCount);
}

/** A locally administered address that differs from card to card. */
function defaultMac(card: number): string {
  const low = (card + 1) & 0xff;
  return `02:00:00:00:00:${low.toString(16).padStart(2, "0")}`;
}

/** The code under which an error is reported. */
function codeOf(error: unknown, op: SimRequest["op"]): IxlErrorCode {
  if (error instanceof IxlError) return error.code;
  if (op !== "open") return "system";
  // The rest is in the address: a name without a file, a file that is no capture, an option that is out of range.
  return error instanceof Deno.errors.NotFound
    ? "device-not-found"
    : "bad-config";
}
