/**
 * The machine that figures were taken on.
 *
 * @module
 */
import { cpus, loadavg } from "node:os";

/** Processor, cores, load, Deno and V8, in one line. */
export function describeMachine(): string {
  const processors = cpus();
  const { deno, v8 } = Deno.version;
  const date = new Date().toISOString().slice(0, 10);
  return `${processors[0].model}, ${processors.length} cores, load ${
    loadavg()[0].toFixed(1)
  }; Deno ${deno}, V8 ${v8}; ${date}`;
}
