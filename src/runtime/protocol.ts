/**
 * Messages between the main isolate and queue workers. None is sent while packets flow, but for asking for memory.
 *
 * @module
 */
import type { QueueDescription } from "../device_api.ts";
import type { MempoolDescription } from "../memory/mempool.ts";

/** What a queue worker is given when it starts. */
export interface WorkerStart {
  /** The user's module, whose default export is called. */
  readonly module: string;
  /** Number of the queue pair on every device. */
  readonly queue: number;
  /** The queue pair of each device. */
  readonly ports: readonly QueueDescription[];
  /** For each device that cannot send the packets of all others from where they are: where copies go. */
  readonly copyPools: readonly (MempoolDescription | undefined)[];
  /** Core to run on; -1 for any. */
  readonly cpu: number;
  /** Handed through to the user's function. */
  readonly args: unknown;
}

/** What a queue worker says. */
export type WorkerReport =
  /** It runs. */
  | { readonly type: "started" }
  /** The user's function returned: nothing of the queue is touched any more. */
  | { readonly type: "ended" }
  /** The user's function threw. */
  | {
    readonly type: "failed";
    readonly message: string;
    readonly stack: string;
  }
  /** A pool wants memory for this many entries. */
  | {
    readonly type: "grow";
    readonly pool: number;
    readonly entries: number;
  };
