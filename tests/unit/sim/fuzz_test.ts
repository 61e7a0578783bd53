import { assert } from "@std/assert";
import { GeneratorWire } from "../../../src/sim/wires/generator.ts";
import {
  type RegisterName,
  REGISTERS,
} from "../../../src/sim/registers/registers.ts";
import { at, Rig } from "../../support/intel/sim_rig.ts";

const names = Object.keys(REGISTERS) as RegisterName[];

/** The same numbers for the same seed, everywhere. */
function randomFrom(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

function value(random: (n: number) => number): number {
  switch (random(4)) {
    case 0:
      return random(2 ** 32);
    case 1:
      return 2 ** random(32);
    case 2:
      return random(64);
    default:
      return (2 ** 32 - 1 - random(64)) >>> 0;
  }
}

function offset(random: (n: number) => number): number {
  if (random(8) === 0) return random(0x20100) - 0x40;
  const name = names[random(names.length)];
  const spans = REGISTERS[name].spans;
  const span = spans[random(spans.length)];
  return span.at + random(Math.min(span.count, 3)) * span.stride;
}

function disturb(rig: Rig, random: (n: number) => number): void {
  const sizes = [1, 2, 4, 4, 4, 4, 4, 4] as const;
  const size = sizes[random(8)];
  switch (random(12)) {
    case 0:
      rig.card.read(offset(random), size);
      break;
    case 1:
      rig.u32[random(1 << 17)] = value(random);
      break;
    case 2:
      rig.card.step(random(64), rig.now += random(3));
      break;
    case 3:
      rig.card.writeConfig(random(300) - 4, value(random), size);
      break;
    case 4:
      rig.card.readConfig(random(300) - 4, size);
      break;
    case 5:
      rig.card.setLink(random(4) !== 0);
      break;
    default:
      rig.card.write(offset(random), value(random), size);
  }
}

for (let seed = 1; seed <= 8; seed++) {
  Deno.test(`Card survives a hostile driver, seed ${seed}`, () => {
    const random = randomFrom(seed * 7919);
    const wire = new GeneratorWire({ size: "imix", flows: 50 });
    const rig = new Rig({ wire, rxQueues: 2, txQueues: 2 });
    for (let round = 0; round < 20; round++) {
      rig.card.reset();
      rig.bringUp();
      rig.set("FCTRL", 1 << 9);
      for (let i = 0; i < 1000; i++) disturb(rig, random);
    }
    assert(rig.card.violationCount > 0);
    assert(rig.card.violations.length <= 100);
    const deadline = rig.card.deadline(rig.now);
    assert(deadline === Infinity || Number.isFinite(deadline));
  });
}

Deno.test("Card survives random descriptors on running rings", () => {
  const random = randomFrom(42);
  const wire = new GeneratorWire({ size: "imix", flows: 50 });
  const rig = new Rig({ wire, rxQueues: 2, txQueues: 2 });
  rig.bringUp();
  rig.set("FCTRL", 1 << 9);
  for (let i = 0; i < 30000; i++) {
    const q = random(2);
    const d = random(2) === 0
      ? rig.txDescriptor(q, random(32))
      : rig.rxDescriptor(q, random(32));
    for (let w = 0; w < 4; w++) rig.u32[d + w] = value(random);
    rig.card.write(at("TDT", q), random(32), 4);
    rig.card.write(at("RDT", q), random(32), 4);
    rig.step(0.01, 16);
  }
  assert(rig.card.violationCount > 0);
});
