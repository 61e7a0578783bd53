/**
 * Compares what went into a forwarder with what came out.
 *
 * @module
 */
import { captureRecords } from "../net/capture.ts";

const SHORTEST_FRAME = 60;
const ADDRESSES = 12;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;

/** What differs between two captures. */
export interface PcapDifference {
  /** Frames that came out and did not go in like that. */
  readonly corrupted: number;
  /** Frames that came out behind a later one of their flow. */
  readonly reordered: number;
}

/**
 * Compares two capture files, pcap or pcapng, frame by frame, with the MAC addresses swapped back and short frames
 * padded to the 60 octets that Ethernet carries at least.
 */
export function comparePcaps(inFile: string, outFile: string): PcapDifference {
  const expected = new Map<string, number[]>();
  let position = 0;
  for (const data of framesOf(inFile)) {
    const frame = text(padded(data));
    const positions = expected.get(frame);
    if (positions) positions.push(position);
    else expected.set(frame, [position]);
    position++;
  }
  const lastOfFlow = new Map<string, number>();
  let corrupted = 0;
  let reordered = 0;
  for (const data of framesOf(outFile)) {
    const frame = swapped(data);
    const at = expected.get(text(frame))?.shift();
    if (at === undefined) {
      corrupted++;
      continue;
    }
    const flow = flowOf(frame);
    if (at < (lastOfFlow.get(flow) ?? 0)) reordered++;
    lastOfFlow.set(flow, at);
  }
  return { corrupted, reordered };
}

function* framesOf(file: string): Generator<Uint8Array> {
  const bytes = Deno.readFileSync(file);
  for (const { offset, capturedLength } of captureRecords(bytes)) {
    yield bytes.subarray(offset, offset + capturedLength);
  }
}

function padded(frame: Uint8Array): Uint8Array {
  if (frame.length >= SHORTEST_FRAME) return frame;
  const whole = new Uint8Array(SHORTEST_FRAME);
  whole.set(frame);
  return whole;
}

function swapped(frame: Uint8Array): Uint8Array {
  const copy = frame.slice();
  copy.set(frame.subarray(6, ADDRESSES), 0);
  copy.set(frame.subarray(0, 6), 6);
  return copy;
}

/** What RSS looks at: addresses, protocol and ports; everything else is one flow per EtherType. */
function flowOf(frame: Uint8Array): string {
  const type = (frame[ADDRESSES] << 8) | frame[ADDRESSES + 1];
  const network = ADDRESSES + 2;
  if (type === ETHERTYPE_IPV4) {
    const options = (frame[network] & 0xf) * 4;
    const ports = frame.subarray(network + options, network + options + 4);
    return text(frame.subarray(network + 9, network + 20)) + text(ports);
  }
  if (type === ETHERTYPE_IPV6) {
    return text(frame.subarray(network + 6, network + 44));
  }
  return String(type);
}

const latin1 = new TextDecoder("latin1");

function text(bytes: Uint8Array): string {
  return latin1.decode(bytes);
}
