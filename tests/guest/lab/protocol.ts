/**
 * What the test and the agent in the guest say to each other: JSON, one object
 * a line, over a virtio serial port.
 *
 * @module
 */

/** The port's name in the guest, also in start.sh. */
export const AGENT_PORT = "ixl.agent";

/** How a program is started in the guest. */
export interface ProgramOptions {
  /** More environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Its folder; the checkout unless given. */
  readonly cwd?: string;
}

/** The first request for a program. The test chooses its `id`. */
export interface StartRequest {
  readonly id: number;
  /** The command and its arguments. */
  readonly start: readonly string[];
  readonly options: ProgramOptions;
}

/** From the test to the agent. */
export type Request =
  | StartRequest
  /** Text for its standard input. */
  | { id: number; write: string }
  | { id: number; closeInput: true }
  | { id: number; signal: Deno.Signal };

/** How a program ended. */
export interface Ending {
  /** Its exit code; 128 and the signal's number when a signal ended it. */
  readonly code: number;
  /** The signal that ended it, if one did. */
  readonly signal: string | null;
}

/** From the agent to the test. */
export type Report =
  /** The first, once. */
  | { ready: true }
  | { id: number; stdout: string }
  | { id: number; stderr: string }
  /** The last of a program. */
  | { id: number; ended: Ending }
  /** Instead of all others: it did not start. */
  | { id: number; failed: string };

/** Takes bytes apart into lines, and those into objects. */
export async function* readObjects<T>(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<T> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines.filter(Boolean)) yield JSON.parse(line);
  }
}

/** The bytes of an object's line. */
export function writeObject(object: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${JSON.stringify(object)}\n`);
}

/** Writes all of the bytes. */
export async function writeAll(
  writer: { write(bytes: Uint8Array): Promise<number> },
  bytes: Uint8Array,
): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    at += await writer.write(bytes.subarray(at));
  }
}
