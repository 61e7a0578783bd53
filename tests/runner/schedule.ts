/**
 * Which jobs run at the same time, and in which order they start.
 *
 * @module
 */

/** Something to run. */
export interface Job<T> {
  /** How long it takes about; decides what starts first. */
  readonly seconds: number;
  /**
   * What it needs for itself: nothing; the host's hugepages, so that no other
   * such job runs beside it; or the whole machine.
   */
  readonly claims: "nothing" | "host" | "machine";
  readonly run: () => Promise<T>;
}

/**
 * The order in which jobs start: the longest first. Jobs that exclude each
 * other count as long as all of them together, and those that want the machine
 * come last.
 */
export function inOrder<T>(jobs: readonly Job<T>[]): Job<T>[] {
  const host = jobs.filter(({ claims }) => claims === "host")
    .reduce((sum, { seconds }) => sum + seconds, 0);
  const weight = ({ claims, seconds }: Job<T>) =>
    claims === "machine" ? -1 : claims === "host" ? host : seconds;
  return jobs.toSorted((a, b) =>
    weight(b) - weight(a) || b.seconds - a.seconds
  );
}

/**
 * Runs jobs, so many at a time, and returns what they return.
 *
 * @param stopped Says that no other job is to start.
 */
export async function runJobs<T>(
  jobs: readonly Job<T>[],
  slots: number,
  stopped: () => boolean = () => false,
): Promise<T[]> {
  const waiting = inOrder(jobs);
  const running = new Map<Job<T>, Promise<void>>();
  const results: T[] = [];
  const canStart = ({ claims }: Job<T>) => {
    const others = Array.from(running.keys(), ({ claims }) => claims);
    if (claims === "machine") return others.length === 0;
    if (others.includes("machine")) return false;
    return claims === "nothing" || !others.includes("host");
  };
  const start = (job: Job<T>) => {
    const end = job.run().then((result) => {
      results.push(result);
      running.delete(job);
    });
    running.set(job, end);
  };
  for (;;) {
    while (running.size < slots && !stopped()) {
      const next = waiting.findIndex(canStart);
      if (next < 0) break;
      start(...waiting.splice(next, 1) as [Job<T>]);
    }
    if (running.size === 0) return results;
    await Promise.race(running.values());
  }
}
