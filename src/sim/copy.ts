/**
 * Copies between a frame and host memory, in words where alignment allows.
 *
 * @module
 */

import type { DmaTable } from "./dma_table.ts";
import type { Frame } from "./frame.ts";

/** Copies `length` frame bytes from `from` to where `dma` points. */
export function copyToHost(
  frame: Frame,
  from: number,
  dma: DmaTable,
  length: number,
): void {
  const to = dma.offset;
  let at = 0;
  if (((to | from) & 3) === 0) {
    const source = frame.u32;
    const target = dma.u32;
    const shift = (to - from) >> 2;
    const end = (from + length) >>> 2;
    for (let i = from >>> 2; i < end; i++) target[i + shift] = source[i];
    at = length & ~3;
  }
  const source = frame.u8;
  const target = dma.u8;
  for (; at < length; at++) target[to + at] = source[from + at];
}

/** Copies `length` bytes from where `dma` points to frame bytes from `to`. */
export function copyFromHost(
  dma: DmaTable,
  frame: Frame,
  to: number,
  length: number,
): void {
  const from = dma.offset;
  let at = 0;
  if (((to | from) & 3) === 0) {
    const source = dma.u32;
    const target = frame.u32;
    const shift = (from - to) >> 2;
    const end = (to + length) >>> 2;
    for (let i = to >>> 2; i < end; i++) target[i] = source[i + shift];
    at = length & ~3;
  }
  const source = dma.u8;
  const target = frame.u8;
  for (; at < length; at++) target[to + at] = source[from + at];
}
