/**
 * Order between memory and a device's registers.
 *
 * x86-64 keeps stores in order and loads in order: nothing to do. arm64 does not, and JavaScript cannot say it:
 * the C shim does.
 *
 * @module
 */
import { native } from "../ffi/native.ts";

const STRONGLY_ORDERED: boolean = Deno.build.arch === "x86_64";

/** Descriptors written before it are visible to the device before a doorbell rung after it. Once per batch. */
export function storeBarrier(): void {
  if (STRONGLY_ORDERED) return;
  native()?.ixl_store_barrier();
}

/** A descriptor's "done" seen before it means that the rest read after it is what the device wrote. Once per batch. */
export function loadBarrier(): void {
  if (STRONGLY_ORDERED) return;
  native()?.ixl_load_barrier();
}
