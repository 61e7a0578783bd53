/**
 * Spreading received frames over queues (82599 sections 7.1.2.8 and 4.6.10.1).
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
import { ERETA, MRQC, MRQE_RSS, RETA, RSSRK } from "./registers.ts";

/** Key, table and what is hashed. */
export function configureRss(chip: Chip): void {
  const { rss, queues } = chip.config;
  chip.step(`RSS over ${queues} queues (4.6.10.1)`);
  writeKey(chip, rss.key);
  writeTable(chip, rss.table ?? evenRssTable(queues));
  const { bits } = MRQC;
  const ports = bits.TCP_IPV4 | bits.TCP_IPV6 | bits.UDP_IPV4 | bits.UDP_IPV6;
  chip.registers.write(
    MRQC,
    insert(bits.MRQE, MRQE_RSS) | bits.IPV4 | bits.IPV6 |
      (rss.ports ? ports : 0),
  );
}

/** Changes the key (8.2.3.7.14). Frames in flight are hashed with either key. */
export function writeKey({ registers }: Chip, key: Uint8Array): void {
  for (const [index, word] of rssKeyWords(key).entries()) {
    registers.write(RSSRK, word, index);
  }
}

/** Changes the table (8.2.3.7.15). */
export function writeTable(chip: Chip, table: readonly number[]): void {
  const { registers, model, config } = chip;
  const size = model.retaSize;
  const words = rssTableWords(table, config.queues, { size });
  for (const [index, word] of words.entries()) {
    if (index < RETA.count) registers.write(RETA, word, index);
    else registers.write(ERETA, word, index - RETA.count);
  }
}
