/**
 * The settings that come from environment variables.
 *
 * @module
 */
import { ConfigError } from "./errors.ts";

/** How much is said, from everything to nothing. */
export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;

/** The variables that have a fixed set of values. */
const SETTINGS = {
  IXL_DEBUG: ["0", "1"],
  IXL_HUGEPAGES: ["auto", "never", "require"],
  IXL_LOG: LOG_LEVELS,
} as const;

type Settings = typeof SETTINGS;

/** Reads an environment variable; undefined too when the permission is missing. */
export function readEnv(name: string): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable: name });
  return state === "granted" ? Deno.env.get(name) : undefined;
}

/**
 * The value of a setting; undefined where it is not set, or empty.
 *
 * @throws {ConfigError} when it has another value than those that it may have
 */
export function setting<Name extends keyof Settings>(
  name: Name,
): Settings[Name][number] | undefined {
  const text = readEnv(name);
  if (!text) return undefined;
  const values: readonly Settings[Name][number][] = SETTINGS[name];
  const value = values.find((value) => value === text);
  if (value !== undefined) return value;
  throw new ConfigError(
    name,
    `"${text}" is not one of its values: use ${values.join(", ")}`,
  );
}

/**
 * Checks all settings before a device is opened or a command runs.
 *
 * @throws {ConfigError} for the first one that has a wrong value
 */
export function assertSettings(): void {
  for (const name of Object.keys(SETTINGS)) setting(name as keyof Settings);
}
