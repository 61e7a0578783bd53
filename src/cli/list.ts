/**
 * `ixl list`: what there is to open.
 *
 * @module
 */
import { type DeviceListing, listDevices } from "../device.ts";
import { type Command, defineCommand } from "./command.ts";
import { type Column, formatTable } from "./table.ts";

const COLUMNS: readonly Column[] = [
  { title: "address" },
  { title: "ids" },
  { title: "NUMA node", align: "right" },
  { title: "IOMMU group", align: "right" },
  { title: "kernel driver" },
  { title: "link" },
  { title: "can be opened" },
  { title: "card" },
];

/** Lists the software cards and every Ethernet card on the PCI bus. */
export const listCommand: Command = defineCommand({
  name: "list",
  summary: "Lists the network cards, and the forms of other addresses",
  options: [{ name: "json", help: "print an array of objects" }],
  run: (given) => {
    const devices = listDevices();
    console.log(given.flag("json") ? json(devices) : text(devices));
    return Promise.resolve(0);
  },
});

/** Keeps the fields that are undefined, as null. */
function json(devices: readonly DeviceListing[]): string {
  return JSON.stringify(devices, (_, value) => value ?? null, 2);
}

function text(devices: readonly DeviceListing[]): string {
  const rows = devices.map((device) => [
    device.address,
    device.ids || "-",
    device.numaNode < 0 ? "-" : device.numaNode,
    device.iommuGroup ?? "-",
    device.kernelDriver ?? "-",
    device.link ?? "-",
    device.reason === undefined ? "yes" : "no",
    device.name,
  ]);
  const reasons = devices.filter(({ reason }) => reason !== undefined);
  return [
    formatTable(COLUMNS, rows),
    ...reasons.map(({ reason }) => `${reason}.`),
  ].join("\n\n");
}
