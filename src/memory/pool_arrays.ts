/**
 * The arrays that describe the packets of a pool, in one shared buffer: length, flags, hash and so on, by entry index.
 *
 * A new array is one line in {@linkcode ARRAYS}: the buffer's size and every array's place follow from it.
 *
 * @module
 */

const CACHE_LINE = 64;

/** The shared header: see the constants of `mempool.ts`. */
const HEADER_WORDS = 16;

/** Every array with its type, in the order in which they lie in the buffer. */
const ARRAYS = {
  freeStack: Uint32Array,
  lengths: Uint32Array,
  flags: Uint32Array,
  rssHashes: Uint32Array,
  nextSegments: Uint32Array,
  offloads: Uint32Array,
  vlanTags: Uint16Array,
  segmentSizes: Uint16Array,
  parked: Uint8Array,
  state: Uint8Array,
} as const;

type Arrays = typeof ARRAYS;
type ArrayType = new (
  buffer: SharedArrayBuffer,
  offset: number,
  length: number,
) => ArrayBufferView;

/** The arrays of a pool. */
export type PoolArrays =
  & { readonly header: Int32Array }
  & { readonly [Name in keyof Arrays]: InstanceType<Arrays[Name]> };

const NAMES = Object.keys(ARRAYS) as (keyof Arrays)[];

/** Each array begins on a cache line of its own. */
function roundUp(bytes: number): number {
  return Math.ceil(bytes / CACHE_LINE) * CACHE_LINE;
}

/** Bytes of the buffer for a pool of so many entries. */
export function poolArrayBytes(maxEntries: number): number {
  return NAMES.reduce(
    (sum, name) => sum + roundUp(maxEntries * ARRAYS[name].BYTES_PER_ELEMENT),
    roundUp(HEADER_WORDS * Int32Array.BYTES_PER_ELEMENT),
  );
}

/** Lays the arrays over a buffer of {@linkcode poolArrayBytes}. */
export function poolArrays(
  buffer: SharedArrayBuffer,
  maxEntries: number,
): PoolArrays {
  const header = new Int32Array(buffer, 0, HEADER_WORDS);
  let offset = roundUp(header.byteLength);
  const arrays: Record<string, ArrayBufferView> = { header };
  for (const name of NAMES) {
    const View: ArrayType = ARRAYS[name];
    const array = new View(buffer, offset, maxEntries);
    arrays[name] = array;
    offset += roundUp(array.byteLength);
  }
  return arrays as unknown as PoolArrays;
}
