/** The examples and commands from start to end, on software cards, judged by tools of others. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { CliProcess, command, lastJson, runCli } from "../support/host/cli.ts";
import { requires } from "../support/runner/requirements.ts";
import { until } from "../support/until.ts";

/** A file that goes away at the end of the block. */
function temporaryFile(suffix: string): Disposable & { path: string } {
  const path = Deno.makeTempFileSync({ prefix: "ixl-", suffix });
  return { path, [Symbol.dispose]: () => Deno.removeSync(path) };
}

const PCAP_HEADER = 24;
const PCAP_RECORD = 16;

interface Forwarded {
  received: number;
  sent: number;
  dropped: number;
  missed: number;
}

requires("tcpdump")(
  "forward carries every frame to the other card",
  async () => {
    using file = temporaryFile(".pcap");
    // Fits the transmit rings of both queues, so that none need be dropped.
    const count = 800;
    const from = `sim:generator?count=${count}`;
    await using process = new CliProcess(
      `forward ${from} sim:sink?out=${file.path} --json --queues 2`.split(" "),
    );
    await process.prints(/forwarding from/);
    const size = PCAP_HEADER + count * (PCAP_RECORD + 60);
    await until(
      "all frames in the sink's file",
      () => Deno.statSync(file.path).size === size,
    );
    process.signal("SIGINT");
    const { code, stdout, stderr } = await process.ended();
    assertEquals(code, 0, stderr);
    const { received, sent, dropped, missed } = lastJson<Forwarded>(stdout);
    assertEquals([received, sent, dropped, missed], [count, count, 0, 0]);
    const text = await command("tcpdump", "-nn", "-e", "-r", file.path);
    assertEquals(text.trimEnd().split("\n").length, count);
  },
);

Deno.test("forward accounts for what it cannot carry", async () => {
  const { code, stdout } = await runCli(
    "forward sim:generator sim:sink --seconds 1 --json".split(" "),
  );
  assertEquals(code, 0);
  const { received, sent, dropped } = lastJson<Forwarded>(stdout);
  assert(received > 10_000, `${received} are too few`);
  assertEquals(received, sent + dropped);
});

requires("tshark")("generate makes sound packets of many flows", async () => {
  using file = temporaryFile(".pcap");
  await using process = new CliProcess(
    `generate sim:sink?out=${file.path} --size 200 --rate 1000 --flows 5`.split(
      " ",
    ),
  );
  await until(
    "some packets in the sink's file",
    () => Deno.statSync(file.path).size > 100 * 216,
  );
  process.signal("SIGTERM");
  assertEquals((await process.ended()).code, 0);
  const rows = await tshark(
    file.path,
    "frame.len",
    "ip.checksum.status",
    "udp.srcport",
  );
  const flows = new Set(rows.map(([, , port]) => port));
  assertEquals([...flows].sort(), ["1024", "1025", "1026", "1027", "1028"]);
  assertEquals(new Set(rows.map(([size]) => size)), new Set(["200"]));
  assertEquals(new Set(rows.map(([, good]) => good)), new Set(["1"]));
});

/** Fields of every frame, as tshark sees them. */
async function tshark(file: string, ...fields: string[]): Promise<string[][]> {
  const text = await command("tshark", ...[
    ...["-n", "-r", file, "-o", "ip.check_checksum:TRUE"],
    ...["-o", "udp.check_checksum:TRUE", "-T", "fields"],
    ...fields.flatMap((field) => ["-e", field]),
  ]);
  return text.trimEnd().split("\n").map((line) => line.split("\t"));
}

requires("tshark")("capture writes what tshark and tcpdump read", async () => {
  using file = temporaryFile(".pcap");
  const from = "sim:generator?count=100&size=300&rate=2000";
  const { code, stdout } = await runCli(
    `capture ${from} ${file.path} --count 100 --json --seconds 60`.split(" "),
  );
  assertEquals(code, 0);
  assertEquals(lastJson<{ frames: number }>(stdout).frames, 100);
  const rows = await tshark(
    file.path,
    "frame.len",
    "frame.cap_len",
    "frame.time_epoch",
  );
  assertEquals(rows.length, 100);
  for (const [size, captured, time] of rows) {
    assertEquals([size, captured], ["300", "300"]);
    assert(Math.abs(Number(time) - Date.now() / 1000) < 120, `time ${time}`);
  }
  const times = rows.map(([, , time]) => Number(time));
  assertEquals(times, times.toSorted((a, b) => a - b));
});

requires("tcpdump")(
  "capture --snaplen keeps only so much of a frame",
  async () => {
    using file = temporaryFile(".pcap");
    const from = "sim:generator?count=10&size=1000&rate=100";
    const { code } = await runCli(
      `capture ${from} ${file.path} --count 10 --snaplen 64 --seconds 60`.split(
        " ",
      ),
    );
    assertEquals(code, 0);
    assertEquals(
      Deno.statSync(file.path).size,
      PCAP_HEADER + 10 * (PCAP_RECORD + 64),
    );
    const text = await command("tcpdump", "-nn", "-e", "-r", file.path);
    assertEquals(text.match(/length 1000:/g)?.length, 10);
  },
);

requires("tshark")("capture takes jumbo frames whole", async () => {
  using file = temporaryFile(".pcap");
  const from = "sim:generator?count=20&size=9000&rate=500";
  await runCli(
    `capture ${from} ${file.path} --count 20 --seconds 60`.split(" "),
  );
  const rows = await tshark(file.path, "frame.cap_len", "udp.checksum.status");
  assertEquals(rows, Array.from({ length: 20 }, () => ["9000", "1"]));
});

Deno.test("info describes a card", async () => {
  const { code, stdout } = await runCli("info sim:loopback --json".split(" "));
  assertEquals(code, 0);
  const { driver, model, ids, link } = JSON.parse(stdout);
  assertEquals({ driver, model, ids, link }, {
    driver: "ixgbe",
    model: "82599",
    ids: "8086:10fb",
    link: { up: true, speed: 10000 },
  });
  const text = await runCli(["info", "sim:loopback?mac=02:00:00:00:00:2a"]);
  assertMatch(text.stdout, /^MAC address +02:00:00:00:00:2a$/m);
  assertMatch(text.stdout, /^link +up, 10000 Mbit\/s$/m);
});

Deno.test("stats shows the counters of the card and of each queue", async () => {
  const address = "sim:generator?count=5000";
  await using process = new CliProcess(
    `stats ${address} --queues 2 --interval 0.1 --json`.split(" "),
  );
  await process.prints(/"rxPackets":5000,/);
  process.signal("SIGINT");
  const { code, stdout } = await process.ended();
  assertEquals(code, 0);
  const { card, queues } = lastJson<{
    card: { rxPackets: number; rxMissed: number };
    queues: { queue: number; rxPackets: number }[];
  }>(stdout);
  assertEquals([card.rxPackets, card.rxMissed], [5000, 0]);
  assert(queues.every(({ rxPackets }) => rxPackets > 0), "both queues work");
  const [first, second] = queues;
  assertEquals(first.rxPackets + second.rxPackets, 5000);
});

Deno.test("stats appends plain lines where there is no terminal", async () => {
  const { code, stdout } = await runCli(
    "stats sim:generator?rate=1000 --interval 0.2 --seconds 1".split(" "),
  );
  assertEquals(code, 0);
  assertMatch(stdout, /^ +received +per second +bytes/);
  // The last look may follow at once on the one before.
  const rates = [...stdout.matchAll(/^card +[\d,]+ +([1-9][\d,]*) /gm)];
  assert(rates.length >= 3, stdout);
  assert(!stdout.includes("\x1b"));
});
