/**
 * Starting and stopping the rings of one queue, on chips with one switch for all queues: the other queue pauses
 * meanwhile, and goes on where it was.
 *
 * @module
 */
import { Turns } from "../../../wait.ts";
import type { Chip } from "./chip.ts";
import {
  configureRxRing,
  removeRxRing,
  startReceive,
  stopReceive,
} from "./rx_unit.ts";
import {
  configureTxRing,
  drainTxRing,
  removeTxRing,
  startTransmit,
  stopTransmit,
} from "./tx_unit.ts";
import { RDT } from "./registers.ts";

/** Where a queue's rings lie, and what to write to the tail of the full receive ring. */
export interface ResetRings {
  /** Address of the receive ring for the chip. */
  readonly rx: bigint;
  /** Address of the transmit ring for the chip. */
  readonly tx: bigint;
  /** Tail of the receive ring. */
  readonly tail: number;
}

/** Which queues run, and one change after the other. */
export class Rings {
  readonly #chip: Chip;
  readonly #running = new Set<number>();
  readonly #turns = new Turns();

  /** @param chip Whose rings they are. */
  constructor(chip: Chip) {
    this.#chip = chip;
  }

  /** Starts a queue's rings. They are in their first state when `reset` is called. */
  start(queue: number, reset: () => ResetRings): Promise<void> {
    return this.#turns.take(async () => {
      await this.#pause();
      const { rx, tx, tail } = reset();
      configureTxRing(this.#chip, queue, tx);
      configureRxRing(this.#chip, queue, rx);
      this.#running.add(queue);
      this.#resume();
      this.#chip.registers.write(RDT, tail, queue);
    });
  }

  /** Stops a queue's rings, if they run, once it has sent what it was given. */
  stop(queue: number): Promise<void> {
    return this.#turns.take(async () => {
      if (!this.#running.delete(queue)) return;
      await drainTxRing(this.#chip, queue);
      await this.#pause();
      removeTxRing(this.#chip, queue);
      removeRxRing(this.#chip, queue);
      if (this.#running.size > 0) this.#resume();
    });
  }

  async #pause(): Promise<void> {
    await Promise.all([stopReceive(this.#chip), stopTransmit(this.#chip)]);
  }

  #resume(): void {
    startTransmit(this.#chip);
    startReceive(this.#chip);
  }
}
