/**
 * A software model of the Intel 82599 and X540, strict by the datasheet.
 *
 * It is synchronous and alone: memory through a {@linkcode DmaTable}, frames
 * through a {@linkcode Wire}, interrupts through a callback, and time from
 * whoever steps it.
 *
 * @module
 */

import {
  CTRL_GIO_DIS,
  CTRL_LNK_RST,
  CTRL_RST,
  SECTXCTRL_TX_DIS,
  SECTXSTAT_OFFLOAD_DISABLED,
  SECTXSTAT_READY,
  STATUS_GIO_ENABLED,
  STATUS_LINK_UP,
} from "./registers/bits.ts";
import { Core, type Model } from "./core.ts";
import type { DmaTable } from "./dma_table.ts";
import { Eeprom } from "./host/eeprom.ts";
import { bindFlowDirector } from "./rx/flow_director.ts";
import { InitOrder } from "./init_order.ts";
import { Interrupts } from "./host/interrupts.ts";
import { Link } from "./phy/link.ts";
import { type InterruptKind, PciConfig } from "./host/pci_config.ts";
import { makeRxQueues, Receiver, type RxQueue } from "./rx/receive.ts";
import { type RegisterName, REGISTERS } from "./registers/registers.ts";
import { bindSemaphores } from "./host/semaphores.ts";
import { Statistics } from "./host/statistics.ts";
import { TcpTimer } from "./host/tcp_timer.ts";
import { TimeSync } from "./host/time_sync.ts";
import { makeTxQueues, Transmitter, type TxQueue } from "./tx/transmit.ts";
import type { Violation } from "./violations.ts";
import type { Wire } from "./wires/wire.ts";

export type { Model } from "./core.ts";
export type { Violation, ViolationKind } from "./violations.ts";

const ALL_ONES = [0, 0xff, 0xffff, 0, 0xffffffff];
const X540_PACKET_BUFFER = 384 << 10;
const RESET_BITS = CTRL_RST | CTRL_LNK_RST;
/** Milliseconds after which a reset is over even if no register was read. */
const RESET_MS = 1;
const MICROSECONDS = 1000;
/** Shared with the firmware. */
const SEMAPHORES = ["SWSM", "SW_FW_SYNC"] as const;
/** What a software reset leaves alone: the semaphores, and the pins that switch the laser. */
const KEPT = [...SEMAPHORES, "ESDP"] as const;

/** What a {@linkcode Card} is made of. */
export interface CardOptions {
  /** Which controller to be. */
  model: Model;
  /** The permanent address, as in "02:00:00:00:00:01". */
  macAddress: string;
  /** The memory that the driver has mapped for the card. */
  dma: DmaTable;
  /** What the port is connected to. */
  wire: Wire;
  /** Called with the MSI-X vector that fires (0 when MSI-X is off). */
  interrupt(vector: number): void;
  /**
   * True leaves memory decoding off after power-on, as a machine's firmware
   * finds it. By default it is on, as the host's PCI code leaves it.
   */
  untouched?: boolean;
  /** The best kind of interrupts that it declares; MSI-X by default. */
  interrupts?: InterruptKind;
}

/**
 * One port of an 82599 or X540.
 *
 * @example
 * ```ts ignore
 * const card = new Card({ model: "82599", macAddress, dma, wire, interrupt });
 * card.writeConfig(4, 6, 2); // memory decoding and bus mastering
 * card.write(0x888, 0x7fffffff, 4); // EIMC
 * while (running) card.step(256, performance.now());
 * ```
 */
export class Card {
  readonly #core: Core;
  readonly #config: PciConfig;
  readonly #statistics: Statistics;
  readonly #interrupts: Interrupts;
  readonly #eeprom: Eeprom;
  readonly #link: Link;
  readonly #timeSync: TimeSync;
  readonly #tcpTimer: TcpTimer;
  readonly #order: InitOrder;
  readonly #rxQueues: RxQueue[];
  readonly #txQueues: TxQueue[];
  readonly #receiver: Receiver;
  readonly #transmitter: Transmitter;
  readonly #wire: Wire;
  /** CTRL shows its reset bits until it was read once. */
  #resetShown = 0;
  #resetAt = 0;
  #gioPolls = 0;

