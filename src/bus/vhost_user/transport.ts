/**
 * A virtio device whose other half is a vhost-user backend: a process that serves its virtqueues.
 *
 * @module
 */
import {
  ConfigError,
  DeviceFaultError,
  IxlError,
  NotSupportedError,
} from "../../errors.ts";
import { LEAST_DEPTH } from "../../config.ts";
import { IrqLine, Sleeper } from "../../irq/line.ts";
import { featureBit } from "../virtio/feature_bits.ts";
import { log, repeatedly } from "../../log.ts";
import { delay } from "../../wait.ts";
import type { VhostUserBusDescription } from "../description.ts";
import type { VirtioTransport, VirtqueueSetup } from "../virtio/transport.ts";
import type { VhostUserSpec } from "./address.ts";
import { Connection } from "./connection.ts";
import type { VhostUserDomain } from "./domain.ts";
import type { Endpoint } from "./endpoint.ts";
import { featuresForDriver, featuresForProtocol } from "./features.ts";
import {
  askStatus,
  type Backend,
  DeviceStatus,
  greet,
  setStatus,
} from "./greeting.ts";
import { MemoryTable } from "./memory_table.ts";
import {
  F_PROTOCOL_FEATURES,
  plainMessage,
  ProtocolFeature,
  Request,
  vringAddressMessage,
  vringFdMessage,
  vringStateMessage,
  wordsMessage,
} from "./protocol.ts";

/**
 * How long a reply may take at least. A backend that is waited for longer has that long for each reply, too: a switch that
 * allocates memory for long frames stands still for seconds.
 */
const REPLY_TIMEOUT_MS = 5000;
/** How often a backend is looked for. */
const MEET_INTERVAL_MS = 100;
/** How long nothing is said while the first backend is waited for. */
const PATIENCE_MS = 1000;
/** How soon it is seen that the backend has gone. */
const WATCH_INTERVAL_MS = 50;
/** How often a backend is asked whether it needs a reset (2.1.2). It may log each question. */
const STATUS_INTERVAL_MS = 2000;
/** Most descriptors of a virtqueue (2.7, 2.8.10.1): a backend has no way to say less. */
const LARGEST_SIZE = 32768;
const RING_PACKED = featureBit("packed");
/** Where a packed ring begins: position 0, both wrap counters 1 (2.8.1; "Vring state description"). */
const PACKED_BASE = 0x80008000;

/** A virtqueue that the backend knows. */
interface Ring {
  readonly vector: number | undefined;
  started: boolean;
}

/** A {@linkcode VirtioTransport} over a socket. */
export class VhostUserTransport implements VirtioTransport {
  readonly name = "vhost-user";
  readonly queuesAlone = true;
  readonly #spec: VhostUserSpec;
  readonly #endpoint: Endpoint;
  readonly #domain: VhostUserDomain;
  readonly #errors = IrqLine.create();
  readonly #errorsRaised = new Sleeper([this.#errors]);
  readonly #kicks: IrqLine[] = [];
  readonly #rings = new Map<number, Ring>();
  #routes: readonly number[] = [];
  #configVector: number | undefined;
  #connection: Connection | undefined;
  #backend: Backend | undefined;
  #memory: MemoryTable | undefined;
  #joining: Promise<void> | undefined;
  #features = 0n;
  #generation = 0;
  /** Whether a virtqueue was stopped while others ran. */
  #disturbed = false;
  #faulted = false;
  /** From DRIVER_OK to the next reset: when the backend is asked for its status. */
  #statusAt = Infinity;
  #lossTold = false;
  #closed = false;
  #watch: ReturnType<typeof setInterval> | undefined;

  /**
   * @param spec Which backend.
   * @param endpoint Where it is met. Closed with this object.
   * @param domain The memory that it shall reach.
   * @param replyTimeoutMs How long a reply may take.
   */
  constructor(
    spec: VhostUserSpec,
    endpoint: Endpoint,
    domain: VhostUserDomain,
    readonly replyTimeoutMs: number = Math.max(
      REPLY_TIMEOUT_MS,
      spec.timeoutMs,
    ),
  ) {
    this.#spec = spec;
    this.#endpoint = endpoint;
    this.#domain = domain;
  }

