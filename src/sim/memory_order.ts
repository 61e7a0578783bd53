/**
 * The one store per descriptor that must come after all others.
 *
 * @module
 */

/** x86-64 keeps the order of stores; other machines need to be told. */
const KEEPS_STORE_ORDER = Deno.build.arch === "x86_64";

/**
 * Stores the word that tells another thread that those stored before are
 * valid: the descriptor's DD.
 */
export function publish(words: Uint32Array, at: number, value: number): void {
  if (KEEPS_STORE_ORDER) words[at] = value;
  else Atomics.store(words, at, value);
}

/** Both halves of a double whose exponent is all ones: V8 may change NaNs. */
const EXPONENT = 0x7ff00000;
const halves = new Uint32Array(2);
const whole = new Float64Array(halves.buffer);

/**
 * Stores the second half of a descriptor so that another thread sees all of
 * it or nothing: some drivers look at the length first, others at DD.
 *
 * @param pairs the same memory as `words` as doubles, or empty where the ring
 * does not lie at a multiple of eight bytes
 */
export function publishPair(
  words: Uint32Array,
  pairs: Float64Array,
  at: number,
  low: number,
  high: number,
): void {
  const asOne = KEEPS_STORE_ORDER && pairs.length !== 0 &&
    (high & EXPONENT) !== EXPONENT;
  if (asOne) {
    halves[0] = low;
    halves[1] = high;
    pairs[at >>> 1] = whole[0];
    return;
  }
  words[at + 1] = high;
  publish(words, at, low);
}
