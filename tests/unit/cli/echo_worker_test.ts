/** The window of `demo --device`: frames that never come back do not keep it closed. */
import { assertEquals } from "@std/assert";
import { Flight } from "../../../src/cli/echo_worker.ts";
import {
  WIRE_COUNTER_BYTES,
  WIRE_SLOT,
  wireCounters,
} from "../../../src/sim/wires/wire.ts";

const WINDOW = 100;

function flightOfTwo() {
  const buffer = () => new SharedArrayBuffer(WIRE_COUNTER_BYTES);
  const counters = [buffer(), buffer()];
  const elsewhere = [[buffer(), buffer()], [buffer(), buffer()]];
  const flight = new Flight({ counters, elsewhere, window: WINDOW }, 0);
  const own = wireCounters(counters[0]);
  const other = wireCounters(elsewhere[1][0]);
  return { flight, own, other };
}

Deno.test("frames on their way are those that came back nowhere", () => {
  const { flight, own, other } = flightOfTwo();
  own[WIRE_SLOT.generated] = 50;
  assertEquals(flight.count(0), 50);
  own[WIRE_SLOT.received] = 10;
  other[WIRE_SLOT.received] = 5;
  assertEquals(flight.count(1), 35);
  own[WIRE_SLOT.received] += 3;
  own[WIRE_SLOT.foreign] = 2;
  own[WIRE_SLOT.duplicated] = 1;
  assertEquals(flight.count(2), 35, "neither others' frames nor second copies");
  other[WIRE_SLOT.missing] = 4;
  assertEquals(flight.count(3), 31, "later ones of their flows have come");
});

Deno.test("a window full of frames that do not come back opens again, each time", () => {
  const { flight, own } = flightOfTwo();
  let now = 0;
  for (let outage = 1; outage <= 3; outage++) {
    own[WIRE_SLOT.generated] += WINDOW;
    assertEquals(flight.count(now), WINDOW);
    assertEquals(flight.count(now + 100), WINDOW);
    now += 10_000;
    assertEquals(flight.count(now), 0);
    // The next ones come, and show that those before are missing.
    own[WIRE_SLOT.generated] += 7;
    assertEquals(flight.count(now), 7);
    own[WIRE_SLOT.received] += 7;
    assertEquals(flight.count(now), 0);
    own[WIRE_SLOT.missing] += WINDOW;
    assertEquals(flight.count(now), 0);
  }
});

Deno.test("frames that come back after all do not let more on their way than the window", () => {
  const { flight, own } = flightOfTwo();
  own[WIRE_SLOT.generated] = WINDOW;
  flight.count(0);
  assertEquals(flight.count(10_000), 0);
  own[WIRE_SLOT.received] = WINDOW;
  assertEquals(flight.count(10_001), 0);
  own[WIRE_SLOT.generated] += WINDOW;
  assertEquals(flight.count(10_002), WINDOW);
});