  get macAddress(): Uint8Array {
    return this.#spec.macAddress;
  }

  get macIsChosen(): boolean {
    return this.#spec.macIsChosen;
  }

  /**
   * Without those that need a control queue, which no backend has. More than one pair of virtqueues needs no feature
   * here: {@linkcode virtqueueCount} is what there is.
   */
  get offered(): bigint {
    return featuresForDriver(this.#backend?.features ?? 0n, this.hasConfig);
  }

  get virtqueueCount(): number {
    return this.#backend?.virtqueues ?? 0;
  }

  get hasConfig(): boolean {
    return this.#backend?.config !== undefined;
  }

  get configGeneration(): number {
    return this.#generation;
  }

  get needsReset(): boolean {
    return this.#faulted || this.#connection?.broken !== undefined;
  }

  async reset(): Promise<void> {
    const connection = this.#standing() ?? await this.#meet();
    try {
      await this.#stopRings(connection);
      await this.#resetBackend(connection);
      const backend = await greet(connection, this.#backend);
      this.#memory ??= new MemoryTable(
        connection,
        this.#domain,
        backend.memorySlots,
      );
      this.#backend = backend;
    } catch (error) {
      this.#end(connection, error);
      throw error;
    }
    this.#generation++;
    this.#faulted = false;
    this.#statusAt = Infinity;
    this.#takeError();
    this.#startWatching();
  }

  async acceptFeatures(features: bigint): Promise<void> {
    const { connection, backend } = this.#live();
    const missing = features & ~this.offered;
    if (missing !== 0n) {
      throw new NotSupportedError(
        `${this.#spec.address} does not offer features 0x${
          missing.toString(16)
        }`,
      );
    }
    const all = features | featuresForProtocol(backend.features);
    try {
      await connection.tell(wordsMessage(Request.SET_FEATURES, all));
    } catch (error) {
      if (!(error instanceof DeviceFaultError)) throw error;
      throw refused(this.#spec, all);
    }
    this.#features = all;
    const status = DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER |
      DeviceStatus.FEATURES_OK;
    const now = await setStatus(connection, backend, status);
    if ((now & DeviceStatus.FEATURES_OK) === 0) throw refused(this.#spec, all);
  }

  async giveUp(): Promise<void> {
    const backend = this.#backend;
    const connection = this.#standing();
    if (backend === undefined || connection === undefined) return;
    const { ACKNOWLEDGE, DRIVER, FAILED } = DeviceStatus;
    try {
      await setStatus(connection, backend, ACKNOWLEDGE | DRIVER | FAILED);
    } catch (error) {
      log("debug", this.name, `${error}`);
    }
  }

  largestSize(virtqueue: number): number {
    return virtqueue < this.virtqueueCount ? LARGEST_SIZE : 0;
  }

  async setUp(virtqueue: number, setup: VirtqueueSetup): Promise<void> {
    const { connection } = this.#live();
    await (this.#joining ??= this.#joinMemory(connection));
    this.#rings.set(virtqueue, { vector: setup.vector, started: false });
    this.#kicks[virtqueue] ??= IrqLine.create();
    const base = (this.#features & RING_PACKED) === 0n ? 0 : PACKED_BASE;
    const { SET_VRING_NUM, SET_VRING_BASE, SET_VRING_CALL, SET_VRING_ERR } =
      Request;
    const messages = [
      vringStateMessage(SET_VRING_NUM, virtqueue, setup.size),
      vringStateMessage(SET_VRING_BASE, virtqueue, base),
      vringAddressMessage(virtqueue, setup),
      vringFdMessage(SET_VRING_CALL, virtqueue, this.#callFd(setup.vector)),
      vringFdMessage(SET_VRING_ERR, virtqueue, this.#errors.fd),
    ];
    for (const message of messages) {
      await connection.tell(message).catch((error) => {
        const isSize = message === messages[0];
        throw isSize && error instanceof DeviceFaultError
          ? sizeRefused(this.#spec, virtqueue, setup.size)
          : error;
      });
    }
  }

  routeConfig(vector: number | undefined): Promise<void> {
    this.#configVector = vector;
    return Promise.resolve();
  }

  async enable(virtqueue: number): Promise<void> {
    const { connection } = this.#live();
    const ring = this.#rings.get(virtqueue);
    if (ring === undefined) {
      throw new RangeError(`virtqueue ${virtqueue} is not set up`);
    }
    ring.started = true;
    const kick = this.#kicks[virtqueue].fd;
    const { SET_VRING_KICK } = Request;
    await connection.tell(vringFdMessage(SET_VRING_KICK, virtqueue, kick));
    await this.#tellEnabled(connection, virtqueue, true);
    if (this.#disturbed) await this.#wakeOthers(connection, virtqueue);
  }

  async stop(virtqueue: number): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined) return;
    await this.#stopRing(connection, virtqueue);
    if (this.#rings.size === 0) return this.#leaveMemory();
    this.#disturbed = true;
    await this.#wakeOthers(connection, virtqueue);
  }

  async start(): Promise<void> {
    const { connection, backend } = this.#live();
    const status = DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER |
      DeviceStatus.FEATURES_OK | DeviceStatus.DRIVER_OK;
    const now = await setStatus(connection, backend, status);
    await connection.barrier();
    this.#checkStatus(now);
    if ((backend.protocol & ProtocolFeature.STATUS) === 0n) return;
    this.#statusAt = performance.now() + STATUS_INTERVAL_MS;
  }

  async shutDown(): Promise<void> {
    this.#statusAt = Infinity;
    const connection = this.#standing();
    if (connection === undefined) return;
    try {
      await this.#stopRings(connection);
      await this.#resetBackend(connection);
    } catch (error) {
      this.#end(connection, error);
      throw error;
    }
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    const config = this.#backend?.config;
    if (config === undefined) {
      throw new NotSupportedError(`${this.#spec.address} has no configuration`);
    }
    if (size === 1) return config.getUint8(offset);
    if (size === 2) return config.getUint16(offset, true);
    return config.getUint32(offset, true);
  }

  notify(virtqueue: number): void {
    this.#kicks[virtqueue].raise();
  }

  unmaskInterrupt(): boolean {
    return false;
  }

  /** The eventfd of each interrupt vector, -1 for none: the backend signals them itself. */
  route(fds: readonly number[]): void {
    this.#routes = fds;
    const connection = this.#standing();
    if (connection === undefined) return;
    for (const [virtqueue, { vector }] of this.#rings) {
      if (vector === undefined) continue;
      const fd = this.#callFd(vector);
      connection.send(vringFdMessage(Request.SET_VRING_CALL, virtqueue, fd));
    }
  }

  describe(): VhostUserBusDescription {
    const { length } = this.#kicks;
    const kickFds = Array.from({ length }, (_, i) => this.#kicks[i]?.fd ?? -1);
    return { kind: "vhost-user", kickFds };
  }

  /**
   * Gives everything back. The virtqueues are stopped.
   * @param inUse True when another isolate may still notify them.
   */
  async close(inUse = false): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#watch);
    this.#connection?.end(this.#closedError());
    this.#leaveMemory();
    this.#endpoint.close();
    this.#errors.close();
    for (const kick of this.#kicks) {
      if (inUse) kick?.retire();
      else kick?.close();
    }
    await this.#connection?.ended;
  }

  /** The connection, if the backend is there as far as can be seen now. */
  #standing(): Connection | undefined {
    this.#connection?.look();
    return this.#connection?.broken === undefined
      ? this.#connection
      : undefined;
  }

  /** The connection and the backend after a reset. Throws when the backend has gone. */
  #live(): { connection: Connection; backend: Backend } {
    const connection = this.#connection;
    const backend = this.#backend;
    if (this.#closed) throw this.#closedError();
    if (connection === undefined || backend === undefined) {
      throw new IxlError("device-gone", "there is no backend: reset() first");
    }
    if (connection.broken !== undefined) throw connection.broken;
    return { connection, backend };
  }

  /** Waits for a backend. */
  async #meet(): Promise<Connection> {
    const { address, timeoutMs } = this.#spec;
    const start = performance.now();
    const deadline = start + timeoutMs;
    // The driver tells of a backend that went.
    let isToldOf = this.#connection !== undefined;
    for (;;) {
      if (this.#closed) throw this.#closedError();
      const socket = this.#endpoint.meet();
      if (socket !== undefined) {
        this.#forget();
        return this.#connection = new Connection(
          socket,
          address,
          this.replyTimeoutMs,
        );
      }
      const left = deadline - performance.now();
      if (left <= 0) break;
      if (!isToldOf && performance.now() - start >= PATIENCE_MS) {
        isToldOf = true;
        log("warn", address, `waits for a backend: ${this.#endpoint.advice}`);
      }
      await delay(Math.min(left, MEET_INTERVAL_MS));
    }
    throw new IxlError(
      "device-not-found",
      `no backend for ${address} within ${timeoutMs} ms: ${this.#endpoint.advice}`,
    );
  }

  /** The backend before has gone, with all that it knew. */
  #forget(): void {
    this.#leaveMemory();
    this.#rings.clear();
    this.#disturbed = false;
    this.#memory = undefined;
    this.#backend = undefined;
    this.#lossTold = false;
  }

  /** A backend without the memory is of no use. */
  async #joinMemory(connection: Connection): Promise<void> {
    try {
      await this.#memory!.join();
    } catch (error) {
      this.#end(connection, error);
      throw error;
    }
  }

  #leaveMemory(): void {
    this.#memory?.leave();
    this.#joining = undefined;
  }

  async #stopRings(connection: Connection): Promise<void> {
    for (const virtqueue of [...this.#rings.keys()]) {
      await this.#stopRing(connection, virtqueue);
    }
    this.#disturbed = false;
    this.#leaveMemory();
  }

  /**
   * DPDK stops all virtqueues with one, starts them when the first pair is complete, and then only polls those that it
   * has news of. To say again what is known already does no harm.
   */
  async #wakeOthers(connection: Connection, virtqueue: number): Promise<void> {
    if (connection.broken !== undefined) return;
    for (const [other, { vector, started }] of [...this.#rings]) {
      if (other === virtqueue || !started) continue;
      const fd = this.#callFd(vector);
      await connection.tell(vringFdMessage(Request.SET_VRING_CALL, other, fd));
    }
  }

  /** "Starting and stopping rings": one is stopped by asking where it got to. */
  async #stopRing(connection: Connection, virtqueue: number): Promise<void> {
    const ring = this.#rings.get(virtqueue);
    this.#rings.delete(virtqueue);
    if (!ring?.started || connection.broken !== undefined) return;
    await this.#tellEnabled(connection, virtqueue, false);
    const question = vringStateMessage(Request.GET_VRING_BASE, virtqueue, 0);
    const stopped = (await connection.ask(question, 8)).getUint32(0, true);
    if (stopped === virtqueue) return;
    const fault = new DeviceFaultError(
      `${this.#spec.address} stopped virtqueue ${stopped} instead of ${virtqueue}`,
    );
    this.#end(connection, fault);
    throw fault;
  }

  /** Without protocol features a ring is enabled as long as it is started. */
  async #tellEnabled(
    connection: Connection,
    virtqueue: number,
    enabled: boolean,
  ): Promise<void> {
    if ((this.#features & F_PROTOCOL_FEATURES) === 0n) return;
    await connection.tell(
      vringStateMessage(Request.SET_VRING_ENABLE, virtqueue, Number(enabled)),
    );
  }

  /** A backend that was used before forgets it. */
  async #resetBackend(connection: Connection): Promise<void> {
    const backend = this.#backend;
    if (backend === undefined) return;
    if ((backend.protocol & ProtocolFeature.RESET_DEVICE) !== 0n) {
      await connection.tell(plainMessage(Request.RESET_DEVICE));
    }
    await setStatus(connection, backend, 0);
    await connection.barrier();
  }

  #callFd(vector: number | undefined): number | undefined {
    const fd = vector === undefined ? -1 : this.#routes[vector] ?? -1;
    return fd < 0 ? undefined : fd;
  }

  #end(connection: Connection, error: unknown): void {
    connection.end(
      error instanceof IxlError ? error : new DeviceFaultError(`${error}`),
    );
  }

