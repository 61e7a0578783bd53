/** Every command says where every frame went, over frames that a card does not deliver. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { REASONS } from "../../examples/_accounts.ts";
import {
  decodePcapHeader,
  encodePcapHeader,
  encodePcapRecord,
} from "../../src/net/mod.ts";
import { CliProcess, lastJson, runCli } from "../support/host/cli.ts";

const STATION = [2, 0, 0, 0, 0, 0x2a];
const OTHER = [2, 0, 0, 0, 0, 0x77];
const GROUP = [1, 0, 0x5e, 0, 0, 1];
const CONTROL = [1, 0x80, 0xc2, 0, 0, 1];
const GOOD = 20;

/** What a command says of its frames. */
type Books = Record<string, number>;

function frame(to: number[], length = 60): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes.set([...to, 2, 0, 0, 0, 0, 9, 0x88, 0xb5]);
  return bytes;
}

/** Frames of which a card keeps some to itself, some pass no filter, and some are longer than it may take. */
function awkward(): Uint8Array[] {
  const pause = frame(CONTROL);
  pause.set([0x88, 0x08, 0, 1], 12);
  return [
    ...Array.from({ length: GOOD }, () => frame(STATION)),
    ...[frame(STATION, 1514), frame(STATION, 1600), frame(STATION, 10_000)],
    ...[frame(OTHER), frame(OTHER), frame(GROUP), pause],
  ];
}

/** A capture of them, and a folder that goes away at the end of the block. */
function captureFile(frames: readonly Uint8Array[]) {
  const folder = Deno.makeTempDirSync({ prefix: "ixl-" });
  const header = encodePcapHeader();
  const pcap = decodePcapHeader(header);
  const bytes = new Uint8Array(
    frames.reduce((sum, { length }) => sum + 16 + length, header.length),
  );
  bytes.set(header);
  let at = header.length;
  for (const data of frames) {
    const capturedLength = data.length;
    const record = { seconds: 1, nanoseconds: 0, capturedLength };
    at = encodePcapRecord(pcap, bytes, at, record);
    bytes.set(data, at);
    at += data.length;
  }
  const path = `${folder}/in.pcap`;
  Deno.writeFileSync(path, bytes);
  return {
    ...{ folder, path },
    [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }),
  };
}

/** That each frame is delivered or in exactly one counter with a name. */
function assertBalanced(books: Books, delivered = books.delivered): void {
  const counted = Object.keys(REASONS).reduce(
    (sum, reason) => sum + (books[reason] ?? 0),
    0,
  );
  assertEquals(books.seen, delivered + counted, JSON.stringify(books));
  assertEquals(books.notDelivered, counted);
  assertEquals(books.unaccounted, 0, JSON.stringify(books));
}

const CAME = awkward().length;

Deno.test("forward says where every frame of an awkward capture went", async () => {
  using file = captureFile(awkward());
  const { path, folder } = file;
  const command = [
    "forward",
    `sim:pcap?in=${path}`,
    `sim:pcap?out=${folder}/o`,
  ];
  const args = [...command, "--seconds", "1"];
  const [{ code, stdout, stderr }, shown] = await Promise.all([
    runCli([...args, "--json"]),
    runCli([...args.slice(0, 2), "sim:pcap", ...args.slice(3)]),
  ]);
  assertEquals(code, 0, stderr);
  const books = lastJson<Books>(stdout);
  assertBalanced(books);
  // It receives promiscuously.
  const { seen, tooLong, control, filtered, missed } = books;
  assertEquals([seen, tooLong, control, filtered], [CAME, 2, 1, 0]);
  assertEquals([books.delivered, missed], [CAME - 3, 0]);
  assertMatch(
    shown.stdout.trimEnd().split("\n").at(-1)!,
    /^not delivered: 3 of 27 frames: 2 too long, 1 kept by the MAC/,
  );
  // A live line, before the end.
  assertMatch(shown.stderr, /received 24, sent 24/);
});

Deno.test("bridge says where every frame went, on both ways", async () => {
  using file = captureFile(awkward());
  const { path, folder } = file;
  const args = [
    "bridge",
    `sim:pcap?in=${path}&out=${folder}/o`,
    "sim:loopback",
  ];
  const { code, stdout, stderr } = await runCli([
    ...[...args, "--seconds", "1", "--json"],
  ]);
  assertEquals(code, 0, stderr);
  const { ways, toRight, toLeft, notDelivered } = lastJson<
    Record<"toRight" | "toLeft" | "notDelivered", number> & {
      ways: Record<
        "toRight" | "toLeft",
        { seen: number; delivered: number; undelivered: Books }
      >;
    }
  >(stdout);
  let sum = 0;
  for (const { seen, delivered, undelivered } of Object.values(ways)) {
    const lost = Object.values(undelivered).reduce((sum, n) => sum + n, 0);
    assertBalanced({ seen, delivered, ...undelivered, notDelivered: lost });
    sum += lost;
  }
  assertEquals([toRight, toLeft, notDelivered], [CAME - 3, CAME - 3, sum]);
  assertEquals([ways.toRight.seen, ways.toLeft.seen], [CAME, CAME - 3]);
});

