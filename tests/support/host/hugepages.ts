/**
 * Hugepages for the time that tests run.
 *
 * @module
 */

const NR_HUGEPAGES = "/proc/sys/vm/nr_hugepages";

// Through the shell, because Deno itself opens files in /proc only when it may
// do everything (`--allow-all`).
function shell(script: string): string | undefined {
  const { success, stdout } = new Deno.Command("sh", {
    args: ["-c", script],
    stdin: "null",
    stderr: "null",
  }).outputSync();
  return success ? new TextDecoder().decode(stdout) : undefined;
}

function meminfo(field: string): number {
  const text = shell("cat /proc/meminfo") ?? "";
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);
}

/** Changes the number of hugepages by `count` and says by how many it did. */
function addHugepages(count: number): number {
  const before = meminfo("HugePages_Total");
  const target = Math.max(0, before + count);
  if (shell(`echo ${target} > ${NR_HUGEPAGES}`) === undefined) return 0;
  return meminfo("HugePages_Total") - before;
}

/** Hugepages that are given back when this is disposed of. */
export interface Hugepages extends Disposable {
  /** Whether as many as were asked for are free. */
  readonly available: boolean;
}

/**
 * Sees to it that `needed` 2 MiB pages are free, adding some if we may.
 *
 * Given back is what was added, not the old number restored: another run may
 * have changed it in the meantime.
 */
export function reserveHugepages(needed: number): Hugepages {
  const lacking = needed - meminfo("HugePages_Free");
  const added = lacking > 0 ? addHugepages(lacking) : 0;
  return {
    available: meminfo("HugePages_Free") >= needed,
    [Symbol.dispose]() {
      if (added !== 0) addHugepages(-added);
    },
  };
}
