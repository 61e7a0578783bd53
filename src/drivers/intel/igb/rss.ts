/**
 * Spreading received frames over queues (82576 section 7.1.1.7).
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
import { MRQC, MRQE_RSS, RETA, RSSRK, VT_CTL } from "./registers.ts";

/** Key, table and what is hashed. */
export function configureRss(chip: Chip): void {
  const { registers, config } = chip;
  const { rss, queues } = config;
  chip.step(`RSS over ${queues} queues (7.1.1.7)`);
  registers.write(VT_CTL, 0);
  writeKey(chip, rss.key);
  writeTable(chip, rss.table ?? evenRssTable(queues));
  const { bits } = MRQC;
  const ports = bits.TCP_IPV4 | bits.TCP_IPV6 | bits.TCP_IPV6_EX |
    bits.UDP_IPV4 | bits.UDP_IPV6;
  registers.write(
    MRQC,
    insert(bits.MRQE, MRQE_RSS) | bits.IPV4 | bits.IPV6 | bits.IPV6_EX |
      (rss.ports ? ports : 0),
  );
}

/** Changes the key (8.10.21). Frames in flight are hashed with either key. */
export function writeKey({ registers }: Chip, key: Uint8Array): void {
  for (const [index, word] of rssKeyWords(key).entries()) {
    registers.write(RSSRK, word, index);
  }
}

/** Changes the table (8.10.22). */
export function writeTable(chip: Chip, table: readonly number[]): void {
  const words = rssTableWords(table, chip.config.queues);
  for (const [index, word] of words.entries()) {
    chip.registers.write(RETA, word, index);
  }
}
