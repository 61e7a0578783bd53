/**
 * A guest: Linux in QEMU with the host's files, its programs and its cards.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { FramePort } from "./frame_port.ts";
import { initramfs } from "./initramfs.ts";
import { type Lab, loadLab, ROOT } from "./lab.ts";
import {
  deviceOf,
  isServed,
  machineArguments,
  type MachineDescription,
  type NicFiles,
  type NicPlace,
  placeNics,
} from "./machine.ts";
import { loadNewerQemu } from "./newer_qemu.ts";
import { Nic } from "./nic.ts";
import { type Outcome, Program } from "./program.ts";
import {
  type ProgramOptions,
  readObjects,
  type Report,
  type Request,
  writeObject,
} from "./protocol.ts";
import { QEMU, QemuProcess } from "./qemu.ts";
import { Qmp } from "./qmp.ts";
import { ServedCard } from "./served_card.ts";
import { QemuSocket } from "./socket.ts";

/** How a program is run to its end. */
export interface RunOptions extends ProgramOptions {
  /** Kills it after that; 60 s by default. */
  readonly timeoutMs?: number;
}

/** What a program is asked, by its id. */
type Asked = Request extends infer R ? R extends { id: number } ? Omit<R, "id">
  : never
  : never;

/** A boot takes 7 s on an idle machine, three times as long on a busy one. */
const BOOT_TIMEOUT_MS = 60_000;
/** Nothing of ours runs at boot: what fails there is QEMU or a busy machine. */
const BOOT_ATTEMPTS = 2;
const QUIT_TIMEOUT_MS = 10_000;
const CONSOLE_LINES_IN_ERRORS = 40;

/** Files and sockets of one guest. */
interface Workplace {
  /** Kept: tests/out/guest/NAME. */
  readonly logs: string;
  /** QEMU's as long as it runs, and short: a socket's path has up to 107 bytes. */
  readonly scratch: string;
}

function makeWorkplace(name: string): Workplace {
  const logs = `${ROOT}/tests/out/guest/${name}`;
  if (existsSync(logs)) Deno.removeSync(logs, { recursive: true });
  Deno.mkdirSync(logs, { recursive: true });
  return { logs, scratch: Deno.makeTempDirSync({ prefix: "ixl-guest-" }) };
}

/** A running guest. Disposing of it ends it. */
export class Guest implements AsyncDisposable {
  /** Its cards, in the order of the description. */
  readonly nics: readonly Nic[];
  /** Its QEMU. */
  readonly qmp: Qmp;
  readonly #work: Workplace;
  readonly #ports: FramePort[];
  readonly #agent: QemuSocket;
  readonly #served: readonly ServedCard[];
  readonly #startQemu: () => QemuProcess;
  #qemu: QemuProcess | undefined;
  readonly #programs = new Map<number, Program>();
  readonly #ready = Promise.withResolvers<void>();
  #nextProgram = 1;
  #faultsSeen = 0;
  #failure: Error | undefined;

