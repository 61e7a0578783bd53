/** RSS keys and tables as cards have them. */
import { assertEquals, assertThrows } from "@std/assert";
import {
  evenRssTable,
  rssKeyWords,
  rssTableWords,
} from "../../src/rss_table.ts";
import { ConfigError } from "../../src/errors.ts";

Deno.test("rssKeyWords() takes four bytes each, the first lowest", () => {
  const key = Uint8Array.from({ length: 40 }, (_, i) => 0xd0 + i);
  const words = rssKeyWords(key);
  assertEquals([words.length, words[0], words[9]], [
    ...[10, 0xd3d2d1d0, 0xf7f6f5f4],
  ]);
  // A key may lie anywhere in its buffer.
  const within = new Uint8Array(48);
  within.set(key, 3);
  assertEquals(rssKeyWords(within.subarray(3, 43)), words);
  assertThrows(() => rssKeyWords(new Uint8Array(41)), ConfigError);
});

Deno.test("rssTableWords() repeats a table until it is full", () => {
  assertEquals(rssTableWords([3, 1], 4), Array(32).fill(0x01030103));
  const large = rssTableWords(evenRssTable(16), 16, { size: 512 });
  assertEquals([large.length, large[0], large[127]], [
    ...[128, 0x03020100, 0x0f0e0d0c],
  ]);
  const shifted = rssTableWords([0, 1], 2, { shift: 7 });
  assertEquals(shifted, Array(32).fill(0x80008000));
});

Deno.test("rssTableWords() refuses queues and lengths that are not there", () => {
  for (const table of [[], [0, 1, 2], [2], [-1], [0.5]]) {
    assertThrows(() => rssTableWords(table, 2), ConfigError);
  }
});
