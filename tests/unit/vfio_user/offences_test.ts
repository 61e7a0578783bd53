/** What a served card says of the driver of its client. */

import { assert, assertEquals } from "@std/assert";
import { withoutContainer } from "../../../src/bus/vfio/container.ts";
import { Offences } from "../../../src/vfio_user/offences.ts";

const tail = (value: number) => ({
  kind: "order",
  message: `RDT[0] = ${value} is beyond the ring of 64 (7.1.9, 7.2.3.3)`,
} as const);
const fault = (iova: number) => ({
  kind: "dma-fault",
  message: `read of 16 bytes at IOVA 0x${iova.toString(16)}, not mapped`,
} as const);

Deno.test("an offence against one rule is told once, whatever its values", () => {
  const offences = new Offences();
  const told = Array.from({ length: 500 }, (_, i) => offences.note(tail(i)));
  assertEquals(told.filter(Boolean).length, 1);
  assertEquals(offences.summary(), [
    "500 times: order: RDT[0] = 0 is beyond the ring of 64 (7.1.9, 7.2.3.3)",
  ]);
});

Deno.test("each fault is told, however much was told before", () => {
  const offences = new Offences();
  for (let i = 0; i < 300; i++) {
    const message = `rule ${String.fromCharCode(65 + i % 26)}${"x".repeat(i)}`;
    assert(offences.note({ kind: "register", message }));
  }
  assert(offences.note(fault(0x1000)));
  assert(offences.note(fault(0x2000)));
  assertEquals(offences.note(fault(0x1000)), false);
  offences.noteMore(7);
  assertEquals(offences.summary().slice(-2), [
    "3 times: dma-fault: read of 16 bytes at IOVA 0x1000, not mapped",
    "7 more were only counted",
  ]);
  offences.clear();
  assertEquals(offences.summary(), []);
  assert(offences.note(fault(0x1000)));
});

Deno.test("a kernel with iommufd alone is told from one without VFIO", () => {
  assert(withoutContainer(true).includes("CONFIG_VFIO_GROUP"));
  assert(withoutContainer(false).includes("modprobe vfio-pci"));
});
