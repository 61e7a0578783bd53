/** Backends that answer at random, each seed the same way each time. */

import { assert, assertInstanceOf } from "@std/assert";
import {
  HeaderFlag,
  ProtocolFeature,
  requestName,
} from "../../../../src/bus/vhost_user/protocol.ts";
import { IxlError, NotSupportedError } from "../../../../src/errors.ts";
import { bringUp, withServer } from "../../../support/vhost/front_end.ts";
import { repetitions, seedsAfter } from "../../../support/runner/repeat.ts";
import {
  type Answer,
  type BackendPlan,
  message,
  PLAIN,
  reply,
  REQUEST,
  wordBytes,
} from "../../../support/vhost/backend.ts";

const SEEDS = repetitions("hostile", { gate: 16, soak: 80 });
const BEFORE = seedsAfter("hostile");
/** Short: some backends never answer. */
const REPLY_TIMEOUT_MS = 50;
/** Standard error and the like: descriptors that a backend may send. */
const A_DESCRIPTOR = 2;
const EVERY_PROTOCOL_FEATURE = Object.values(ProtocolFeature).reduce((a, b) =>
  a | b
);

type Random = (below: number) => number;

/** The same numbers for the same seed, everywhere. */
function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * below);
  };
}

function randomWord(random: Random): bigint {
  const half = () => BigInt(random(2 ** 32));
  const words = [0n, 1n, (1n << 64n) - 1n, 1n << BigInt(random(64))];
  return words[random(5)] ?? half() << 32n | half();
}

function randomBytes(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random(256));
}

/** Bytes that are near to a reply, or far from it. */
function randomReply(random: Random, id: number): Uint8Array {
  const { VERSION, REPLY } = HeaderFlag;
  const word = wordBytes(randomWord(random));
  switch (random(8)) {
    case 0:
      return randomBytes(random, 1 + random(64));
    case 1:
      return reply(id, word.slice(random(8)));
    case 2:
      return reply(id, randomBytes(random, random(6000)));
    case 3:
      return reply(random(64), word);
    case 4:
      return reply(id, word, random(2 ** 32));
    case 5:
      return message([id, VERSION | REPLY, random(2 ** 32)], word);
    case 6:
      return new Uint8Array([...reply(id, word), ...reply(id, word)]);
    default:
      return reply(id, word).slice(0, 1 + random(19));
  }
}

/** A backend that answers properly most of the time. */
function randomPlan(random: Random): BackendPlan {
  const answer = (name: string): Answer => {
    const id = Object.values(REQUEST).find((id) => requestName(id) === name)!;
    switch (random(40)) {
      case 0:
        return { kind: "silence" };
      case 1:
        return { kind: "close" };
      case 2:
        return { kind: "word", word: randomWord(random) };
      case 3:
        return {
          kind: "bytes",
          bytes: randomReply(random, id),
          fds: Array(random(4)).fill(A_DESCRIPTOR),
          close: random(2) === 0,
        };
      default:
        return { kind: "proper" };
    }
  };
  return {
    features: PLAIN.features | randomWord(random),
    protocol: random(2) === 0 ? EVERY_PROTOCOL_FEATURE : randomWord(random),
    pairs: random(4) === 0 ? randomWord(random) : 1n,
    slots: random(4) === 0 ? randomWord(random) : 8n,
    config: randomBytes(random, 24),
    answer,
  };
}

let failures = 0;

Deno.test("no answer of a backend does more than end the connection", async (t) => {
  for (let seed = BEFORE + 1; seed <= BEFORE + SEEDS; seed++) {
    await t.step(
      `seed ${seed}`,
      () =>
        withServer([randomPlan(randomFrom(seed))], async (rig) => {
          const { transport } = rig;
          for (let round = 0; round < 3; round++) {
            try {
              await bringUp(rig);
              await transport.shutDown();
            } catch (error) {
              failures++;
              assertInstanceOf(error, IxlError);
              // Whatever it was, another backend is waited for; or this one offers too little.
              assert(
                transport.needsReset || error instanceof NotSupportedError ||
                  error.code === "device-fault" ||
                  error.code === "device-not-found",
                `${error.code}: ${error.message}`,
              );
            }
          }
        }, { options: "timeout=200", replyTimeoutMs: REPLY_TIMEOUT_MS }),
    );
  }
  assert(failures > SEEDS / 3, `only ${failures} attempts failed`);
});
