/**
 * The order in which a device and this processor see each other's stores. Called once per batch.
 *
 * x86-64 keeps the order of stores, and that of loads. arm64 does not, and JavaScript cannot express a barrier that
 * reaches a device: there the C shim gives it.
 *
 * @module
 */
import { native } from "../ffi/native.ts";

/** Whether this processor may reorder loads, and stores, among themselves. */
export const WEAK_ORDER: boolean = Deno.build.arch === "aarch64";

/** Descriptors are written: what follows is the doorbell. */
export function storeBarrier(): void {
  if (WEAK_ORDER) native()?.ixl_store_barrier();
}

/** The device said "done": what follows reads what it wrote before. */
export function loadBarrier(): void {
  if (WEAK_ORDER) native()?.ixl_load_barrier();
}
