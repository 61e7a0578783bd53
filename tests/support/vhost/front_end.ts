/**
 * A vhost-user front end in a folder of its own, with memory to share.
 *
 * @module
 */

import { parseVhostUserAddress } from "../../../src/bus/vhost_user/address.ts";
import { VhostUserDomain } from "../../../src/bus/vhost_user/domain.ts";
import { Endpoint } from "../../../src/bus/vhost_user/endpoint.ts";
import { VhostUserTransport } from "../../../src/bus/vhost_user/transport.ts";
import type { VirtqueueSetup } from "../../../src/bus/virtio/transport.ts";
import { DmaMemory } from "../../../src/dma/memory.ts";
import { IrqLine } from "../../../src/irq/line.ts";
import type { Order, Report } from "../../fixtures/vhost_backend_worker.ts";
import { withoutLeaks } from "../host/leaks.ts";
import {
  type BackendPlan,
  F_VERSION_1,
  type FakeBackend,
  FakeServer,
} from "./backend.ts";

/** What a test has. */
export interface Rig {
  /** The socket's path. */
  readonly path: string;
  readonly domain: VhostUserDomain;
  readonly transport: VhostUserTransport;
  /** Interrupt lines: a queue's, and the configuration's. */
  readonly queueLine: IrqLine;
  readonly configLine: IrqLine;
  /** A page for rings, attached. */
  readonly memory: DmaMemory;
  /** Where it begins for a backend. */
  readonly iova: bigint;
}

/** How a rig is made. */
export interface RigOptions {
  /** Options of the address, such as "server". */
  readonly options?: string;
  /** How long a reply may take. */
  readonly replyTimeoutMs?: number;
}

const DESCRIPTORS = 16;
const BYTES_OF_QUEUE = 1024;

/** Makes a rig, uses it, closes it, and asserts that nothing stays open. */
export function withRig(
  use: (rig: Rig) => Promise<void>,
  { options = "timeout=5000", replyTimeoutMs = 5000 }: RigOptions = {},
): Promise<void> {
  return withoutLeaks(async () => {
    const folder = Deno.makeTempDirSync();
    const path = `${folder}/socket`;
    const spec = parseVhostUserAddress(`vhost-user:${path}?${options}`);
    const domain = new VhostUserDomain();
    const transport = new VhostUserTransport(
      spec,
      new Endpoint(spec),
      domain,
      replyTimeoutMs,
    );
    const [queueLine, configLine] = [IrqLine.create(), IrqLine.create()];
    transport.route([queueLine.fd, configLine.fd]);
    await transport.routeConfig(1);
    const memory = allocate(1);
    const iova = domain.attach(memory);
    try {
      await use({
        ...{ path, domain, transport, queueLine, configLine, memory, iova },
      });
    } finally {
      await transport.close();
      domain.detach(memory);
      memory.free();
      queueLine.close();
      configLine.close();
      Deno.removeSync(folder);
    }
  });
}

/** The same, with backends in this isolate that listen. */
export function withServer(
  plans: readonly BackendPlan[],
  use: (rig: Rig, server: FakeServer) => Promise<void>,
  options?: RigOptions,
): Promise<void> {
  return withRig(async (rig) => {
    const server = new FakeServer(rig.path, plans);
    try {
      await use(rig, server);
    } finally {
      await server.close();
    }
  }, options);
}

/** The same, with backends in another thread: for what blocks this one. */
export async function withWorker(
  plans: readonly BackendPlan[],
  use: (
    rig: Rig,
    ask: (order: Order) => Promise<Report>,
  ) => Promise<void>,
  options?: RigOptions,
): Promise<void> {
  // The descriptors of the thread itself are there when it answers.
  await ask({ op: "report" });
  await withRig(async (rig) => {
    await ask({ op: "listen", path: rig.path, plans: [...plans] });
    try {
      await use(rig, ask);
    } finally {
      await ask({ op: "close" });
    }
  }, options);
}

let worker: Worker | undefined;

/** Has the thread of backends do something. It lasts for all tests of a file. */
function ask(order: Order): Promise<Report> {
  worker ??= new Worker(
    new URL("../../fixtures/vhost_backend_worker.ts", import.meta.url),
    { type: "module" },
  );
  const { promise, resolve } = Promise.withResolvers<Report>();
  worker.onmessage = ({ data }) => resolve(data);
  worker.postMessage(order);
  return promise;
}

/** Memory of so many pages, with room for more. */
export function allocate(pages: number, most = pages): DmaMemory {
  return DmaMemory.allocate({
    bytes: pages * 4096,
    reserve: most * 4096,
    backing: "plain",
    fileBacked: true,
    label: "vhost-test",
  });
}

/** Where a virtqueue of the rig lies. */
export function ringsOf(
  { iova }: Rig,
  virtqueue: number,
): VirtqueueSetup {
  const descriptors = iova + BigInt(virtqueue * BYTES_OF_QUEUE);
  return {
    size: DESCRIPTORS,
    vector: virtqueue % 2 === 0 ? 0 : undefined,
    descriptors,
    driver: descriptors + 256n,
    device: descriptors + 512n,
  };
}

/** From a reset to DRIVER_OK, as a driver does it with one queue pair. */
export async function bringUp(
  rig: Rig,
  features: bigint = F_VERSION_1,
): Promise<void> {
  const { transport } = rig;
  await transport.reset();
  await transport.acceptFeatures(features);
  for (const virtqueue of [0, 1]) {
    await transport.setUp(virtqueue, ringsOf(rig, virtqueue));
  }
  for (const virtqueue of [0, 1]) await transport.enable(virtqueue);
  await transport.start();
}

/** The numbers of a message with the state of a virtqueue. */
export function state(backend: FakeBackend, name: string): number[] {
  return [...new Uint32Array(backend.last(name).payload.slice().buffer)];
}
