/**
 * Which frames are received, and what the card says of them.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import { PacketFlag } from "../../../mod.ts";
import { ipv4Frame } from "../../support/frames/ip_frames.ts";
import { Card } from "../console.ts";
import { macBytes, numbered, numberOf, tagged } from "../frames.ts";
import type { Nic } from "../lab/mod.ts";
import type { PacketReport } from "../programs/card_console.ts";
import { BROADCAST, type OnCard, POLLING, type Rig } from "./rig.ts";

const OTHER = "02:00:00:00:aa:01";
const GROUP = "01:00:5e:00:00:fb";
const TAG = 0x6123;

const { IpChecksumGood, IpChecksumBad, L4ChecksumGood, L4ChecksumBad } =
  PacketFlag;

const bytesOf = ({ hex }: PacketReport) => Uint8Array.fromHex(hex);

/** Registers them. */
export function filterScenarios(on: OnCard): void {
  on("receives what it shall, and judges it", async (rig) => {
    const { guest, nic, model, step } = rig;
    const card = await Card.open(guest, nic, POLLING);
    await step(
      "leaves VLAN tags where they are",
      () => takesTags(card, nic, false),
    );
    await step(
      "says which checksums are right and which wrong",
      () => judges(card, rig),
    );
    await step("obeys its filters", () => filters(card, nic));
    await step("filters VLANs once it knows one", () => vlans(card, nic));
    await step(
      "fills every slot of its address filter",
      () => fillsSlots(card, nic, model.features.macFilters),
    );
    await card.reopen({ ...POLLING, vlanStrip: true });
    await step("takes VLAN tags out", () => takesTags(card, nic, true));
    await card.close();
  });
}

/** Which of these destinations the card takes. */
async function accepted(
  card: Card,
  nic: Nic,
  macs: readonly string[],
): Promise<string[]> {
  // The last one always gets through, so nobody has to wait for what does not come.
  const all = [...macs, BROADCAST];
  await nic.port.send(...all.map((mac, i) => numbered(i, mac)));
  const taken: string[] = [];
  for (;;) {
    for (const report of await card.receive(1)) {
      const number = numberOf(bytesOf(report));
      if (number === macs.length) return taken;
      taken.push(all[number]);
    }
  }
}

async function filters(card: Card, nic: Nic): Promise<void> {
  const own = nic.mac;
  const macs = [own, OTHER, GROUP];
  assertEquals(await accepted(card, nic, macs), [own]);
  await card.call("addMacFilter", OTHER);
  assertEquals(await accepted(card, nic, macs), [own, OTHER]);
  await card.call("removeMacFilter", OTHER);
  assertEquals(await accepted(card, nic, macs), [own]);
  await card.call("setAllMulticast", true);
  assertEquals(await accepted(card, nic, macs), [own, GROUP]);
  await card.call("setAllMulticast", false);
  assertEquals(await accepted(card, nic, macs), [own]);
  await card.call("setPromiscuous", true);
  assertEquals(await accepted(card, nic, macs), macs);
  await card.call("setPromiscuous", false);
  await card.call("setMacAddress", OTHER);
  assertEquals(await accepted(card, nic, macs), [OTHER]);
}

async function vlans(card: Card, nic: Nic): Promise<void> {
  const untagged = numbered(9, BROADCAST, 64);
  const acceptedVlans = async () => {
    const frames = [0x123, 0x124, 0x200].map((vlan) =>
      tagged(numbered(vlan, BROADCAST, 64), 0x6000 | vlan)
    );
    await nic.port.send(...frames, untagged);
    const taken: number[] = [];
    for (;;) {
      for (const report of await card.receive(1)) {
        const bytes = bytesOf(report);
        if (bytes.length === untagged.length) return taken;
        taken.push((bytes[14] << 8 | bytes[15]) & 0xfff);
      }
    }
  };
  assertEquals(await acceptedVlans(), [0x123, 0x124, 0x200]);
  await card.call("addVlanFilter", 0x123);
  assertEquals(await acceptedVlans(), [0x123]);
  await card.call("addVlanFilter", 0x200);
  assertEquals(await acceptedVlans(), [0x123, 0x200]);
  await card.call("setPromiscuous", true);
  assertEquals(await acceptedVlans(), [0x123, 0x124, 0x200]);
  await card.call("setPromiscuous", false);
  await card.call("removeVlanFilter", 0x123);
  assertEquals(await acceptedVlans(), [0x200]);
  await card.call("removeVlanFilter", 0x200);
  assertEquals(await acceptedVlans(), [0x123, 0x124, 0x200]);
}

async function fillsSlots(card: Card, nic: Nic, slots: number): Promise<void> {
  const macs = Array.from(
    { length: slots },
    (_, i) => `02:00:00:00:bb:${i.toString(16).padStart(2, "0")}`,
  );
  for (const mac of macs) await card.call("addMacFilter", mac);
  assertEquals(await accepted(card, nic, macs), macs);
  await assertRejects(
    () => card.call("addMacFilter", "02:00:00:00:cc:01"),
    Error,
    `all ${slots} filters`,
  );
}

async function takesTags(
  card: Card,
  nic: Nic,
  strips: boolean,
): Promise<void> {
  const plain = numbered(1, nic.mac, 64);
  const frame = tagged(plain, TAG);
  await nic.port.send(frame, plain);
  const [first, second] = await card.receive(2);
  assertEquals(bytesOf(first), strips ? plain : frame);
  assertEquals(bytesOf(second), plain);
  const stripped = ({ flags }: PacketReport) =>
    (flags & PacketFlag.VlanStripped) !== 0;
  assertEquals([stripped(first), stripped(second)], [strips, false]);
  if (strips) assertEquals(first.vlanTag, TAG);
}

async function judges(card: Card, { nic, model }: Rig): Promise<void> {
  for (const protocol of ["tcp", "udp"] as const) {
    const frames = ([undefined, "ip", "l4"] as const).map((spoil) => {
      const frame = ipv4Frame({ protocol, ...(spoil ? { spoil } : {}) });
      frame.set(macBytes(nic.mac));
      return frame;
    });
    await nic.port.send(...frames, numbered(1, nic.mac));
    const verdicts = (await card.receive(frames.length + 1))
      .map(({ flags }) => flags & ~PacketFlag.RssHash);
    assertEquals(
      verdicts,
      model.verdicts
        ? [
          IpChecksumGood | L4ChecksumGood,
          IpChecksumBad | L4ChecksumGood,
          IpChecksumGood | (protocol === model.unreliable ? 0 : L4ChecksumBad),
          0,
        ]
        : [0, 0, 0, 0],
    );
  }
}
