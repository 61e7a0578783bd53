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
