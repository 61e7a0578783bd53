/**
 * A software card behind a Unix socket: one client after the other, and a loop that serves it, steps the card, and
 * sleeps when there is nothing to do.
 *
 * It blocks its isolate, so that a register access is answered at once: it belongs into a worker.
 *
 * @module
 */
import { PollSet } from "../ffi/eventfd.ts";
import { yieldCpu } from "../ffi/libc.ts";
import { loadNative } from "../ffi/native.ts";
import { UnixListener, type UnixSocket } from "../ffi/unix_socket.ts";
import { Card, type Model } from "../sim/card.ts";
import { INTERRUPT_KINDS, type InterruptKind } from "../sim/host/pci_config.ts";
import { DmaTable } from "../sim/dma_table.ts";
import { type Wire, WIRE_SLOT } from "../sim/wires/wire.ts";
import { ClientGone, Connection } from "./connection.ts";
import { CardControl, type ControlDescription } from "./control.ts";
import { Offences } from "./offences.ts";
import { ProtocolError } from "./protocol.ts";
import { Session } from "./session.ts";
import { makeWire } from "./wires.ts";

/** Frames that the card moves in each direction before messages are looked at again. */
const STEP_BUDGET = 64;
/** Messages that are handled before the card moves frames again. */
const MESSAGE_BUDGET = 64;
/** Rounds without work before the server sleeps; a client that waits for a register asks again soon. */
const IDLE_ROUNDS = 32;
const LONGEST_SLEEP_MS = 1000;
const CLIENT_TIMEOUT_MS = 5000;

/** What is served. */
export interface ServeOptions {
  /** Where to listen. */
  readonly socket: string;
  readonly model: Model;
  readonly mac: string;
  /** What the port is connected to: see {@linkcode makeWire}. */
  readonly wire: string;
  /** The best kind of interrupts that the card declares; MSI-X by default. */
  readonly interrupts?: InterruptKind;
  /** How long a client may leave an answer, or a request for its memory, lying; 5 s by default. */
  readonly timeoutMs?: number;
}

/** Serves a card until it is told to stop. */
export class CardServer {
  readonly #card: Card;
  readonly #dma = new DmaTable();
  readonly #wire: Wire;
  readonly #listener: UnixListener;
  readonly #interrupts: InterruptKind;
  readonly #timeoutMs: number;
  readonly #control: CardControl;
  #cable = true;
  readonly #log: (line: string) => void;
  #session: Session | undefined;
  #connection: Connection | undefined;
  #clients = 0;
  readonly #offences = new Offences();
  /** Frames that the wire had not taken when the last client went. */
  #overflow = 0;

