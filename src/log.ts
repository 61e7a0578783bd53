/**
 * Logging: silent but for warnings. `IXL_LOG=debug` shows the bring-up step by step on standard error.
 *
 * @module
 */

import { LOG_LEVELS, readEnv } from "./environment.ts";

/** How much is said: everything from this level up. */
export type LogLevel = typeof LOG_LEVELS[number];

/** A wrong value is refused when a device is opened or a command starts, not here. */
const wanted = LOG_LEVELS.find((level) => level === readEnv("IXL_LOG"));
const threshold: number = LOG_LEVELS.indexOf(wanted ?? "warn");

/** Writes one line to standard error when `level` is enabled; `subject` is a device address or a subsystem. */
export function log(
  level: Exclude<LogLevel, "silent">,
  subject: string,
  message: string,
): void {
  if (LOG_LEVELS.indexOf(level) < threshold) return;
  console.error(`ixl ${level.padEnd(5)} ${subject}: ${message}`);
}

/** True when {@linkcode log} at "debug" prints: for messages that are expensive to make. */
export const debugLogging: boolean = threshold === 0;

/**
 * Does something again and again, without keeping the program alive. What it throws is logged, each message once: an
 * exception in a timer would end the program.
 *
 * @param scope What it is done for, as in {@linkcode log}.
 */
export function repeatedly(
  scope: string,
  action: () => void,
  milliseconds: number,
): ReturnType<typeof setInterval> {
  let last = "";
  const timer = setInterval(() => {
    try {
      action();
    } catch (error) {
      const message = String(error);
      if (message !== last) log("warn", scope, message);
      last = message;
    }
  }, milliseconds);
  Deno.unrefTimer(timer);
  return timer;
}
