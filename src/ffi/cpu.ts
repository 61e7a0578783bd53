/**
 * Placement: which core a worker runs on, and which NUMA node memory comes from.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { check, libc } from "./libc.ts";

const MAX_CPUS = 1024;
/** set_mempolicy(2), get_mempolicy(2): their numbers differ by architecture. */
const SYS_SET_MEMPOLICY = Deno.build.arch === "aarch64" ? 237n : 238n;
const SYS_GET_MEMPOLICY = Deno.build.arch === "aarch64" ? 236n : 239n;
const MPOL_PREFERRED = 1;
/** More nodes than any kernel has: get_mempolicy(2) takes no smaller mask than the kernel's. */
const MAX_NODES = 1024;

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

/** A thread's memory policy: how it chooses nodes, and which. */
export interface MemoryPolicy {
  readonly mode: number;
  readonly nodes: BigUint64Array<ArrayBuffer>;
}

/** Runs `allocate` with memory preferred from `node` (negative: no preference). Keeps what numactl(8) has set otherwise. */
export function onNumaNode<T>(node: number, allocate: () => T): T {
  if (node < 0) return allocate();
  const before = memoryPolicy();
  // A kernel without NUMA has no policies: then there is nothing to prefer.
  if (before === undefined) return allocate();
  const nodes = new BigUint64Array(MAX_NODES / 64);
  nodes[node >> 6] = 1n << BigInt(node & 63);
  setMemoryPolicy({ mode: MPOL_PREFERRED, nodes });
  try {
    return allocate();
  } finally {
    setMemoryPolicy(before);
  }
}

/** The calling thread's policy; undefined where the kernel has none. */
export function memoryPolicy(): MemoryPolicy | undefined {
  const mode = new Int32Array(1);
  const nodes = new BigUint64Array(MAX_NODES / 64);
  const { getMempolicy } = libc();
  const most = BigInt(MAX_NODES);
  const got = getMempolicy(SYS_GET_MEMPOLICY, mode, nodes, most, 0n, 0n);
  return got === 0n ? { mode: mode[0], nodes } : undefined;
}

function setMemoryPolicy({ mode, nodes }: MemoryPolicy): void {
  const { syscall3 } = libc();
  syscall3(SYS_SET_MEMPOLICY, BigInt(mode), nodes, BigInt(MAX_NODES));
}