Deno.test("capture says where every frame went, those beyond --count too", async () => {
  using file = captureFile(awkward());
  const { path, folder } = file;
  const args = ["capture", `sim:pcap?in=${path}`, `${folder}/o`, "--json"];
  for (const limit of [["--seconds", "1"], ["--count", "5"]]) {
    const { code, stdout, stderr } = await runCli([...args, ...limit]);
    assertEquals(code, 0, stderr);
    const books = lastJson<Books>(stdout);
    assertBalanced(books, books.frames);
    if (limit[0] === "--count") assertEquals(books.frames, 5);
    // Its largest frame is a jumbo frame.
    else assertEquals([books.frames, books.tooLong], [CAME - 2, 1]);
  }
});

Deno.test("responder says what it ignored, and what the card's filters kept out", async () => {
  using file = captureFile(awkward());
  const address = `sim:pcap?in=${file.path}&mac=02:00:00:00:00:2a`;
  const args = ["responder", address, "--ip", "10.0.0.1", "--seconds", "1"];
  const [{ code, stdout, stderr }, shown] = await Promise.all([
    runCli([...args, "--json"]),
    runCli(args),
  ]);
  assertEquals(code, 0, stderr);
  const books = lastJson<Books & { ignored: Record<string, number> }>(stdout);
  assertBalanced(books as Books, books.ignored.otherProtocol);
  assertEquals(books.ignored.otherProtocol, GOOD + 1);
  const { filtered, tooLong, control } = books as Books;
  assertEquals([filtered, tooLong, control], [3, 2, 1]);
  assertMatch(
    shown.stdout.trimEnd().split("\n").at(-1)!,
    /^not delivered: 6 of 27 frames: .*3 filtered/,
  );
});

Deno.test("forward stopped in mid-traffic on several queues accounts for what was under way", async () => {
  await using process = new CliProcess(
    "forward sim:generator?rate=2000000 sim:sink --queues 3 --json".split(" "),
  );
  await process.prints(/received [\d,]{5}/);
  process.signal("SIGINT");
  const { code, stdout, stderr } = await process.ended();
  assertEquals(code, 0, stderr);
  const books = lastJson<Books & { checked: Books }>(stdout);
  assertBalanced(books as Books);
  const { received, corrupted, reordered, foreign } = books.checked;
  assertEquals(received, (books as Books).delivered);
  assertEquals([corrupted, reordered, foreign], [0, 0, 0]);
});

Deno.test("forward and generate print what the sink checked", async () => {
  const [forward, wrong, generate] = await Promise.all([
    "forward sim:generator?count=100 sim:sink --seconds 1",
    "forward sim:generator?count=100&seed=7 sim:sink --seconds 1",
    "generate sim:sink --seconds 1",
  ].map((line) => runCli(line.split(" "))));
  assertMatch(forward.stdout, /the sink checked 100 frames: every byte/);
  assertMatch(forward.stdout, /\nall 100 frames were delivered\n$/);
  assertMatch(
    wrong.stdout,
    /the sink checked 0 frames: nothing to check; 100 not of its generator/,
  );
  assertMatch(generate.stdout, /[\d,]+ not of its generator/);
  assertMatch(generate.stdout, /\nall [\d,]+ frames were delivered\n$/);
});

Deno.test("generate accounts for its frames, and for those that arrive", async () => {
  await using process = new CliProcess(
    "generate sim:loopback --queues 2 --json".split(" "),
  );
  await process.prints(/"packets"/);
  process.signal("SIGTERM");
  const { code, stdout } = await process.ended();
  assertEquals(code, 0);
  const books = lastJson<Books>(stdout);
  assertBalanced(books);
  assert(books.delivered > 0);
});

Deno.test("frames into a cable that is not connected are counted as such", async () => {
  await using process = new CliProcess([
    ...["forward", "sim:generator?count=100", "sim:pair/lonely", "--json"],
  ]);
  await process.prints(/forwarding from/);
  process.signal("SIGINT");
  const { code, stdout } = await process.ended();
  assertEquals(code, 0);
  const books = lastJson<Books>(stdout);
  assertBalanced(books, 0);
  assert(books.unconnected > 0);
});
