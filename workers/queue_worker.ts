/**
 * Worker entry point: one queue pair of each device, handed to the default export of the user's module.
 *
 * @module
 */
import type { WorkerReport, WorkerStart } from "../src/runtime/protocol.ts";
import { runQueueWorker } from "../src/runtime/queue_context.ts";

/** The two ends of a worker that `lib: deno.worker` would declare. */
const scope = globalThis as unknown as {
  onmessage:
    | ((event: MessageEvent<WorkerStart & { life: MessagePort }>) => void)
    | null;
  postMessage(message: WorkerReport): void;
  close(): void;
};

/** Closes with this isolate. Kept here: a port that is collected closes, too. */
let life: MessagePort | undefined;

scope.onmessage = async ({ data: { life: port, ...start } }) => {
  scope.onmessage = null;
  life = port;
  await runQueueWorker(start, (message) => scope.postMessage(message));
  life.postMessage("end");
  scope.close();
};
