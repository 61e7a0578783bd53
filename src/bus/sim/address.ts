/**
 * How the software card is named: `sim:WIRE?option=value&…`. `../address.ts` says how characters are written.
 *
 * @module
 */
import { ConfigError, IxlError } from "../../errors.ts";
import { splitAddress } from "../address.ts";

/** Which chip is modelled. */
export type SimModel = "82599" | "x540";

/** What is plugged into the card. */
export interface WireSpec {
  /** Which wire. */
  readonly type: "loopback" | "generator" | "sink" | "pair" | "pcap" | "tap";
  /** Name of the pair or of the TAP device. */
  readonly name: string;
  /** Flows of the generator. */
  readonly flows: number;
  /** Frame size of the generator in bytes without the frame check sequence; 0 for a mix. */
  readonly size: number;
  /** Frames a second; 0 for as fast as it goes. */
  readonly rate: number;
  /** Frames to generate in all; 0 for no end. */
  readonly count: number;
  /** Seed of the generator. */
  readonly seed: number;
  /** pcap to play. */
  readonly in: string;
  /** pcap to write. */
  readonly out: string;
}

/** A software card, as its address describes it. */
export interface SimSpec {
  /** The address as it was given. */
  readonly address: string;
  /** Which chip. */
  readonly model: SimModel;
  /** Its MAC address; empty for one of its own. */
  readonly mac: string;
  /** What is plugged in. */
  readonly wire: WireSpec;
}

/** The wires and what can be said of them: for help texts. */
export const SIM_ADDRESSES: readonly (readonly [string, string])[] = [
  ["sim:loopback", "what is sent comes back"],
  [
    "sim:generator?flows=64&size=60&rate=0&count=0&seed=1",
    "UDP flows, numbered and filled so that a sink can check every byte (size=0: a mix of sizes)",
  ],
  ["sim:sink?out=FILE", "checks what a generator made, and may write a pcap"],
  [
    "sim:pair/NAME",
    "a cable between the two cards of this program that name it",
  ],
  ["sim:pcap?in=FILE&out=FILE", "plays a pcap or pcapng, and writes a pcap"],
  ["sim:tap/NAME", "a TAP device of the kernel (needs CAP_NET_ADMIN)"],
];

const WIRES: readonly WireSpec["type"][] = [
  "loopback",
  "generator",
  "sink",
  "pair",
  "pcap",
  "tap",
];

const NUMBERS: Readonly<Record<string, readonly [number, number, number]>> = {
  // default, least, most
  flows: [64, 1, 4096],
  size: [60, 0, 15868],
  rate: [0, 0, 1e9],
  count: [0, 0, Number.MAX_SAFE_INTEGER],
  seed: [1, 0, 0xffffffff],
};
const TEXTS = ["in", "out", "mac", "model"];

/** True for an address of a software card. */
export function isSimAddress(address: string): boolean {
  return address.startsWith("sim:");
}

/** Parses an address. Throws an error that names what is wrong and what there is. */
export function parseSimAddress(address: string): SimSpec {
  const { name: path, options } = splitAddress(address);
  const [type, name = "", ...rest] = path.split("/");
  if (!WIRES.includes(type as WireSpec["type"]) || rest.length > 0) {
    throw new IxlError(
      "device-not-found",
      `there is no "${address}": use ${
        SIM_ADDRESSES.map(([form]) => form.split("?")[0]).join(", ")
      }`,
    );
  }
  for (const key of options.keys()) {
    if (key in NUMBERS || TEXTS.includes(key)) continue;
    throw new ConfigError(
      address,
      `${key} is no option of a software card: use ${
        [...Object.keys(NUMBERS), ...TEXTS].join(", ")
      }`,
    );
  }
  if ((type === "pair" || type === "tap") && name === "") {
    throw new ConfigError(address, `give it a name: sim:${type}/NAME`);
  }
  const number = (key: string) => numberOption(address, options, key);
  return {
    address,
    model: modelOption(address, options.get("model") ?? "82599"),
    mac: options.get("mac") ?? "",
    wire: {
      type: type as WireSpec["type"],
      name,
      flows: number("flows"),
      size: number("size"),
      rate: number("rate"),
      count: number("count"),
      seed: number("seed"),
      in: options.get("in") ?? "",
      out: options.get("out") ?? "",
    },
  };
}

function numberOption(
  address: string,
  options: ReadonlyMap<string, string>,
  key: string,
): number {
  const [fallback, least, most] = NUMBERS[key];
  const text = options.get(key);
  if (text === undefined) return fallback;
  const value = Number(text);
  if (
    text !== "" && Number.isInteger(value) && value >= least && value <= most
  ) {
    return value;
  }
  throw new ConfigError(
    address,
    `${key} must be a whole number from ${least} to ${most}, not ${
      text || "empty"
    }`,
  );
}

function modelOption(address: string, model: string): SimModel {
  if (model === "82599" || model === "x540") return model;
  throw new ConfigError(address, `model=${model} is not 82599 or x540`);
}
