/**
 * Which isolate uses which half of a queue pair. One may receive while another sends, as a bridge does: each half is
 * started afresh by the isolate that uses it, and a half that nobody has used yet by whoever uses the other.
 *
 * @module
 */
import { Word } from "../../queue/control_block.ts";

/** The word of a half. */
export type UserWord = typeof Word.RxUser | typeof Word.TxUser;

/** In the place of an isolate while another one starts an unused half afresh. */
const RENEWING = -1;

/** This isolate: neither 0 nor {@linkcode RENEWING}. */
const ISOLATE: number = crypto.getRandomValues(new Int32Array(1))[0] & ~1 |
  1 << 30;

/** Says that this isolate uses a half from now on. A plain load where it has said so before. */
export function use(words: Int32Array, half: UserWord): void {
  if (words[half] === ISOLATE) return;
  for (;;) {
    const user = Atomics.load(words, half);
    if (user === RENEWING) continue;
    if (Atomics.compareExchange(words, half, user, ISOLATE) === user) return;
  }
}

/** Says that this isolate uses neither half from now on: another one will. */
export function leave(words: Int32Array): void {
  for (const half of [Word.RxUser, Word.TxUser]) {
    Atomics.compareExchange(words, half, ISOLATE, 0);
  }
}

/** Does something with a half unless another isolate uses it. */
export function unlessUsedElsewhere(
  words: Int32Array,
  half: UserWord,
  action: () => void,
): void {
  const user = Atomics.compareExchange(words, half, 0, RENEWING);
  if (user !== 0 && user !== ISOLATE) return;
  try {
    action();
  } finally {
    if (user === 0) Atomics.store(words, half, 0);
  }
}
