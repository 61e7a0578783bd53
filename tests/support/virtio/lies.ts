/**
 * What a device can write into a virtqueue that it must not, at random.
 *
 * @module
 */
import { type BackendQueue, PackedBackend, SplitBackend } from "./backend.ts";

/** A whole number from 0 on, below a bound. */
export type Random = (below: number) => number;

/** Numbers that are wrong in the way that numbers are wrong. */
export function absurd(random: Random, bits: 16 | 32): number {
  const top = bits === 16 ? 0xffff : 0xffff_ffff;
  const choices = [
    0,
    1,
    random(70),
    63,
    64,
    65,
    256,
    0x7fff,
    0x8000,
    top - random(3),
    random(0x1_0000),
    (random(0x1_0000) * 0x1_0000 + random(0x1_0000)) % (top + 1),
  ];
  return choices[random(choices.length)];
}

/** Writes something wrong into a virtqueue. Its strict side has lost its way then. */
export function lieInRing(queue: BackendQueue, random: Random): void {
  if (queue instanceof SplitBackend) lieSplit(queue, random);
  else if (queue instanceof PackedBackend) liePacked(queue, random);
}

function lieSplit(queue: SplitBackend, random: Random): void {
  const used = queue.usedIndex;
  switch (random(5)) {
    case 0: // Wrong ids and lengths.
      queue.writeEntry(used, absurd(random, 32), absurd(random, 32));
      queue.writeIndex(used + 1);
      break;
    case 1: // A right id with a wrong length.
      queue.writeEntry(used, random(64), absurd(random, 32));
      queue.writeIndex(used + 1);
      break;
    case 2: // An index that jumps, or goes back.
      queue.writeIndex(absurd(random, 16));
      break;
    case 3: // Entries again.
      queue.writeIndex(used + 1 + random(70));
      break;
    default: // What the driver wrote is overwritten.
      scribble(queue, random);
  }
}

function liePacked(queue: PackedBackend, random: Random): void {
  const { at, wrap } = queue.usedPlace;
  const { size } = queue.place;
  switch (random(5)) {
    case 0:
      queue.writeUsed(at, absurd(random, 16), absurd(random, 32), wrap);
      break;
    case 1:
      queue.writeUsed(at, random(64), absurd(random, 32), wrap);
      break;
    case 2: // Of the wrong round, or in the wrong place.
      queue.writeUsed(random(size), random(64), random(300), random(2) === 0);
      break;
    case 3: // One descriptor twice.
      queue.writeUsed(at, at, 100, wrap);
      if (at + 1 < size) queue.writeUsed(at + 1, at, 100, wrap);
      break;
    default:
      scribble(queue, random);
  }
}

/** Overwrites words of the rings and tables anywhere. */
function scribble(queue: BackendQueue, random: Random): void {
  const { descriptors, driver, device, size } = queue.place;
  const start = [descriptors, driver, device][random(3)];
  const most = start === descriptors ? size * 16 : 4;
  const view = queue.memory.at(start, most);
  for (let n = 1 + random(4); n > 0; n--) {
    const offset = random(most / 4) * 4;
    view.setUint32(offset, absurd(random, 32), true);
  }
}
