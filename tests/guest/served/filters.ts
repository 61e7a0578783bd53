/**
 * What a served card lets through to the guest's kernel: VLANs, and promiscuous mode.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { numbered, tagged } from "../frames.ts";
import { arpReply, arpRequest, isArp } from "../lab_frames.ts";
import type { Interface } from "./interface.ts";

const VLAN = 7;
const OTHER_VLAN = 8;
/** A station that is not there. */
const STRANGER = "02:00:00:00:99:99";
/** Octets of a tag, behind the addresses. */
const TAG = [12, 16] as const;
/** Longer than what it is to be told from. */
const MARKER_BYTES = 1000;

/** Whether a frame gets through. One for the interface itself, behind it, tells when that is decided. */
async function passes(it: Interface, frame: Uint8Array): Promise<boolean> {
  const marker = numbered(1, it.nic.mac, MARKER_BYTES);
  const { rx_bytes } = await it.growth(
    () => it.nic.port.send(frame, marker),
    ({ rx_bytes }) => rx_bytes >= marker.length,
  );
  return rx_bytes > marker.length;
}

/** Asks the guest in a VLAN, and expects the answer there. */
async function answersInVlan(it: Interface): Promise<void> {
  const [inside, outside] = [`10.78.${it.index}.2`, `10.78.${it.index}.1`];
  const { guest, name, nic } = it;
  const vlan = `${name}.${VLAN}`;
  await guest.sh(`ip address replace ${inside}/24 dev ${vlan}`);
  await nic.port.send(tagged(arpRequest(outside, inside), VLAN));
  const answer = await nic.port.receive({
    where: (frame) =>
      isArp(
        Uint8Array.from([
          ...frame.subarray(0, TAG[0]),
          ...frame.subarray(TAG[1]),
        ]),
        "reply",
      ),
  });
  const expected = tagged(arpReply(nic.mac, inside, outside), VLAN);
  assertEquals(answer.subarray(0, expected.length), expected);
}

/** A VLAN of the guest gets its frames, and no other VLAN's frames come in while the filter is on. */
export async function filtersVlans(it: Interface): Promise<void> {
  const { guest, name, nic } = it;
  const vlan = `${name}.${VLAN}`;
  const foreign = tagged(numbered(2, nic.mac), OTHER_VLAN);
  await guest.sh(`
    ip link add link ${name} name ${vlan} type vlan id ${VLAN}
    ip link set ${vlan} up
  `);
  for (const offload of ["on", "off"]) {
    await it.ethtool("-K", "rxvlan", offload, "txvlan", offload);
    await answersInVlan(it);
    for (const filter of ["off", "on"]) {
      await it.ethtool("-K", "rx-vlan-filter", filter);
      assertEquals(await passes(it, foreign), filter === "off");
    }
  }
  await it.ethtool("-K", "rxvlan", "on", "txvlan", "on");
  await guest.sh(`ip link del ${vlan}`);
}

/** A frame for somebody else comes in only in promiscuous mode. */
export async function isPromiscuousWhenAsked(it: Interface): Promise<void> {
  const frame = numbered(3, STRANGER);
  for (const mode of ["off", "on", "off"]) {
    await it.guest.sh(`ip link set ${it.name} promisc ${mode}`);
    assertEquals(await passes(it, frame), mode === "on");
  }
}
