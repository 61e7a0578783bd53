/**
 * The e1000 driver on QEMU's 82540EM, 82545EM and 82574L behind VFIO, when workers change under load. See
 * also `endurance_test.ts`.
 */
import { assert, assertEquals } from "@std/assert";
import { CardProgram } from "./card_program.ts";
import { numbered, numberOf } from "./frames.ts";
import { MODELS } from "./gigabit/models.ts";
import { type Guest, guestScenarios, type Nic } from "./lab/mod.ts";

/** Frames of one send. Those beyond a full ring the 8254x's models drop and count, as silicon does. */
const BURST = 48;

const E1000 = MODELS.filter(({ driver }) => driver === "e1000");

const scenario = guestScenarios({
  name: "e1000",
  nics: E1000.map(({ nic }) => ({ model: nic })),
});

/**
 * Waits until what a test before sent has come back or was dropped, and frames pass one by one. While the models of
 * the 8254x catch up they drop what does not fit the ring.
 */
async function passing(nic: Nic): Promise<void> {
  for (let number = 10_001; number < 10_011; number++) {
    await nic.port.send(numbered(number, nic.mac));
    const where = (frame: Uint8Array) => numberOf(frame) === number;
    const came = await nic.port.receive({ where, timeoutMs: 5000 })
      .then(() => true, () => false);
    if (came) return;
  }
  throw new Error("nothing passes");
}

function ofLengths(nic: Nic, from: number, to: number): Uint8Array[] {
  return Array.from(
    { length: to - from + 1 },
    (_, i) => numbered(i, nic.mac, from + i),
  );
}

for (const [index, model] of E1000.entries()) {
  const on = (
    what: string,
    test: (guest: Guest, nic: Nic) => Promise<void>,
  ): void =>
    scenario(
      `${model.name} ${what}`,
      (guest) => test(guest, guest.nics[index]),
    );

  on("changes workers under load", async (guest, nic) => {
    const card = await CardProgram.start(guest, nic);
    let stopped = false;
    const load = (async () => {
      for (let i = 0; !stopped; i++) {
        await nic.port.send(...ofLengths(nic, 60, 60 + BURST));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    for (let i = 0; i < 3; i++) {
      await card.call("restartWorker", 0);
      await card.call("moveWorker", 0);
    }
    stopped = true;
    await load;
    assertEquals(await card.call("failures"), []);
    await passing(nic);
    const [{ poolInUse }] = await card.call<{ poolInUse: number }[]>("pools");
    assert(poolInUse <= 1024, `${poolInUse} packets are out`);
    await card.close();
  });
}
