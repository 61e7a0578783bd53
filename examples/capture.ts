/**
 * Writes what a card receives to a file that Wireshark, tshark and tcpdump read.
 *
 *     deno run -P=demo examples/capture.ts sim:generator?rate=1000 out.pcap --count 100
 *
 * One queue, no worker: the loop over `rx` sleeps on the card's interrupt without blocking the program.
 *
 * @module
 */
import { type Batch, Mempool, openDevice } from "../mod.ts";
import {
  CaptureClock,
  CaptureOutput,
  CaptureWriteError,
  encodePcapHeader,
  openCaptureToWrite,
  PCAP_RECORD_LENGTH,
} from "../src/net/mod.ts";
import {
  account,
  closeBooks,
  lastLine,
  received,
  total,
  whenPlayed,
} from "./_accounts.ts";
import { exitCode } from "./_ending.ts";
import { parse, stopAfter } from "./_shared.ts";

const HELP = `Usage: ixl capture ADDRESS FILE [options]

Writes every frame that the card receives to FILE, in pcap format; - is standard
output. Ends by itself when a software card has no more frames to give.

  --count N    end after N frames (default: no limit)
  --seconds N  end after N seconds; 0 for on a signal (default 0)
  --snaplen N  bytes to keep of each frame (default 65535)
  --json       print the summary as one object
  --help       print this`;

const MAX_FRAME = 9018;

const STANDARD_OUTPUT = "-";

/** Encodes batches of packets and appends them to a file. */
class PcapWriter {
  frames = 0;
  readonly #clock = new CaptureClock();
  readonly #bytes = new Uint8Array(1 << 20);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(readonly output: CaptureOutput, readonly snaplen: number) {}

  /** Writes what comes before the first frame. */
  writeHeader(): void {
    this.output.append(encodePcapHeader({ snapLength: this.snaplen }));
  }

  /** Writes the first `count` packets, all with the time of now. */
  write(batch: Batch, count: number): void {
    const now = this.#clock.now();
    let end = 0;
    for (let i = 0; i < count; i++) end = this.#add(batch.handles[i], end, now);
    this.output.append(this.#bytes.subarray(0, end));
    this.frames += count;
  }

  /** A frame longer than a packet buffer comes as a chain of them. */
  #add(handle: number, record: number, now: number): number {
    const bytes = this.#bytes;
    let at = record + PCAP_RECORD_LENGTH;
    const limit = at + this.snaplen;
    let original = 0;
    for (let segment = handle; segment !== 0;) {
      const pool = Mempool.of(segment);
      const index = pool.index(segment);
      const length = pool.lengths[index];
      const { u8 } = pool;
      const from = pool.offset(segment);
      for (let i = 0; i < length && at < limit; i++) bytes[at++] = u8[from + i];
      original += length;
      segment = pool.nextSegments[index];
    }
    this.#view.setUint32(record, now / 1000, true);
    this.#view.setUint32(record + 4, now % 1000 * 1000, true);
    this.#view.setUint32(record + 8, at - record - PCAP_RECORD_LENGTH, true);
    this.#view.setUint32(record + 12, original, true);
    return at;
  }
}

/** Opens the file and the card, and writes until the end. */
export async function main(args: readonly string[]): Promise<number> {
  const given = parse(args, HELP, ["ADDRESS", "FILE"], {
    count: [Infinity, 1, 1e12],
    seconds: [0, 0, 1e6],
    snaplen: [65535, 14, 65535],
  });
  if (!given) return 0;
  const { words: [address, path], count, snaplen, card } = given;

  await using device = await openDevice({
    address,
    ...card,
    promiscuous: true,
    maxFrameSize: MAX_FRAME,
  });
  const isPiped = path === STANDARD_OUTPUT;
  // Standard output is for the capture alone.
  const say = isPiped ? console.error : console.log;
  using file = isPiped ? undefined : openCaptureToWrite(path);
  const name = isPiped ? "standard output" : path;
  const output = new CaptureOutput(file ?? Deno.stdout, name);
  const writer = new PcapWriter(output, snaplen);
  using _end = stopAfter(given.seconds, () => device.stopQueue(0));
  console.error(`capturing from ${address} to ${name}, Ctrl-C ends it`);
  const { rx } = device.queue(0);
  using _played = whenPlayed(device, rx, () => device.stopQueue(0));
  let failure: CaptureWriteError | undefined;
  try {
    writer.writeHeader();
    for await (const batch of rx) {
      try {
        writer.write(batch, Math.min(batch.length, count - writer.frames));
      } finally {
        batch.free();
      }
      if (writer.frames === count) break;
    }
  } catch (error) {
    if (!(error instanceof CaptureWriteError)) throw error;
    failure = error;
  }

  closeBooks(device);
  const { frames } = writer;
  const came = received(device, rx.counters.snapshot());
  const books = account(came.seen, frames, {
    ...came.undelivered,
    dropped: came.delivered - frames,
  });
  const { seen, undelivered } = books;
  if (given.json) {
    say(JSON.stringify({
      ...{ file: path, frames, seen, ...undelivered },
      notDelivered: total(undelivered),
    }));
  } else {
    say(`wrote ${frames} frames to ${name}`);
    say(lastLine(books));
  }
  if (failure === undefined) return 0;
  console.error(`ixl: ${failure.message}`);
  return 1;
}

if (import.meta.main) Deno.exit(await exitCode(() => main(Deno.args)));
