/**
 * Waits without blocking the event loop.
 *
 * @module
 */

/** Resolves after so many milliseconds; the event loop runs meanwhile. */
export function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * Polls a condition until it holds or the time is over, at first without a pause, then up to every 20 ms.
 * Returns whether the condition holds.
 */
export async function until(
  holds: () => boolean,
  timeoutMs: number,
): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  for (let pause = 0;; pause = Math.min(pause + 1, 20)) {
    if (holds()) return true;
    if (performance.now() > end) return false;
    await delay(pause);
  }
}
