/**
 * `ixl info ADDRESS`: what a card is and can do.
 *
 * @module
 */
import { type Device, openDevice } from "../device.ts";
import { DeviceTimeoutError } from "../errors.ts";
import { formatIds } from "../pci/ids.ts";
import { stopOnSignals } from "../runtime/signals.ts";
import {
  cardOptions,
  type Command,
  defineCommand,
  UNSAFE_NO_IOMMU,
  VIRTIO_WITH,
} from "./command.ts";
import { type Cell, formatTable } from "./table.ts";

/** Opens a card, describes it, and closes it again. */
export const infoCommand: Command = defineCommand({
  name: "info",
  summary: "Opens a card and says what it is and can do",
  args: ["ADDRESS"],
  options: [
    {
      name: "link-timeout",
      value: "MS",
      default: 3000,
      range: [0, 600_000],
      help: "how long to wait for the link",
    },
    UNSAFE_NO_IOMMU,
    VIRTIO_WITH,
    { name: "json", help: "print one object" },
  ],
  run: async (given) => {
    const [address] = given.args;
    await using device = await openDevice({
      address,
      linkTimeoutMs: 0,
      ...cardOptions(given),
    });
    await waitForLink(device, given.number("link-timeout"));
    const description = describe(device);
    console.log(
      given.flag("json") ? JSON.stringify(description) : text(description),
    );
    return 0;
  },
});

/** A card without a cable can be described, too. */
async function waitForLink(device: Device, milliseconds: number) {
  const asked = Promise.withResolvers<void>();
  using _signals = stopOnSignals(asked.resolve);
  try {
    if (milliseconds === 0) return;
    const link = device.waitForLink(milliseconds);
    link.catch(() => {});
    await Promise.race([link, asked.promise]);
  } catch (error) {
    if (!(error instanceof DeviceTimeoutError)) throw error;
  }
}

function describe(device: Device) {
  const { address, driver, model, macAddress, features } = device;
  return {
    address,
    driver,
    model,
    ids: formatIds(device.ids),
    revision: device.ids.revision,
    macAddress,
    link: device.link(),
    rxQueues: device.rxQueueCount,
    txQueues: device.txQueueCount,
    rxQueueDepth: device.rxQueueDepth,
    txQueueDepth: device.txQueueDepth,
    maxFrameSize: device.maxFrameSize,
    features,
  };
}

function text(description: ReturnType<typeof describe>): string {
  const { link, features } = description;
  const rows: [string, Cell][] = [
    ["address", description.address],
    ["model", `${description.model} (driver ${description.driver})`],
    ["PCI ids", `${description.ids} revision ${description.revision}`],
    ["MAC address", description.macAddress],
    ["link", link.up ? `up, ${link.speed} Mbit/s` : "down"],
    ["receive queue", `${description.rxQueueDepth} descriptors`],
    ["transmit queue", `${description.txQueueDepth} descriptors`],
    ["largest frame", `${description.maxFrameSize} bytes as opened`],
    ...limits(features),
  ];
  const columns = [{ title: "" }, { title: "" }];
  return formatTable(columns, rows).trimStart();
}

function limits(features: Device["features"]): [string, Cell][] {
  const yesNo = (value: boolean) => value ? "yes" : "no";
  return [
    ["", `${features.maxFrameSize} bytes at most`],
    ["queue pairs", `${features.maxQueues} at most`],
    [
      "RSS",
      `${features.rssQueues} queues, a table of ${features.retaSize} entries`,
    ],
    ["MAC filters", features.macFilters],
    ["receive checksums", yesNo(features.rxChecksum)],
    ["VLAN tags taken out", yesNo(features.vlanStrip)],
    ["interrupt per queue", yesNo(features.queueInterrupts)],
    ["checksums on sending", yesNo(features.txChecksum)],
    ["TCP segmentation", yesNo(features.segmentation)],
    ...(features.virtio
      ? [["virtio", features.virtio.join(" ")] satisfies [string, Cell]]
      : []),
  ];
}
