/**
 * Copies between a frame and host memory, in words where alignment allows.
 *
 * @module
 */

import type { Frame } from "./frame.ts";

/** Bytes from `offset` on, in two views of the same memory. */
export interface Place {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly offset: number;
}

/** Copies `length` frame bytes from `from` to `place`. */
export function copyToHost(
  frame: Frame,
  from: number,
  place: Place,
  length: number,
): void {
  const to = place.offset;
  let at = 0;
  if (((to | from) & 3) === 0) {
    const source = frame.u32;
    const target = place.u32;
    const shift = (to - from) >> 2;
    const end = (from + length) >>> 2;
    for (let i = from >>> 2; i < end; i++) target[i + shift] = source[i];
    at = length & ~3;
  }
  const source = frame.u8;
  const target = place.u8;
  for (; at < length; at++) target[to + at] = source[from + at];
}

/** Copies `length` bytes from `place` to frame bytes from `to`. */
export function copyFromHost(
  place: Place,
  frame: Frame,
  to: number,
  length: number,
): void {
  const from = place.offset;
  let at = 0;
  if (((to | from) & 3) === 0) {
    const source = place.u32;
    const target = frame.u32;
    const shift = (from - to) >> 2;
    const end = (to + length) >>> 2;
    for (let i = to >>> 2; i < end; i++) target[i] = source[i + shift];
    at = length & ~3;
  }
  const source = place.u8;
  const target = frame.u8;
  for (; at < length; at++) target[to + at] = source[from + at];
}
