/**
 * Builds the optional C shim: `deno task native`.
 *
 * @module
 */

import { fileURLToPath } from "node:url";

const FLAGS = [
  "-std=c11",
  "-O2",
  "-fPIC",
  "-shared",
  "-fvisibility=hidden",
  "-Wall",
  "-Wextra",
  "-Werror",
];

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** Compiles, and prints what the compiler says; false if it is missing or fails. */
async function compile(
  compiler: string,
  source: string,
  target: string,
): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(compiler, {
      args: [...FLAGS, "-o", target, source],
      stdin: "null",
      stdout: "inherit",
      stderr: "inherit",
    }).output();
    return success;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.error(
      `There is no C compiler "${compiler}". Install one (Debian: ` +
        `apt-get install gcc libc6-dev), or name yours in CC.\n` +
        `The shim is optional: everything works without it, a little slower.`,
    );
    return false;
  }
}

async function build(): Promise<boolean> {
  const target = here("build/libixl.so");
  await Deno.mkdir(here("build"), { recursive: true });
  // Renamed into place, because a process that has the old file open would
  // crash if its pages changed under it.
  const scratch = `${target}.${Deno.pid}`;
  try {
    const compiler = Deno.env.get("CC") || "cc";
    if (!await compile(compiler, here("ixl.c"), scratch)) return false;
    await Deno.rename(scratch, target);
  } finally {
    await Deno.remove(scratch).catch(() => {});
  }
  console.log(`Built ${target}`);
  return true;
}

if (import.meta.main && !await build()) Deno.exit(1);
