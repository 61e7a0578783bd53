/**
 * The optional C shim: barriers that reach a device, and a `poll` that returns -errno.
 *
 * Built by `deno task native`, or named by `IXL_NATIVE`: a path, or a URL that is fetched once and cached.
 * On x86-64 nothing needs it. On arm64 every device needs it.
 *
 * @module
 */
import { IxlError } from "../errors.ts";
import { readEnv } from "../environment.ts";
import { log } from "../log.ts";

const SYMBOLS = {
  ixl_version: { parameters: [], result: "u32" },
  ixl_store_barrier: { parameters: [], result: "void" },
  ixl_load_barrier: { parameters: [], result: "void" },
  ixl_poll: { parameters: ["buffer", "usize", "i32"], result: "i64" },
} as const;

/** The shim's functions. */
export type Native = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** The version of the shim that this code calls. */
const ABI_VERSION = 1;
const BUILT = new URL("../../native/build/libixl.so", import.meta.url);

let loaded: Native | undefined;

/** The shim, where it was loaded in this isolate. */
export function native(): Native | undefined {
  return loaded;
}

/**
 * Loads the shim into this isolate when there is one; `IXL_NATIVE=never` does without.
 * @throws {IxlError} when `IXL_NATIVE` names one that cannot be used.
 */
export async function loadNative(): Promise<void> {
  const wanted = readEnv("IXL_NATIVE");
  if (loaded || wanted === "never") return;
  if (wanted === undefined) return loadBuilt();
  try {
    loaded = wanted.includes("://")
      ? await fetchShim(wanted)
      : Deno.dlopen(wanted, SYMBOLS).symbols;
  } catch (error) {
    throw new IxlError(
      "system",
      `IXL_NATIVE=${wanted} cannot be loaded: build it with \`deno task native\`, or unset IXL_NATIVE`,
      { cause: error },
    );
  }
  assertVersion(loaded);
}

/**
 * Loaded only here: a program that imports a clone by path, without the clone's configuration, does not find this package
 * and does not need it.
 */
async function fetchShim(url: string): Promise<Native> {
  const { dlopen } = await import("@denosaurs/plug");
  return (await dlopen({ name: "ixl", url }, SYMBOLS)).symbols;
}

/** The build in this checkout; when it is missing, stale or not allowed, the library does without. */
function loadBuilt(): void {
  if (BUILT.protocol !== "file:") return;
  try {
    const built = Deno.dlopen(BUILT, SYMBOLS).symbols;
    assertVersion(built);
    loaded = built;
  } catch (error) {
    log("debug", "native", `without the shim: ${error}`);
  }
}

function assertVersion(symbols: Native): void {
  const version = symbols.ixl_version();
  if (version === ABI_VERSION) return;
  throw new IxlError(
    "system",
    `the C shim has version ${version}, not ${ABI_VERSION}: build it again with \`deno task native\``,
  );
}
