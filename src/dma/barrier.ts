/**
 * The order in which a device and this processor see each other's stores. Called once per batch.
 *
 * x86-64 keeps the order of stores, and that of loads. arm64 does not, and JavaScript cannot express a barrier that
 * reaches a device: there the C shim has it, and no device opens without it.
 *
 * @module
 */
import { IxlError } from "../errors.ts";
import { native } from "../ffi/native.ts";

/** Whether this processor may reorder loads, and stores, among themselves. */
export const WEAK_ORDER: boolean = Deno.build.arch === "aarch64";

/** Descriptors are written: what follows is the doorbell. */
export function storeBarrier(): void {
  if (WEAK_ORDER) native()!.ixl_store_barrier();
}

/** The device said "done": what follows reads what it wrote before. */
export function loadBarrier(): void {
  if (WEAK_ORDER) native()!.ixl_load_barrier();
}

/**
 * Refuses to use a device where descriptors could reach it in the wrong order. Each isolate that uses one asks, after it
 * has loaded the shim.
 *
 * @param weakOrder Whether the processor may reorder.
 * @param hasShim Whether the C shim is loaded.
 * @throws {IxlError} "not-supported" when the barriers are missing.
 */
export function assertBarriers(
  weakOrder: boolean = WEAK_ORDER,
  hasShim: boolean = native() !== undefined,
): void {
  if (!weakOrder || hasShim) return;
  throw new IxlError(
    "not-supported",
    "on arm64 a device needs the C shim for its memory barriers, and it is not loaded: build it with `deno task native` in a clone, or set IXL_NATIVE to the path or URL of libixl.so (with --allow-env=IXL_NATIVE and --allow-ffi for it)",
  );
}
