/**
 * Toeplitz key and redirection table as Intel's cards have them in registers.
 *
 * @module
 */
import { ConfigError } from "./errors.ts";

const KEY_BYTES = 40;
const WORD_BYTES = 4;
const ENTRIES_PER_WORD = 4;
const ENTRY_BITS = 8;
/** Entries of the redirection table, and the length that tables are given in: larger ones repeat it. */
export const RSS_TABLE_SIZE = 128;

/** Throws a ConfigError for a key that is not 40 bytes long. */
export function checkRssKey(key: Uint8Array): void {
  if (key.length === KEY_BYTES) return;
  throw new ConfigError(
    "rss",
    `the key has ${key.length} bytes, not ${KEY_BYTES}`,
  );
}

/** The key's 40 bytes as ten little-endian words. Throws a ConfigError for another length. */
export function rssKeyWords(key: Uint8Array): number[] {
  checkRssKey(key);
  const view = new DataView(key.buffer, key.byteOffset, key.length);
  return Array.from(
    { length: KEY_BYTES / WORD_BYTES },
    (_, word) => view.getUint32(word * WORD_BYTES, true),
  );
}

/** The table that spreads evenly. */
export function evenRssTable(queues: number): number[] {
  return Array.from({ length: RSS_TABLE_SIZE }, (_, entry) => entry % queues);
}

/**
 * A table as words of four entries, repeated until it is full.
 *
 * @param table Queue by hash.
 * @param queues How many queues there are: entries must stay below.
 * @param layout Entries of the card's table (128), and at which bit of an entry the queue begins (0).
 * @throws {ConfigError} when the length does not divide 128, or a queue is not there.
 */
export function rssTableWords(
  table: readonly number[],
  queues: number,
  layout: { readonly size?: number; readonly shift?: number } = {},
): number[] {
  checkRssTable(table, queues);
  const { size = RSS_TABLE_SIZE, shift = 0 } = layout;
  return Array.from({ length: size / ENTRIES_PER_WORD }, (_, word) => {
    let value = 0;
    for (let i = 0; i < ENTRIES_PER_WORD; i++) {
      const queue = table[(word * ENTRIES_PER_WORD + i) % table.length];
      value |= queue << (ENTRY_BITS * i + shift);
    }
    return value >>> 0;
  });
}

/** Throws a ConfigError when a table's length does not divide 128, or it names a queue that is not there. */
export function checkRssTable(table: readonly number[], queues: number): void {
  if (table.length === 0 || RSS_TABLE_SIZE % table.length !== 0) {
    throw new ConfigError(
      "rss",
      `a table of ${table.length} entries does not divide ${RSS_TABLE_SIZE}`,
    );
  }
  const wrong = table.find((q) => !Number.isInteger(q) || q < 0 || q >= queues);
  if (wrong === undefined) return;
  throw new ConfigError(
    "rss",
    `the table names queue ${wrong}, but there are ${queues} queues`,
  );
}
