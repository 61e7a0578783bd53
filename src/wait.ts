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

/** Runs asynchronous actions one after the other. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs an action when those before it have ended, successfully or not. Resolves or rejects as the action does. */
  take<T>(action: () => Promise<T>): Promise<T> {
    const done = this.#last.then(action);
    this.#last = done.catch(() => {});
    return done;
  }
}
