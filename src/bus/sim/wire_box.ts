/**
 * The cables of the software cards.
 *
 * @module
 */
import { ConfigError, IxlError } from "../../errors.ts";
import { compose } from "../../sim/wires/compose.ts";
import { frameQueueBuffer } from "../../sim/wires/frame_queue.ts";
import { GeneratorWire } from "../../sim/wires/generator.ts";
import { DEFAULT_PAIR_BYTES, PairWire } from "../../sim/wires/pair.ts";
import { PcapWire } from "../../sim/wires/pcap.ts";
import { SinkWire } from "../../sim/wires/sink.ts";
import { TapWire } from "../../sim/wires/tap.ts";
import { TeeWire } from "../../sim/wires/tee.ts";
import type { Wire } from "../../sim/wires/wire.ts";
import type { SimSpec, WireSpec } from "./address.ts";

/** The two directions of a cable, and what is in its ends. */
interface Cable {
  readonly there: SharedArrayBuffer;
  readonly back: SharedArrayBuffer;
  readonly ends: [PairWire | undefined, PairWire | undefined];
}

/** Makes wires from their descriptions, and knows which cards share a cable. */
export class WireBox {
  readonly #cables = new Map<string, Cable>();

  /** The wire for a card that is plugged in. Throws what the wire throws. */
  plug({ wire }: SimSpec, counters: SharedArrayBuffer): Wire {
    switch (wire.type) {
      case "loopback": {
        const way = frameQueueBuffer(DEFAULT_PAIR_BYTES);
        return new PairWire(way, way, counters);
      }
      case "pair":
        return this.#plugCable(wire.name, counters);
      case "generator":
        return generator(wire, counters);
      case "sink":
        return sink(wire, counters);
      case "pcap":
        return new PcapWire({ ...files(wire), counters });
      case "tap":
        return new TapWire(wire.name, counters);
    }
  }

  /** Takes a card's wire away. */
  unplug(wire: Wire): void {
    for (const [name, { ends }] of this.#cables) {
      const end = ends.indexOf(wire as PairWire);
      if (end < 0) continue;
      ends[end] = undefined;
      setConnected(ends);
      if (ends.every((other) => other === undefined)) this.#cables.delete(name);
    }
    wire.close();
  }

  #plugCable(name: string, counters: SharedArrayBuffer): Wire {
    const cable = this.#cables.get(name) ?? {
      there: frameQueueBuffer(DEFAULT_PAIR_BYTES),
      back: frameQueueBuffer(DEFAULT_PAIR_BYTES),
      ends: [undefined, undefined],
    } satisfies Cable;
    const end = cable.ends.indexOf(undefined);
    if (end < 0) {
      throw new IxlError(
        "device-busy",
        `both ends of the cable sim:pair/${name} are taken: choose another name`,
      );
    }
    this.#cables.set(name, cable);
    const { there, back, ends } = cable;
    const wire = end === 0
      ? new PairWire(back, there, counters)
      : new PairWire(there, back, counters);
    ends[end] = wire;
    setConnected(ends);
    return wire;
  }
}

function setConnected(ends: Cable["ends"]): void {
  const isWhole = ends.every((end) => end !== undefined);
  for (const end of ends) {
    if (end !== undefined) end.isConnected = isWhole;
  }
}

function generator(wire: WireSpec, counters: SharedArrayBuffer): Wire {
  // Without a rate it gives what the card takes; with one it does not care, and an overloaded card drops.
  const source = new GeneratorWire({
    ...traffic(wire),
    rate: wire.rate,
    count: wire.count,
    patient: wire.rate === 0,
    counters,
  });
  if (wire.in) throw new ConfigError("in", "a generator plays no pcap");
  return wire.out
    ? compose({ source, sink: new PcapWire({ ...files(wire), counters }) })
    : source;
}

function sink(wire: WireSpec, counters: SharedArrayBuffer): Wire {
  const checker = new SinkWire({ ...traffic(wire), counters });
  return wire.out ? new TeeWire(checker, new PcapWire(files(wire))) : checker;
}

function traffic({ flows, size, seed }: WireSpec) {
  return {
    flows,
    seed,
    ...(size === 0 ? { size: "imix" as const } : { size }),
  };
}

function files(wire: WireSpec): { input?: string; output?: string } {
  return {
    ...(wire.in ? { input: wire.in } : {}),
    ...(wire.out ? { output: wire.out } : {}),
  };
}