  /**
   * @param options What to serve.
   * @param control What ends the loop.
   * @param log Takes what a person should know of clients.
   */
  constructor(
    options: ServeOptions,
    control: CardControl,
    log: (line: string) => void,
  ) {
    this.#interrupts = options.interrupts ?? "msix";
    this.#timeoutMs = options.timeoutMs ?? CLIENT_TIMEOUT_MS;
    this.#control = control;
    this.#log = log;
    this.#wire = makeWire(options.wire);
    this.#card = new Card({
      model: options.model,
      macAddress: options.mac,
      dma: this.#dma,
      wire: this.#wire,
      interrupt: (vector) => this.#session?.interrupt(vector),
      untouched: true,
      interrupts: this.#interrupts,
    });
    try {
      this.#listener = UnixListener.listen(options.socket);
    } catch (error) {
      this.#wire.close();
      throw error;
    }
  }

  /** Loops until it is told to stop; blocks the isolate. */
  run(): void {
    try {
      for (let idle = 0; !this.#control.stopped;) {
        this.#followCable();
        if (this.#round() > 0) idle = 0;
        else if (++idle < IDLE_ROUNDS) yieldCpu();
        else this.#sleep();
      }
    } finally {
      this.#endSession();
      this.#listener.close();
      this.#wire.close();
    }
  }

  #followCable(): void {
    const { cable } = this.#control;
    if (cable === this.#cable) return;
    this.#cable = cable;
    this.#card.setLink(cable);
    this.#log(`the cable is ${cable ? "in" : "out"}`);
  }

  /** Serves everybody once; returns how much was done. */
  #round(): number {
    const session = this.#session;
    const now = performance.now();
    if (session === undefined) {
      return this.#accept() + this.#card.step(STEP_BUDGET, now);
    }
    let done = 0;
    try {
      done = this.#serve(session) + session.step(STEP_BUDGET, now);
    } catch (error) {
      this.#part(error);
    }
    this.#reportViolations();
    return done;
  }

  /** What the client's driver does wrong: the first offence against each rule in full, and each DMA fault. */
  #reportViolations(): void {
    const card = this.#card;
    if (card.violationCount === 0) return;
    const { violations } = card;
    for (const violation of violations) {
      if (this.#offences.note(violation)) {
        const { kind, message } = violation;
        this.#log(`client ${this.#clients}: ${kind}: ${message}`);
      }
    }
    this.#offences.noteMore(card.violationCount - violations.length);
    card.clearViolations();
  }

  /** How often each rule was broken, and what the wire did not take. */
  #summarise(): void {
    const name = `client ${this.#clients}`;
    for (const line of this.#offences.summary()) this.#log(`${name}: ${line}`);
    const overflow = this.#wire.counters[WIRE_SLOT.overflow];
    const lost = overflow - this.#overflow;
    this.#overflow = overflow;
    if (lost > 0) {
      this.#log(`${name}: the wire had no room for ${lost} sent frames`);
    }
  }

  #accept(): number {
    const socket = this.#listener.accept();
    if (socket === undefined) return 0;
    this.#begin(socket);
    return 1;
  }

  #begin(socket: UnixSocket): void {
    const name = `client ${++this.#clients}`;
    this.#log(`${name} has come`);
    this.#powerOn();
    this.#connection = new Connection(socket, this.#timeoutMs);
    this.#session = new Session(
      this.#card,
      this.#dma,
      this.#connection,
      INTERRUPT_KINDS.indexOf(this.#interrupts),
      (line) => this.#log(`${name}: ${line}`),
    );
  }

  /** The card as the next client shall find it. */
  #powerOn(): void {
    this.#card.reset();
    this.#card.clearViolations();
    this.#offences.clear();
  }

  #serve(session: Session): number {
    for (let done = 0; done < MESSAGE_BUDGET; done++) {
      const message = this.#connection!.next();
      if (message === undefined) return done;
      session.handle(message);
    }
    return MESSAGE_BUDGET;
  }

  /** Whatever goes wrong with a client ends that client alone. */
  #part(error: unknown): void {
    const name = `client ${this.#clients}`;
    if (error instanceof ClientGone) this.#log(`${name} has gone`);
    else if (error instanceof ProtocolError) {
      this.#log(`${name} ${error.message}: connection closed`);
    } else {
      const stack = error instanceof Error ? error.stack : undefined;
      this.#log(`${name}: ${stack ?? error}: connection closed`);
    }
    this.#endSession();
  }

  #endSession(): void {
    if (this.#session === undefined) return;
    this.#summarise();
    this.#powerOn();
    this.#session.close();
    this.#session = undefined;
    this.#connection = undefined;
  }

  #sleep(): void {
    const now = performance.now();
    const card = this.#card;
    const next = Math.min(
      card.deadline(now),
      card.receiving ? this.#wire.nextPollAt(now) : Infinity,
    );
    const wait = Math.min(next - now, LONGEST_SLEEP_MS);
    if (wait <= 0 || this.#connection?.hasWaiting) return;
    const client = this.#connection?.fd ?? this.#listener.fd;
    const wire = card.receiving ? this.#wire.fd : -1;
    const set = new PollSet([this.#control.fd, client, wire]);
    set.wait(wait);
    this.#control.clear();
  }
}

/** Serves a card until it is told to stop. Blocks the isolate once it has begun. */
export async function serveCard(
  options: ServeOptions,
  control: ControlDescription,
  begun: () => void,
): Promise<void> {
  await loadNative();
  const server = new CardServer(
    options,
    new CardControl(control),
    (line) => console.error(`ixl sim serve: ${line}`),
  );
  begun();
  server.run();
}
