/**
 * Placement: which core a worker runs on, and which NUMA node memory comes from.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { check, libc } from "./libc.ts";

const MAX_CPUS = 1024;
/** set_mempolicy(2): its number differs by architecture. */
const SYS_SET_MEMPOLICY = Deno.build.arch === "aarch64" ? 237n : 238n;
const MPOL_DEFAULT = 0n;
const MPOL_PREFERRED = 1n;

/** Binds the calling thread, hence the calling isolate, to one core. */
export function pinToCpu(cpu: number): void {
  if (!Number.isInteger(cpu) || cpu < 0 || cpu >= MAX_CPUS) {
    throw new ConfigError(
      "cpus",
      `${cpu} is no core: use 0 to ${MAX_CPUS - 1}`,
    );
  }
  const mask = new Uint8Array(MAX_CPUS / 8);
  mask[cpu >> 3] = 1 << (cpu & 7);
  check(
    "sched_setaffinity",
    libc().sched_setaffinity(0, BigInt(mask.length), mask),
    `core ${cpu} does not exist or is not allowed for this process`,
  );
}

/** Runs `allocate` with memory preferred from `node` (negative: no preference). */
export function onNumaNode<T>(node: number, allocate: () => T): T {
  if (node < 0) return allocate();
  setMemoryPolicy(MPOL_PREFERRED, node);
  try {
    return allocate();
  } finally {
    setMemoryPolicy(MPOL_DEFAULT, 0);
  }
}

function setMemoryPolicy(mode: bigint, node: number): void {
  const mask = new BigUint64Array(MAX_CPUS / 64);
  if (mode !== MPOL_DEFAULT) mask[node >> 6] = 1n << BigInt(node & 63);
  const { syscall3 } = libc();
  // A kernel without NUMA answers ENOSYS: then there is nothing to prefer.
  syscall3(SYS_SET_MEMPOLICY, mode, mask, BigInt(MAX_CPUS));
}
