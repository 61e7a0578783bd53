/**
 * Spreading received frames over the two queues of the 82574 (datasheet, chapter 7.1). It hashes addresses and the
 * ports of TCP, never those of UDP.
 *
 * @module
 */
import { ConfigError } from "../../errors.ts";
import { insert } from "../register.ts";
import type { Chip } from "./chip.ts";
import { MRQC, MRQE_RSS, RETA, RSSRK } from "./registers.ts";

const KEY_BYTES = 40;
const ENTRIES_PER_REGISTER = 4;
/** Entries of the table. */
export const TABLE_SIZE: number = RETA.count * ENTRIES_PER_REGISTER;
/** Where an entry has its queue. */
const QUEUE_SHIFT = 7;

/** Key, table and what is hashed. */
export function configureRss(chip: Chip): void {
  const { rss, queues } = chip.config;
  chip.step(`RSS over ${queues} queues`);
  writeKey(chip, rss.key);
  writeTable(
    chip,
    rss.table ?? Array.from({ length: TABLE_SIZE }, (_, i) => i % queues),
  );
  const { bits } = MRQC;
  chip.registers.write(
    MRQC,
    insert(bits.MRQE, MRQE_RSS) | bits.IPV4 | bits.IPV6 |
      (rss.ports ? bits.TCP_IPV4 | bits.TCP_IPV6 : 0),
  );
}

/** Writes the 40 bytes as ten little-endian words. Frames in flight are hashed with either key. */
export function writeKey(chip: Chip, key: Uint8Array): void {
  if (key.length !== KEY_BYTES) {
    throw new ConfigError("rss", `the key has ${key.length} bytes, not 40`);
  }
  const view = new DataView(key.buffer, key.byteOffset, key.length);
  for (let word = 0; word < RSSRK.count; word++) {
    chip.registers.write(RSSRK, view.getUint32(word * 4, true), word);
  }
}

/** Writes the table, repeated until it is full. */
export function writeTable(chip: Chip, table: readonly number[]): void {
  checkTable(table, chip.config.queues);
  for (let word = 0; word < RETA.count; word++) {
    let value = 0;
    for (let i = 0; i < ENTRIES_PER_REGISTER; i++) {
      const queue = table[(word * ENTRIES_PER_REGISTER + i) % table.length];
      value |= queue << (8 * i + QUEUE_SHIFT);
    }
    chip.registers.write(RETA, value, word);
  }
}

function checkTable(table: readonly number[], queues: number): void {
  if (table.length === 0 || TABLE_SIZE % table.length !== 0) {
    throw new ConfigError(
      "rss",
      `a table of ${table.length} entries does not divide ${TABLE_SIZE}`,
    );
  }
  const wrong = table.find((q) => !Number.isInteger(q) || q < 0 || q >= queues);
  if (wrong === undefined) return;
  throw new ConfigError(
    "rss",
    `the table names queue ${wrong}, but there are ${queues} queues`,
  );
}