  private constructor(machine: MachineDescription, lab: Lab) {
    const work = makeWorkplace(machine.name);
    const { scratch, logs } = work;
    this.#work = work;
    this.qmp = new Qmp(`${scratch}/qmp`);
    this.#agent = new QemuSocket(`${scratch}/agent`);
    const places = placeNics(machine.nics ?? []);
    const captureOf = ({ id, description }: NicPlace) =>
      description.capture ? `${logs}/${id}.pcap` : undefined;
    this.#ports = places.flatMap((place) => {
      const { id, description } = place;
      if (description.tap !== undefined) return [];
      // QEMU captures what passes the cables that it knows.
      const own = isServed(description.model) ? captureOf(place) : undefined;
      return new FramePort(`${scratch}/${id}`, own);
    });
    const portOf = ({ id }: NicPlace) =>
      this.#ports.find(({ path }) => path === `${scratch}/${id}`);
    const files = places.map((place) => ({
      socket: portOf(place)?.path,
      capture: captureOf(place),
      served: isServed(place.description.model)
        ? `${scratch}/${place.id}.card`
        : undefined,
    }));
    const served = places.map((place, index) =>
      this.#serve(place, files[index])
    );
    this.#served = served.filter((card) => card !== undefined);
    this.nics = places.map((place, index) =>
      new Nic(place, this.qmp, {
        port: portOf(place),
        capture: files[index].capture,
        served: served[index],
        device: deviceOf(place, files[index].served),
      })
    );
    this.#ready.promise.catch(() => {});
    this.#startQemu = () => this.#start(machine, lab, places, files);
  }

  /**
   * Boots a guest and waits until it runs programs.
   *
   * @throws {Error} When it does not, with the last lines of its console.
   */
  static async boot(machine: MachineDescription): Promise<Guest> {
    const lab = loadLab();
    if (lab === undefined) {
      throw new Error("The lab is not prepared: deno task lab");
    }
    for (let attempt = 1;; attempt++) {
      const guest = new Guest(machine, lab);
      try {
        await guest.#connect();
        return guest;
      } catch (error) {
        await guest.close();
        if (attempt === BOOT_ATTEMPTS) throw error;
        console.error("Booting once more:", error);
      }
    }
  }

  /** Whether it still can run programs. */
  get isAlive(): boolean {
    return this.#failure === undefined;
  }

  /** The processes that serve its cards, in the order of those. */
  get servedCards(): readonly ServedCard[] {
    return this.#served;
  }

  /** What its kernel and the agent have written on the console so far. */
  get console(): string {
    const file = `${this.#work.logs}/console.log`;
    return existsSync(file) ? Deno.readTextFileSync(file) : "";
  }

  /** Starts a program; `deno` is the test's own, the folder the checkout. */
  async spawn(
    command: readonly string[],
    { env, cwd }: ProgramOptions = {},
  ): Promise<Program> {
    const id = this.#nextProgram++;
    const program = new Program(command, {
      request: (request) => this.#ask(id, request),
      giveUp: (what) => this.#hangs(what),
    });
    this.#programs.set(id, program);
    const options = { ...(env && { env }), ...(cwd && { cwd }) };
    await this.#ask(id, { start: command, options });
    return program;
  }

  /** Runs a program to its end. A code other than 0 is for the caller to judge. */
  async run(
    command: readonly string[],
    { timeoutMs, ...options }: RunOptions = {},
  ): Promise<Outcome> {
    const program = await this.spawn(command, options);
    await program.closeInput();
    return await program.ended(timeoutMs === undefined ? {} : { timeoutMs });
  }

  /**
   * Runs a shell script and returns what it printed.
   *
   * @throws {Error} When it ends with another code than 0.
   */
  async sh(script: string, options: RunOptions = {}): Promise<string> {
    const outcome = await this.run(["sh", "-ec", script], options);
    if (outcome.code === 0) return outcome.stdout;
    throw new Error(
      `${script} ended with ${outcome.code}: ${outcome.stderr}${outcome.stdout}`,
    );
  }

  /** Writes a file in the guest. Nothing of it reaches the host. */
  async writeFile(path: string, content: string): Promise<void> {
    const program = await this.spawn(["sh", "-c", 'cat > "$0"', path]);
    await program.write(content);
    await program.closeInput();
    const { code, stderr } = await program.ended();
    if (code !== 0) throw new Error(`cannot write ${path}: ${stderr}`);
  }

  /** Loads a kernel module: `igb` for the kernel's own driver. */
  async loadModule(name: string): Promise<void> {
    await this.sh(`modprobe ${name}`);
  }

  /** The kernel's messages. */
  dmesg(): Promise<string> {
    return this.sh("dmesg");
  }

  /**
   * The IOMMU's complaints since the last call: a card read or wrote memory
   * that nobody had mapped for it.
   */
  async dmarFaults(): Promise<string[]> {
    const faults = (await this.dmesg()).split("\n").filter((line) =>
      /DMAR: \[.*fault/.test(line)
    );
    const recent = faults.slice(this.#faultsSeen);
    this.#faultsSeen = faults.length;
    return recent;
  }

  /** Kills the programs that still run. */
  async killPrograms(): Promise<void> {
    await Promise.all(
      Array.from(this.#programs.values(), (program) => program.kill()),
    );
  }

  /** Forgets the frames that have arrived from its cards. */
  dropFrames(): void {
    for (const port of this.#ports) port.takeAll();
  }

  /** Ends it. */
  async close(): Promise<void> {
    this.#fail(new Error("The guest was closed"));
    if (this.#qemu?.hasEnded === false) await this.#quit(this.#qemu);
    await this.#qemu?.kill();
    await Promise.all(this.#served.map((card) => card.close()));
    for (const socket of [this.#agent, this.qmp, ...this.#ports]) {
      socket.close();
    }
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #start(
    machine: MachineDescription,
    lab: Lab,
    places: NicPlace[],
    nicFiles: readonly NicFiles[],
  ): QemuProcess {
    const { scratch, logs } = this.#work;
    const files = {
      kernel: lab.image,
      initramfs: `${scratch}/initramfs`,
      console: `${logs}/console.log`,
      agentSocket: this.#agent.path,
      qmpSocket: this.qmp.path,
      root: ROOT,
      deno: Deno.execPath(),
    };
    Deno.writeFileSync(files.initramfs, initramfs(lab.kernel));
    const qemu = this.#served.length > 0 ? loadNewerQemu()?.command : [QEMU];
    if (qemu === undefined) {
      throw new Error("No QEMU for served cards: deno task lab");
    }
    return new QemuProcess(
      [
        ...qemu,
        ...machineArguments(machine, lab.accelerator, files, places, nicFiles),
      ],
      { log: `${logs}/qemu.log`, scratch },
    );
  }

  /** Starts the process that serves a card, for those that are. */
  #serve(
    { description: { model, tap, interrupts = "msix" }, mac, id }: NicPlace,
    { socket, served }: NicFiles,
  ): ServedCard | undefined {
    if (served === undefined || !isServed(model)) return undefined;
    const wire = tap === undefined ? `peer:${socket}` : `tap:${tap}`;
    const log = `${this.#work.logs}/${id}.log`;
    return new ServedCard({
      socket: served,
      model,
      mac,
      interrupts,
      wire,
      log,
    });
  }

  /** Waits for QEMU's connections and the agent's first word. */
  async #connect(): Promise<void> {
    await Promise.all(this.#served.map(({ ready }) => ready));
    const qemu = this.#startQemu();
    this.#qemu = qemu;
    const timeout = setTimeout(() => this.#hangs("to boot"), BOOT_TIMEOUT_MS);
    qemu.ended.then(() => this.#fail(this.#error("The guest has ended")));
    const connected = async () => {
      await Promise.all([
        ...this.#ports.map((port) => port.connect()),
        this.qmp.connect(),
        this.#agent.accept().then((stream) => {
          this.#listen(stream).catch(() => {});
        }),
      ]);
      await this.#ready.promise;
    };
    try {
      await Promise.race([this.#ready.promise, connected()]);
    } finally {
      clearTimeout(timeout);
    }
  }

  async #listen(
    stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  ): Promise<void> {
    for await (const report of readObjects<Report>(stream)) {
      if ("ready" in report) {
        this.#ready.resolve();
        continue;
      }
      this.#programs.get(report.id)?.take(report);
      if ("ended" in report || "failed" in report) {
        this.#programs.delete(report.id);
      }
    }
  }

  async #ask(id: number, request: Asked): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      await this.#agent.send(writeObject({ id, ...request }));
    } catch {
      throw this.#failure ?? this.#error("The guest has lost its connection");
    }
  }

  /** Ends a guest that does not react. */
  async #hangs(what: string): Promise<Error> {
    const error = this.#error(`The guest hangs: it was ${what}`);
    this.#fail(error);
    await this.#qemu?.kill();
    return error;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#ready.reject(this.#failure);
    for (const program of this.#programs.values()) program.fail(this.#failure);
    this.#programs.clear();
  }

  /** An error with what a person needs to find out why. */
  #error(what: string): Error {
    const lines = this.console.trimEnd().split("\n");
    const log = lines.slice(-CONSOLE_LINES_IN_ERRORS).join("\n");
    return new Error(
      `${what}. ${
        this.#qemu?.output ?? ""
      }Its console (all of it in ${this.#work.logs}):\n${log}`,
    );
  }

  async #quit(qemu: QemuProcess): Promise<void> {
    const timeout = setTimeout(() => qemu.kill(), QUIT_TIMEOUT_MS);
    await this.qmp.execute("quit").catch(() => {});
    await qemu.ended;
    clearTimeout(timeout);
  }
}