  /** Makes a card in the state after power-on, with the cable plugged in. */
  constructor(options: CardOptions) {
    this.#wire = options.wire;
    this.#core = new Core(options.model, options.dma);
    const core = this.#core;
    this.#config = new PciConfig(
      core,
      options,
      () => this.reset(),
      () => this.#interrupts.line,
    );
    this.#statistics = new Statistics(core);
    this.#interrupts = new Interrupts(
      core,
      (vector) => options.interrupt(vector),
    );
    this.#eeprom = new Eeprom(
      core,
      options.macAddress,
      () => this.#receiver.reloadAddresses(),
    );
    this.#link = new Link(core, this.#interrupts);
    this.#tcpTimer = new TcpTimer(core, this.#interrupts);
    this.#timeSync = new TimeSync(core, () => this.#link.speed);
    this.#rxQueues = makeRxQueues(core);
    this.#txQueues = makeTxQueues(core);
    this.#order = new InitOrder(
      core,
      this.#rxQueues,
      this.#txQueues,
      this.#eeprom,
      this.#interrupts,
    );
    this.#receiver = new Receiver(
      core,
      this.#rxQueues,
      this.#statistics,
      this.#interrupts,
      this.#wire,
    );
    this.#transmitter = new Transmitter(
      core,
      this.#txQueues,
      this.#statistics,
      this.#interrupts,
      (frame) => this.#receiver.loopBack(frame),
    );
    bindSemaphores(core);
    bindFlowDirector(core);
    this.#bindControl();
    this.reset();
  }

  /** What the driver did wrong: the first hundred, oldest first. */
  get violations(): readonly Violation[] {
    return this.#core.violations.list;
  }

  /** How often the driver did something wrong. */
  get violationCount(): number {
    return this.#core.violations.count;
  }

  /** Forgets the violations, for a test that goes on after expected ones. */
  clearViolations(): void {
    this.#core.violations.clear();
  }

  /** Whether the link is up. */
  get linkUp(): boolean {
    return this.#link.up;
  }

  /** Whether a step would poll the wire: link up and receiver enabled. */
  get receiving(): boolean {
    return this.#link.up && this.#receiver.ready;
  }

  /** Whether the card holds its INTx line, which the command register may forbid. */
  get interruptLine(): boolean {
    return this.#interrupts.line && !this.#config.intxDisabled;
  }

  /**
   * Reads a register in BAR 0. All have 32 bits: narrower reads get a part
   * and are recorded (section 8.2.1).
   */
  read(offset: number, size: 1 | 2 | 4): number {
    if (!this.#config.memoryEnabled) return ALL_ONES[size];
    if (size === 4 && offset % 4 === 0) {
      return this.#core.registers.read(offset);
    }
    this.#reportWidth("read", offset, size);
    const aligned = Math.floor(offset / 4) * 4;
    const word = this.#core.registers.read(aligned);
    return ((word >>> ((offset - aligned) * 8)) & ALL_ONES[size]) >>> 0;
  }

  /** Writes a register in BAR 0; narrower writes are recorded and lost. */
  write(offset: number, value: number, size: 1 | 2 | 4): void {
    if (!this.#config.memoryEnabled) return;
    if (size !== 4 || offset % 4 !== 0) {
      this.#reportWidth("write", offset, size);
      return;
    }
    if (this.#resetShown !== 0 && !isSemaphore(offset)) {
      this.#reportEarlyWrite(offset);
    }
    this.#core.registers.write(offset, value >>> 0);
  }

  /** Reads the PCI configuration space. */
  readConfig(offset: number, size: 1 | 2 | 4): number {
    return this.#config.read(offset, size);
  }

  /** Writes the PCI configuration space. */
  writeConfig(offset: number, value: number, size: 1 | 2 | 4): void {
    this.#config.write(offset, value >>> 0, size);
  }

  /**
   * Moves up to `budget` frames in each direction and runs the timers.
   *
   * @param now performance.now() in milliseconds; never goes back
   * @returns the frames moved
   */
  step(budget: number, now: number): number {
    const core = this.#core;
    if (now > core.now) core.now = now;
    if (core.queuesSwitching) this.#settleQueues();
    this.#runTimers();
    const linkUp = this.#link.up;
    let moved = 0;
    if (linkUp || this.#receiver.holding) {
      moved = this.#receiver.step(this.#wire, budget, now, linkUp);
    }
    moved += this.#transmitter.step(this.#wire, budget, linkUp);
    this.#interrupts.flush();
    return moved;
  }

  /** When a timer next wants a step, in ms; Infinity when none does. */
  deadline(_now: number): number {
    return Math.min(
      this.#interrupts.deadline(),
      this.#link.deadline(),
      this.#eeprom.deadline(),
      this.#receiver.deadline(),
      this.#transmitter.deadline(),
      this.#tcpTimer.deadline(),
    );
  }

  /** Puts the cable in (true) or pulls it. */
  setLink(up: boolean): void {
    this.#link.setCable(up);
  }

  /** Puts the SFP+ module of an 82599 in (true) or pulls it. */
  setModule(present: boolean): void {
    this.#link.setModule(present);
  }

  /** Function level reset, or power-on: registers, counters, configuration. */
  reset(): void {
    this.#config.reset();
    this.#statistics.powerOn();
    this.#resetFunction(true);
    this.#resetShown = 0;
  }

  /** What CTRL.RST resets, section 4.2.1.6: not counters, not PCI, and the PHY only with the link. */
  #resetFunction(withPhy: boolean, kept: readonly RegisterName[] = []): void {
    const core = this.#core;
    const held = kept.map((name) => core.registers.get(name));
    core.registers.reset();
    kept.forEach((name, i) => core.registers.set(name, 0, held[i]));
    if (core.model === "x540") {
      core.registers.set("RXPBSIZE", 0, X540_PACKET_BUFFER);
    }
    core.gioDisabled = false;
    core.hasMovedData = false;
    core.pausedUntil = 0;
    this.#resetAt = core.now;
    this.#statistics.softwareReset();
    this.#interrupts.reset();
    this.#order.reset();
    this.#receiver.reset();
    this.#transmitter.reset();
    this.#eeprom.reset();
    this.#link.reset(withPhy);
    this.#timeSync.reset();
    this.#tcpTimer.reset();
  }

  #runTimers(): void {
    const { now } = this.#core;
    if (now - this.#resetAt >= RESET_MS) {
      this.#resetShown = 0;
      this.#order.timePassed();
    }
    this.#eeprom.run();
    this.#link.run();
    this.#tcpTimer.run();
    this.#interrupts.run();
  }

  #settleQueues(): void {
    this.#core.queuesSwitching = false;
    for (const queue of this.#rxQueues) queue.settle();
    for (const queue of this.#txQueues) queue.settle();
    this.#transmitter.listActive();
  }

  #bindControl(): void {
    const { registers } = this.#core;
    registers.onWrite("CTRL", (_n, value) => {
      this.#core.gioDisabled = (value & CTRL_GIO_DIS) !== 0;
      this.#gioPolls = 1;
      const asked = value & RESET_BITS;
      if (asked === 0) return;
      const withLink = (asked & CTRL_LNK_RST) !== 0;
      this.#order.beforeSoftwareReset(withLink);
      this.#resetFunction(withLink, KEPT);
      this.#resetShown = asked;
    });
    registers.onRead("CTRL", () => {
      const value = registers.get("CTRL") | this.#resetShown;
      this.#resetShown = 0;
      return value;
    });
    registers.onRead("STATUS", () => this.#readStatus());
    registers.onRead(
      "FRTIMER",
      () => Math.floor(this.#core.now * MICROSECONDS),
    );
    registers.onRead("SECTXSTAT", () => {
      const halted = registers.get("SECTXCTRL") & SECTXCTRL_TX_DIS;
      return SECTXSTAT_OFFLOAD_DISABLED | (halted !== 0 ? SECTXSTAT_READY : 0);
    });
  }

  /** The GIO bit clears a poll after GIO_DIS (5.2.5.3.2). */
  #readStatus(): number {
    const link = this.#link.up ? STATUS_LINK_UP : 0;
    if (this.#core.gioDisabled && this.#gioPolls-- <= 0) {
      this.#order.gioDisableWasSeen();
      return link;
    }
    return link | STATUS_GIO_ENABLED;
  }

  #reportWidth(what: string, offset: number, size: number): void {
    this.#core.violations.record(
      "register",
      `${what} of ${size} bytes at 0x${offset.toString(16)}: registers are ` +
        `32 bits wide and aligned (8.2.1)`,
    );
  }

  #reportEarlyWrite(offset: number): void {
    this.#core.violations.record(
      "order",
      `write at 0x${offset.toString(16)} before CTRL.RST read back clear ` +
        `(4.2.1.6.1)`,
    );
    this.#resetShown = 0;
  }
}

function isSemaphore(offset: number): boolean {
  return SEMAPHORES.some((name) => REGISTERS[name].spans[0].at === offset);
}
