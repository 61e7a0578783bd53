/**
 * What happens to frames in a guest: they come back as they are, or a frame comes back that describes them.
 *
 * @module
 */
import { Batch, Mempool, Packet, type QueueContext } from "../../../mod.ts";

/** "echo": sends every frame back. "describe": sends a {@linkcode Description} of it. "drop": neither. */
export type Role = "echo" | "describe" | "drop";

/** What a queue knows of a frame it received. */
export interface Description {
  /** Which queue it came in on. */
  readonly queue: number;
  /** Bytes of all segments. */
  readonly length: number;
  /** Number of segments. */
  readonly segments: number;
  /** Bits of `PacketFlag`. */
  readonly flags: number;
  /** The hash, if there is one. */
  readonly rssHash: number;
  /** The tag, if one was taken out. */
  readonly vlanTag: number;
  /** The first bytes, in hex. */
  readonly head: string;
}

/** Ethertype of descriptions: for local experiments. */
const ETHERTYPE = [0x88, 0xb5];
const HEADER_BYTES = 14;
const HEAD_BYTES = 64;

/** Reads the description in a frame. */
export function readDescription(frame: Uint8Array): Description {
  const text = new TextDecoder().decode(frame.subarray(HEADER_BYTES));
  return JSON.parse(text.slice(0, text.indexOf("}") + 1));
}

/** True for a frame that is a description. */
export function isDescription(frame: Uint8Array): boolean {
  return frame[12] === ETHERTYPE[0] && frame[13] === ETHERTYPE[1];
}

function describe(queue: number, packet: Packet): Description {
  let segments = 1;
  let { handle } = packet;
  const head = packet.bytes().slice(0, HEAD_BYTES).toHex();
  const description = {
    queue,
    length: packet.totalLength,
    flags: packet.flags,
    rssHash: packet.rssHash,
    vlanTag: packet.vlanTag,
    head,
  };
  for (; (handle = nextOf(handle)) !== 0;) segments++;
  return { ...description, segments };
}

function nextOf(handle: number): number {
  const pool = Mempool.of(handle);
  return pool.nextSegments[pool.index(handle)];
}

function write(packet: Packet, description: Description): void {
  const frame = [
    ...new Array(6).fill(0xff),
    ...[2, 0, 0, 0, 0, 1],
    ...ETHERTYPE,
    ...new TextEncoder().encode(JSON.stringify(description)),
  ];
  packet.write(Uint8Array.from(frame));
}

/** Replaces each packet by one that describes it. */
function describeAll(queue: QueueContext, batch: Batch): void {
  const packet = new Packet();
  for (let i = 0; i < batch.length; i++) {
    const description = describe(queue.queue, packet.at(batch.handles[i]));
    packet.free();
    batch.handles[i] = queue.pool.allocate();
    write(packet.at(batch.handles[i]), description);
  }
}

export default function answer(queue: QueueContext): void {
  const { role } = queue.args as { role: Role };
  const batch = new Batch(32);
  while (!queue.stopped) {
    queue.rx.receive(batch);
    if (role === "describe") describeAll(queue, batch);
    if (role === "drop") batch.free();
    else queue.sendAll(queue.tx, batch);
  }
}
