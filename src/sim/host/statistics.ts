/**
 * The statistics counters, section 8.2.3.23: cleared by reading, sticking at
 * their maximum, and not touched by a software reset (4.6.5 has software clear
 * them by reading).
 *
 * @module
 */

import type { Core } from "../core.ts";
import { SLOT_COUNT, slotOf } from "../registers/register_file.ts";
import {
  type Register,
  type RegisterName,
  REGISTERS,
} from "../registers/registers.ts";

const STICK_32 = 2 ** 32 - 1;
const STICK_36 = 2 ** 36 - 1;
const TWO_TO_32 = 2 ** 32;
const FCS_LENGTH = 4;
const QUEUES_PER_MAP = 4;
const MAP_BITS = 8;
const MAP_MASK = 0xf;
const QUEUE_COUNT = 128;

/** Low and high registers that make one 36-bit counter, kept in the low. */
const PAIRS: readonly (readonly [RegisterName, RegisterName])[] = [
  ["GORCL", "GORCH"],
  ["GOTCL", "GOTCH"],
  ["TORL", "TORH"],
  ["RXNFGBCL", "RXNFGBCH"],
  ["RXDGBCL", "RXDGBCH"],
  ["TXDGBCL", "TXDGBCH"],
  ["QBRC_L", "QBRC_H"],
  ["QBTC_L", "QBTC_H"],
];

/** Upper bounds of the size classes, FCS included; the last has none. */
const SIZE_CLASSES = [64, 127, 255, 511, 1023];

const PRC64 = slotOf("PRC64");
const PTC64 = slotOf("PTC64");
const GPRC = slotOf("GPRC");
const BPRC = slotOf("BPRC");
const MPRC = slotOf("MPRC");
const GORC = slotOf("GORCL");
const TOR = slotOf("TORL");
const TPR = slotOf("TPR");
const RXNFGPC = slotOf("RXNFGPC");
const RXNFGBC = slotOf("RXNFGBCL");
const RXDGPC = slotOf("RXDGPC");
const RXDGBC = slotOf("RXDGBCL");
const QPRC = slotOf("QPRC");
const QBRC = slotOf("QBRC_L");
const QPRDC = slotOf("QPRDC");
const GPTC = slotOf("GPTC");
const GOTC = slotOf("GOTCL");
const TPT = slotOf("TPT");
const MPTC = slotOf("MPTC");
const BPTC = slotOf("BPTC");
const TXDGPC = slotOf("TXDGPC");
const TXDGBC = slotOf("TXDGBCL");
const QPTC = slotOf("QPTC");
const QBTC = slotOf("QBTC_L");

/** Who a frame is addressed to. */
export const UNICAST = 0;
/** A group address other than broadcast. */
export const MULTICAST = 1;
/** All ones. */
export const BROADCAST = 2;

function sizeClass(lengthWithFcs: number): number {
  if (lengthWithFcs <= SIZE_CLASSES[0]) return 0;
  if (lengthWithFcs <= SIZE_CLASSES[1]) return 1;
  if (lengthWithFcs <= SIZE_CLASSES[2]) return 2;
  if (lengthWithFcs <= SIZE_CLASSES[3]) return 3;
  return lengthWithFcs <= SIZE_CLASSES[4] ? 4 : 5;
}

/** Counts, and answers reads of the counters. */
export class Statistics {
  readonly #counters = new Float64Array(SLOT_COUNT);
  /** RQSMR and TQSM unpacked: the counter set of each queue. */
  readonly #rxMap = new Uint8Array(QUEUE_COUNT);
  readonly #txMap = new Uint8Array(QUEUE_COUNT);
  /** Per high register: whether its low one was read and what it left. */
  readonly #latched = new Map<number, number>();

