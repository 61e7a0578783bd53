/**
 * Receiving on one queue: legacy descriptors on the 8254x, extended ones on the 82574.
 *
 * @module
 */
import type { Registers } from "../../../bus/bus.ts";
import { IrqLine } from "../../../irq/line.ts";
import { IntelRxQueue } from "../ring/rx_queue.ts";
import type { LocalQueue } from "../../queue/rx_queue.ts";
import { ICR, ICS, IMS } from "../gigabit/registers.ts";
import { offsetOf } from "../register.ts";
import { chipNamed, maxFrameSize } from "./chip.ts";
import { EXTENDED_RX, LEGACY_RX, LEGACY_TX } from "./descriptors.ts";
import { QUEUE_CAUSES, SHARED_QUEUE_CAUSE } from "./interrupts.ts";
import { rxBufferBytes } from "./rx_unit.ts";
import { RDT, TDT } from "./registers.ts";
import { IntelTxQueue } from "../ring/tx_queue.ts";

/** The receive half of a queue pair. */
export class E1000RxQueue extends IntelRxQueue {
  readonly #registers: Registers;
  readonly #unmaskInterrupt: () => void;
  /** Where to tell of the link, when the queue shares its interrupt with it. */
  readonly #link: IrqLine | undefined;
  readonly #polls: boolean;

  /**
   * @param queue Which queue, and its memory.
   * @param registers The card's registers in this isolate.
   * @param unmaskInterrupt Lets the next interrupt through where the vector is shared.
   */
  constructor(
    queue: LocalQueue,
    registers: Registers,
    unmaskInterrupt: () => void,
  ) {
    const legacy = chipNamed(queue.model).generation === "8254x";
    super(queue, registers, {
      ...(legacy ? LEGACY_RX : EXTENDED_RX),
      tail: offsetOf(RDT, queue.index),
      unmask: offsetOf(IMS),
      unmaskBit: QUEUE_CAUSES[queue.index],
      bufferBytes: rxBufferBytes(queue.pool.entrySize),
    });
    this.#registers = registers;
    this.#unmaskInterrupt = unmaskInterrupt;
    this.#polls = queue.config.irqTimeoutMs === 0;
    this.#link = queue.linkFd === undefined
      ? undefined
      : new IrqLine(queue.linkFd);
  }

  /** A shared vector is the link's alone while this queue polls: the queue would never clear its cause. */
  protected override unmaskIrq(): void {
    if (this.#link === undefined) super.unmaskIrq();
    else if (!this.#polls) this.#unmaskShared(this.#link);
  }

  /**
   * Reading ICR is the only way to take the line down, and takes every cause along: news of the link is passed on,
   * and the interrupt of a frame that arrived before is raised again, because it would be lost.
   */
  #unmaskShared(link: IrqLine): void {
    const registers = this.#registers;
    const causes = registers.read32(ICR.offset);
    if ((causes & ICR.bits.LSC) !== 0) link.raise();
    registers.write32(IMS.offset, SHARED_QUEUE_CAUSE | ICR.bits.LSC);
    if (this.arrived) registers.write32(ICS.offset, SHARED_QUEUE_CAUSE);
    this.#unmaskInterrupt();
  }
}

/** The transmit half of a queue pair. */
export class E1000TxQueue extends IntelTxQueue {
  /**
   * @param queue Which queue, and its memory.
   * @param registers The card's registers in this isolate.
   */
  constructor(queue: LocalQueue, registers: Registers) {
    super(queue, registers, {
      tail: offsetOf(TDT, queue.index),
      maxFrame: maxFrameSize(chipNamed(queue.model)),
      layout: LEGACY_TX,
    });
  }
}
