/**
 * Worker entry point: the software cards.
 *
 * @module
 */
import type { SimStart } from "../src/bus/sim/protocol.ts";
import { serve } from "../src/bus/sim/server.ts";

/** The two ends of a worker that `lib: deno.worker` would declare. */
const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<SimStart>) => void) | null;
  postMessage(message: string): void;
  close(): void;
};

scope.onmessage = async ({ data }) => {
  scope.postMessage("ready");
  await serve(data);
  scope.postMessage("ended");
  scope.close();
};
