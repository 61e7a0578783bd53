/**
 * The guest's end of TCP transfers, one after the other: each line of standard input tells of one, each line of
 * standard output what came of it.
 *
 * @module
 */
import {
  type Noise,
  sendNoise,
  type Taken,
  takeNoise,
} from "../../fixtures/tcp_noise.ts";

/** A transfer. */
export interface Transfer {
  /** Comes back with the answer. */
  readonly id: number;
  /** Whose address to send to, or on which of the guest's to receive. */
  readonly address: string;
  /** How much to send; nothing means to receive. */
  readonly mebibytes?: number;
}

/** What came of it. */
export interface Transferred {
  readonly id: number;
  readonly result: Noise | Taken;
}

let rest = "";
for await (
  const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())
) {
  const lines = (rest + text).split("\n");
  rest = lines.pop()!;
  for (const line of lines) {
    const { id, address, mebibytes }: Transfer = JSON.parse(line);
    const result = mebibytes === undefined
      ? await takeNoise(address)
      : await sendNoise(address, mebibytes);
    const answer: Transferred = { id, result };
    console.log(JSON.stringify(answer));
  }
}