  constructor(core: Core) {
    const { registers, violations } = core;
    for (const name of Object.keys(REGISTERS) as RegisterName[]) {
      if ((REGISTERS[name] as Register).mode === "rc") {
        registers.onRead(name, (n) => this.#readAndClear(slotOf(name, n)));
      }
    }
    for (const [low, high] of PAIRS) {
      registers.onRead(
        low,
        (n) => this.#readLow(slotOf(low, n), slotOf(high, n)),
      );
      registers.onRead(high, (n) => {
        const value = this.#latched.get(slotOf(high, n));
        if (value === undefined) {
          violations.record(
            "order",
            `${high}[${n}] was read without ${low}[${n}] before it: the low ` +
              `register comes first (8.2.3.23)`,
          );
          return 0;
        }
        this.#latched.delete(slotOf(high, n));
        return value;
      });
    }
    registers.onWrite("RQSMR", (n, value) => unpack(this.#rxMap, n, value));
    registers.onWrite("TQSM", (n, value) => unpack(this.#txMap, n, value));
  }

  /** Forgets the queue maps, as any reset does, but no count. */
  softwareReset(): void {
    this.#rxMap.fill(0);
    this.#txMap.fill(0);
  }

  /** Clears everything, as at power-on. */
  powerOn(): void {
    this.softwareReset();
    this.#counters.fill(0);
    this.#latched.clear();
  }

  /** Adds to the counter of a register that nothing more special serves. */
  add(name: RegisterName, n = 0): void {
    this.#counters[slotOf(name, n)]++;
  }

  /** A good frame came off the wire; `length` without FCS. */
  unfiltered(length: number): void {
    const counters = this.#counters;
    const total = length + FCS_LENGTH;
    counters[TPR]++;
    counters[TOR] += total;
    counters[RXNFGPC]++;
    counters[RXNFGBC] += total;
    counters[PRC64 + sizeClass(total)]++;
  }

  /** A frame passed the filters; `length` without FCS. */
  accepted(length: number, addressed: number): void {
    const counters = this.#counters;
    counters[GPRC]++;
    counters[GORC] += length + FCS_LENGTH;
    if (addressed === MULTICAST) counters[MPRC]++;
    else if (addressed === BROADCAST) counters[BPRC]++;
  }

  /** A frame was written to host memory: `bytes` of it. */
  delivered(queue: number, bytes: number): void {
    const counters = this.#counters;
    const set = this.#rxMap[queue];
    counters[QPRC + set]++;
    counters[QBRC + set] += bytes;
    counters[RXDGPC]++;
    counters[RXDGBC] += bytes;
  }

  /** A frame was dropped because its queue had no descriptor. */
  dropped(queue: number): void {
    this.#counters[QPRDC + this.#rxMap[queue]]++;
  }

  /** A frame left the card; `length` without FCS. */
  transmitted(queue: number, length: number, addressed: number): void {
    const counters = this.#counters;
    const total = length + FCS_LENGTH;
    const set = this.#txMap[queue];
    counters[GPTC]++;
    counters[GOTC] += total;
    counters[TPT]++;
    counters[PTC64 + sizeClass(total)]++;
    counters[TXDGPC]++;
    counters[TXDGBC] += length;
    counters[QPTC + set]++;
    counters[QBTC + set] += length;
    if (addressed === MULTICAST) counters[MPTC]++;
    else if (addressed === BROADCAST) counters[BPTC]++;
  }

  #readAndClear(slot: number): number {
    const value = Math.min(this.#counters[slot], STICK_32);
    this.#counters[slot] = 0;
    return value;
  }

  #readLow(low: number, high: number): number {
    const value = Math.min(this.#counters[low], STICK_36);
    this.#counters[low] = 0;
    this.#latched.set(high, Math.floor(value / TWO_TO_32));
    return value % TWO_TO_32;
  }
}

function unpack(map: Uint8Array, n: number, value: number): void {
  for (let i = 0; i < QUEUES_PER_MAP; i++) {
    map[n * QUEUES_PER_MAP + i] = (value >>> (i * MAP_BITS)) & MAP_MASK;
  }
}
