/**
 * Whether a process still has readers of its output.
 *
 * @module
 */
import { libc, mayCallLibc } from "./libc.ts";

const POLLERR = 0x8;
const POLLHUP = 0x10;
/** Standard output and standard error: nothing is waited for, since the kernel always tells of a reader that is gone. */
const OUTPUTS = new Int32Array([1, 0, 2, 0]);

/** Whether the reader of standard output or standard error has gone. False where FFI is not allowed. */
export function outputGone(): boolean {
  if (!mayCallLibc()) return false;
  libc().poll(OUTPUTS, 2n, 0);
  return [OUTPUTS[1], OUTPUTS[3]].some((entry) =>
    ((entry >>> 16) & (POLLERR | POLLHUP)) !== 0
  );
}
