/**
 * Worker entry point: one queue pair of each device, handed to the default export of the user's module.
 *
 * @module
 */
import type { WorkerReport, WorkerStart } from "../src/runtime/protocol.ts";
import { runQueueWorker } from "../src/runtime/queue_context.ts";

/** The two ends of a worker that `lib: deno.worker` would declare. */
const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<WorkerStart>) => void) | null;
  postMessage(message: WorkerReport): void;
  close(): void;
};

scope.onmessage = async ({ data }) => {
  scope.onmessage = null;
  await runQueueWorker(data, (message) => scope.postMessage(message));
  scope.close();
};
