/**
 * Waiting for conditions, never for milliseconds.
 *
 * @module
 */

/** Waits until `condition` holds; throws with `what` when it does not within `timeoutMs`. */
export async function until(
  what: string,
  condition: () => boolean,
  timeoutMs = 20_000,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) {
      throw new Error(`not within ${timeoutMs} ms: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Lets a wait of seconds end at once. */
export async function inHaste(test: () => Promise<unknown>): Promise<void> {
  const { now } = performance;
  performance.now = () => now.call(performance) * 10_000;
  try {
    await test();
  } finally {
    performance.now = now;
  }
}
