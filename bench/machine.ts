/**
 * The machine that figures were taken on.
 *
 * @module
 */
import { cpus } from "node:os";

/** Processor, cores, Deno and V8, in one line. */
export function describeMachine(): string {
  const processors = cpus();
  const { deno, v8 } = Deno.version;
  const date = new Date().toISOString().slice(0, 10);
  return `${
    processors[0].model
  }, ${processors.length} cores; Deno ${deno}, V8 ${v8}; ${date}`;
}