  #startWatching(): void {
    if (this.#watch !== undefined || this.#closed) return;
    this.#watch = repeatedly(
      this.#spec.address,
      () => this.#lookAfter(),
      WATCH_INTERVAL_MS,
    );
  }

  /** Tells once that the backend has gone, or that it found a virtqueue wrong. */
  #lookAfter(): void {
    const connection = this.#connection;
    connection?.look();
    if (this.#takeError()) this.#fail("found a virtqueue wrong");
    if (performance.now() >= this.#statusAt) void this.#lookAtStatus();
    const reason = connection?.broken;
    if (reason === undefined || this.#lossTold) return;
    this.#lossTold = true;
    this.#leaveMemory();
    this.#tellOfLoss(reason.message);
  }

  /** Asks whether the backend needs a reset (2.1.2): of its own accord it does not say so here. */
  async #lookAtStatus(): Promise<void> {
    const generation = this.#generation;
    this.#statusAt = Infinity;
    try {
      const status = await askStatus(this.#live().connection);
      if (generation !== this.#generation) return;
      this.#checkStatus(status);
      this.#statusAt = performance.now() + STATUS_INTERVAL_MS;
    } catch (error) {
      // The connection has ended, and says so itself.
      log("debug", this.name, `${error}`);
    }
  }

  #checkStatus(status: number): void {
    if ((status & DeviceStatus.NEEDS_RESET) === 0) return;
    this.#fail("says that it needs a reset");
  }

  /** The backend is there, but has to be reset. */
  #fail(what: string): void {
    if (this.#faulted) return;
    this.#faulted = true;
    this.#tellOfLoss(`${this.#spec.address} ${what}`);
  }

  /** A backend could make reading its eventfd wait: it is only read when there is something. */
  #takeError(): boolean {
    return this.#errorsRaised.sleep(0) > 0 && this.#errors.clear();
  }

  #tellOfLoss(reason: string): void {
    log("warn", this.name, reason);
    const fd = this.#callFd(this.#configVector);
    if (fd !== undefined) new IrqLine(fd).raise();
  }

  #closedError(): IxlError {
    return new IxlError("device-gone", `${this.#spec.address} is closed`);
  }
}

/** A backend says how long a ring may be only by refusing one that is longer. */
function sizeRefused(
  { address }: VhostUserSpec,
  virtqueue: number,
  size: number,
): IxlError {
  const option = (virtqueue & 1) === 0 ? "rxDepth" : "txDepth";
  const refusal = `${address} refuses a ring of ${size} descriptors`;
  const smaller = size >> 1;
  return smaller < LEAST_DEPTH
    ? new NotSupportedError(`${refusal}, and shorter ones are too short to use`)
    : new ConfigError(
      option,
      `${refusal}: open it with a smaller ${option}, such as ${smaller}`,
    );
}

function refused({ address }: VhostUserSpec, features: bigint): Error {
  return new NotSupportedError(
    `${address} does not take features 0x${features.toString(16)} together`,
  );
}
