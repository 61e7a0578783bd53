/**
 * DPDK's testpmd: the other side of a vhost-user socket, written by others.
 *
 * It takes its commands at a prompt, forwards with one thread that never sleeps, and needs no hugepages.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { until } from "../until.ts";

const TESTPMD = "dpdk-testpmd";
const LOGS = fileURLToPath(new URL("../../out/testpmd/", import.meta.url));
/** Its prompt, after the line of the last command. */
const PROMPT = /\n[^]*testpmd> /;
/** Megabytes that hold {@linkcode PACKETS} and what DPDK needs besides. */
const MEMORY = 64;
const PACKETS = 8192;
const QUIT_TIMEOUT_MS = 5000;

/** What it does with packets. */
export type ForwardMode = "io" | "macswap" | "csum" | "rxonly" | "txonly";

/** How it is started. */
export interface TestpmdOptions {
  /** What its log is named after. */
  readonly name: string;
  /** The device, as `--vdev` takes it. */
  readonly vdev: string;
  /** What it does with packets; "macswap" unless given. */
  readonly mode?: ForwardMode;
  /** Queue pairs, all served by one thread; 1 unless given. */
  readonly queues?: number;
  /** The core of its forwarding thread and its prompt; any unless given. */
  readonly cpu?: number;
  /** Has its memory in hugepages. */
  readonly hugepages?: boolean;
  /** More arguments of testpmd itself, `--txpkts=60`. */
  readonly more?: readonly string[];
  /** Forwards from the start on; true unless given. */
  readonly autoStart?: boolean;
}

/** How a vhost-user backend is started. */
export interface BackendOptions extends Omit<TestpmdOptions, "vdev" | "name"> {
  /** Path of the socket. */
  readonly socket: string;
  /** Connects to a front end that listens, instead of listening. */
  readonly client?: boolean;
  /** More options of the device, `tso=1`. */
  readonly device?: string;
}

/** What its port has counted. Bytes are without the frame check sequence. */
export interface PortStats {
  readonly rxPackets: number;
  readonly rxMissed: number;
  readonly rxBytes: number;
  readonly rxErrors: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txBytes: number;
}

const STATS: Record<keyof PortStats, string> = {
  rxPackets: "RX-packets",
  rxMissed: "RX-missed",
  rxBytes: "RX-bytes",
  rxErrors: "RX-errors",
  txPackets: "TX-packets",
  txErrors: "TX-errors",
  txBytes: "TX-bytes",
};

/** A running testpmd. Disposing of it ends it and writes its log to `tests/out/testpmd`. */
export class Testpmd implements AsyncDisposable {
  /** What it has printed so far. */
  output = "";
  readonly #name: string;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #ended: Promise<void>;
  #running = true;

  private constructor(options: TestpmdOptions) {
    this.#name = options.name;
    this.#child = new Deno.Command("stdbuf", {
      // Its output goes into a pipe, where it would be kept back otherwise.
      args: ["-oL", TESTPMD, ...eal(options), "--", ...application(options)],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#ended = this.#collect();
  }

  /** Starts it; resolves when it forwards, or waits to be told to. */
  static async start(options: TestpmdOptions): Promise<Testpmd> {
    const testpmd = new Testpmd(options);
    try {
      await testpmd.prints(PROMPT, 0);
    } catch (error) {
      await testpmd[Symbol.asyncDispose]();
      throw error;
    }
    return testpmd;
  }

  /** Starts a vhost-user backend; resolves when it listens, or tries to connect. */
  static backend(options: BackendOptions): Promise<Testpmd> {
    const { socket, client = false, device, queues = 1 } = options;
    const name = socket.split("/").at(-1)!;
    // It does not listen where one that was killed has left its socket.
    if (!client && existsSync(socket)) Deno.removeSync(socket);
    const vdev = `net_vhost0,iface=${socket},queues=${queues},client=${
      Number(client)
    }`;
    return Testpmd.start({
      ...options,
      name,
      vdev: device === undefined ? vdev : `${vdev},${device}`,
    });
  }

  /** Its process id. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Gives it a command and returns what it prints. */
  async command(line: string): Promise<string> {
    const from = this.output.length;
    await this.#input.write(new TextEncoder().encode(`${line}\n`));
    await this.prints(PROMPT, from);
    return this.output.slice(from);
  }

  /** Waits until it has printed this, in what came from `from` on. */
  async prints(pattern: RegExp, from: number): Promise<void> {
    const seen = () => pattern.test(this.output.slice(from));
    await until(`${pattern} in the output`, () => seen() || !this.#running);
    if (!seen()) throw new Error(`testpmd ended: ${this.output}`);
  }

  /** Reads the counters of its port. */
  async stats(): Promise<PortStats> {
    const text = await this.command("show port stats 0");
    const read = (title: string) => {
      const value = new RegExp(`${title}:\\s+(\\d+)`).exec(text)?.[1];
      if (value === undefined) throw new Error(`no ${title} in ${text}`);
      return Number(value);
    };
    const entries = Object.entries(STATS).map(([name, title]) => [
      name,
      read(title),
    ]);
    return Object.fromEntries(entries);
  }

  /**
   * Reads the counters once it has counted so many packets as sent: it counts them after the other side has them. Returns
   * what there is after a while.
   */
  async statsFrom(txPackets: number): Promise<PortStats> {
    const deadline = performance.now() + QUIT_TIMEOUT_MS;
    for (;;) {
      const stats = await this.stats();
      const isLate = performance.now() > deadline;
      if (stats.txPackets >= txPackets || isLate) return stats;
    }
  }

  /** Ends it at once, with no chance to clean up. */
  async kill(): Promise<void> {
    if (this.#running) this.#child.kill("SIGKILL");
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const patience = setTimeout(() => void this.kill(), QUIT_TIMEOUT_MS);
    if (this.#running) this.#child.kill("SIGTERM");
    await this.#ended;
    clearTimeout(patience);
  }

  async #collect(): Promise<void> {
    const { status, stdout, stderr } = this.#child;
    await Promise.all([status, this.#take(stdout), this.#take(stderr)]);
    this.#running = false;
    await this.#input.close().catch(() => {});
    Deno.mkdirSync(LOGS, { recursive: true });
    Deno.writeTextFileSync(`${LOGS}${this.#name}.log`, this.output);
  }

  async #take(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    const texts = stream.pipeThrough(new TextDecoderStream());
    for await (const text of texts) this.output += text;
  }
}

/** Arguments of DPDK. */
function eal({ vdev, cpu, hugepages }: TestpmdOptions): string[] {
  const cores = cpu ?? `(0-${navigator.hardwareConcurrency - 1})`;
  const memory = hugepages
    // A front end offers its memory as few files.
    ? ["--in-memory", "--single-file-segments"]
    : ["--no-huge", "--no-shconf"];
  return [
    ...["--lcores", `0@${cores},1@${cores}`],
    ...[...memory, "-m", String(MEMORY), "--iova-mode=va"],
    ...["--no-pci", "--no-telemetry", "--file-prefix", "ixl-tests"],
    ...["--vdev", vdev],
  ];
}

/** Arguments of testpmd. */
function application(options: TestpmdOptions): string[] {
  const { mode = "macswap", queues = 1, more = [], autoStart } = options;
  return [
    "-i",
    ...(autoStart === false ? [] : ["--auto-start"]),
    `--forward-mode=${mode}`,
    `--total-num-mbufs=${PACKETS}`,
    ...[`--rxq=${queues}`, `--txq=${queues}`, "--nb-cores=1"],
    ...more,
  ];
}
