/**
 * `ixl sim serve`: the software card for any virtual machine.
 *
 * @module
 */
import { IxlError, type IxlErrorCode } from "../errors.ts";
import { stopOnSignals } from "../runtime/signals.ts";
import type { Model } from "../sim/card.ts";
import { INTERRUPT_KINDS, type InterruptKind } from "../sim/host/pci_config.ts";
import { CardControl } from "../vfio_user/control.ts";
import type { ServeOptions } from "../vfio_user/server.ts";
import { WIRES } from "../vfio_user/wires.ts";
import {
  type Command,
  defineCommand,
  definitionList,
  type Given,
  UsageError,
} from "./command.ts";

const MODELS: readonly string[] = ["82599", "x540"] satisfies Model[];
const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
const MULTICAST = 1;
const PCAP = "pcap:";

const PCAP_COMMAND =
  "deno run -P=serve --allow-read=.,FILE --allow-write=FILE src/cli/main.ts sim serve";

/** What the worker reports. */
interface Report {
  readonly serving?: true;
  readonly ended?: true;
  readonly failed?: { readonly code: string; readonly message: string };
}

const serveCommand: Command = defineCommand({
  name: "sim serve",
  summary: "Serves a software card over vfio-user",
  options: [
    { name: "socket", value: "PATH", help: "where clients connect to" },
    {
      name: "model",
      value: "MODEL",
      default: "82599",
      help: "82599 or x540",
    },
    {
      name: "wire",
      value: "WIRE",
      default: "loopback",
      help: "what the port is connected to",
    },
    {
      name: "mac",
      value: "ADDRESS",
      default: "02:00:00:00:00:01",
      help: "the card's MAC address",
    },
    {
      name: "interrupts",
      value: "KIND",
      default: "msix",
      help: "the best kind that it declares: msix, msi or intx",
    },
  ],
  notes: `Wires:

${definitionList(WIRES)}

A pcap needs more rights than the task has:

  ${PCAP_COMMAND} --socket PATH --wire pcap:FILE

QEMU 10.1 or newer takes the card, with memory that it can share:

  -object memory-backend-memfd,id=mem,size=1G -machine q35,memory-backend=mem
  -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"PATH"}}'

One client at a time; the next may come when it has gone. SIGUSR2 pulls the cable, and plugs it in again; SIGINT or SIGTERM ends it.`,
  run: (given) => serve(optionsOf(given)),
});

/** The commands about software cards. */
export const simCommand: Pick<Command, "main"> = {
  main: ([name, ...args]) => {
    if (name === "serve") return serveCommand.main(args);
    if (name === "-h" || name === "--help") return serveCommand.main(["-h"]);
    throw new UsageError(
      `there is no command sim ${name ?? ""}: use sim serve`,
    );
  },
};

function optionsOf(given: Given): ServeOptions {
  const socket = given.text("socket");
  const model = given.text("model")!;
  const mac = given.text("mac")!.toLowerCase();
  if (socket === undefined) {
    throw new UsageError("sim serve needs --socket PATH: see sim serve --help");
  }
  if (!MODELS.includes(model)) {
    throw new UsageError(`--model ${model} is not ${MODELS.join(" or ")}`);
  }
  if (!MAC.test(mac) || (parseInt(mac, 16) & MULTICAST) !== 0) {
    throw new UsageError(`--mac ${mac} is no MAC address`);
  }
  const interrupts = given.text("interrupts") as InterruptKind;
  if (!INTERRUPT_KINDS.includes(interrupts)) {
    throw new UsageError(
      `--interrupts ${interrupts} is not one of ${INTERRUPT_KINDS.join(", ")}`,
    );
  }
  const wire = given.text("wire")!;
  assertMayWrite(wire);
  return { socket, model: model as Model, mac, wire, interrupts };
}

/** The task's rights end at the project's own files. */
function assertMayWrite(wire: string): void {
  if (!wire.startsWith(PCAP)) return;
  const path = wire.slice(PCAP.length);
  const denied = (["read", "write"] as const).some((name) =>
    Deno.permissions.querySync({ name, path }).state !== "granted"
  );
  if (!denied) return;
  throw new IxlError(
    "permission",
    `--wire ${wire}: this program may not write ${path}: start it with ${PCAP_COMMAND}, where FILE is ${path}`,
  );
}

/** Starts the card's worker and waits for its end. */
async function serve(options: ServeOptions): Promise<number> {
  const control = CardControl.create();
  using _signals = stopOnSignals(() => control.stop());
  using _cable = cableOnSignal((plugged) => control.setCable(plugged));
  const worker = new Worker(
    new URL("../../workers/served_card_worker.ts", import.meta.url),
    { type: "module", name: "ixl-served-card" },
  );
  try {
    await new Promise<void>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<Report>) => {
        if (data.serving) console.log(describe(options));
        else if (data.failed) {
          const { code, message } = data.failed;
          reject(new IxlError(code as IxlErrorCode, message));
        } else resolve();
      };
      worker.onerror = (event) => {
        event.preventDefault();
        reject(new IxlError("worker-failed", event.message));
      };
      worker.postMessage({ options, control: control.description });
    });
  } finally {
    worker.terminate();
    control.close();
  }
  return 0;
}

/** Each SIGUSR2 pulls the cable or plugs it in. SIGUSR1 is Deno's own. */
function cableOnSignal(setCable: (plugged: boolean) => void): Disposable {
  let plugged = true;
  const change = () => setCable(plugged = !plugged);
  Deno.addSignalListener("SIGUSR2", change);
  return {
    [Symbol.dispose]: () => Deno.removeSignalListener("SIGUSR2", change),
  };
}

function describe({ model, mac, socket, wire }: ServeOptions): string {
  return `serving ${model} ${mac} at ${socket}, on ${wire}`;
}
