/**
 * Control messages between the main isolate and the software card's worker. Registers do not go this way.
 *
 * @module
 */
import type { Violation } from "../../sim/violations.ts";
import type { SimSpec } from "./address.ts";

/** What the worker is given when it starts. */
export interface SimStart {
  /** Its end of the control channel. */
  readonly port: MessagePort;
  /** The shared words. */
  readonly world: SharedArrayBuffer;
  /** Eventfd that wakes it. */
  readonly doorbellFd: number;
}

/** A request; each is answered by one {@linkcode SimReply}. */
export type SimRequest =
  | {
    readonly op: "open";
    readonly card: number;
    readonly spec: SimSpec;
    readonly counters: SharedArrayBuffer;
  }
  | { readonly op: "close"; readonly card: number }
  | {
    readonly op: "channel";
    readonly card: number;
    readonly channel: SharedArrayBuffer;
  }
  | {
    readonly op: "map";
    readonly iova: bigint;
    readonly buffer: SharedArrayBuffer;
    readonly byteOffset: number;
    readonly length: number;
  }
  | { readonly op: "unmap"; readonly iova: bigint; readonly length: number }
  | {
    readonly op: "route";
    readonly card: number;
    readonly fds: readonly number[];
  }
  | { readonly op: "reset"; readonly card: number }
  | { readonly op: "link"; readonly card: number; readonly up: boolean }
  | { readonly op: "violations"; readonly card: number }
  | { readonly op: "end" };

/** An answer: what was asked for, or why it failed. */
export type SimReply =
  | { readonly ok: true; readonly violations?: readonly Violation[] }
  | { readonly ok: false; readonly code: string; readonly message: string };
