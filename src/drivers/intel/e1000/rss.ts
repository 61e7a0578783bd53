/**
 * Spreading received frames over the two queues of the 82574 (datasheet, chapter 7.1). It hashes addresses and the
 * ports of TCP, never those of UDP.
 *
 * @module
 */
import { insert } from "../register.ts";
import {
  evenRssTable,
  rssKeyWords,
  rssTableWords,
} from "../../../rss_table.ts";
import type { Chip } from "./chip.ts";
import { MRQC, MRQE_RSS, RETA, RSSRK } from "./registers.ts";

/** Where an entry has its queue. */
const QUEUE_SHIFT = 7;

/** Key, table and what is hashed. */
export function configureRss(chip: Chip): void {
  const { rss, queues } = chip.config;
  chip.step(`RSS over ${queues} queues`);
  writeKey(chip, rss.key);
  writeTable(chip, rss.table ?? evenRssTable(queues));
  const { bits } = MRQC;
  chip.registers.write(
    MRQC,
    insert(bits.MRQE, MRQE_RSS) | bits.IPV4 | bits.IPV6 |
      (rss.ports ? bits.TCP_IPV4 | bits.TCP_IPV6 : 0),
  );
}

/** Changes the key. Frames in flight are hashed with either key. */
export function writeKey({ registers }: Chip, key: Uint8Array): void {
  for (const [index, word] of rssKeyWords(key).entries()) {
    registers.write(RSSRK, word, index);
  }
}

/** Changes the table. */
export function writeTable(chip: Chip, table: readonly number[]): void {
  const layout = { shift: QUEUE_SHIFT };
  const words = rssTableWords(table, chip.config.queues, layout);
  for (const [index, word] of words.entries()) {
    chip.registers.write(RETA, word, index);
  }
}
