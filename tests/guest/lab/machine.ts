/**
 * A guest's hardware: what a scenario says of it, and what that is for QEMU.
 *
 * @module
 */

import { AGENT_PORT } from "./protocol.ts";

/** QEMU's network cards that there is, or will be, a driver for. */
export type NicModel =
  | "e1000"
  | "e1000-82545em"
  | "e1000e"
  | "igb"
  | "virtio-net-pci"
  | ServedModel;

/** Cards that a process of ours serves, to a newer QEMU: the software card. */
export type ServedModel = "82599" | "x540";

/** Whether a card is served by a process of ours. */
export function isServed(model: NicModel): model is ServedModel {
  return model === "82599" || model === "x540";
}

/** Properties of a device, as QEMU takes them in JSON. */
export type NicProperties = Readonly<Record<string, string | number | boolean>>;

/** A card of the guest. */
export interface NicDescription {
  readonly model: NicModel;
  /** The MAC address; `02:00:00:00:00:0N` by default, N counting from 1. */
  readonly mac?: string;
  /**
   * What the cable leads to: a {@linkcode FramePort} of the test (default), or
   * a TAP interface of that name, which the test moves into a namespace. A
   * served card makes it itself.
   */
  readonly tap?: string;
  /** The best kind of interrupts that a served card declares: "msix" by default. */
  readonly interrupts?: "msix" | "msi" | "intx";
  /** Queue pairs of the cable (TAP only), for virtio with several. */
  readonly cableQueues?: number;
  /** Behind a root port, for `unplug()` and `plug()`. */
  readonly hotplug?: boolean;
  /** Behind one PCI bridge with all others that are, hence in one IOMMU group with them. Not for PCIe cards. */
  readonly bridged?: boolean;
  /** Write what passes into a pcap file. Not for served cards with a TAP interface. */
  readonly capture?: boolean;
  /** More properties of QEMU's device. */
  readonly properties?: NicProperties;
}

/** A guest. */
export interface MachineDescription {
  /** Names the folder of its logs: tests/out/guest/NAME. */
  readonly name: string;
  readonly nics?: readonly NicDescription[];
  /** Memory; 1024 MiB by default. */
  readonly memoryMib?: number;
  /** Processors; 2 by default. */
  readonly cpus?: number;
  /** 2 MiB pages reserved at boot; 64 by default. */
  readonly hugepages?: number;
  /** An IOMMU that all cards are behind; there is one by default. */
  readonly iommu?: boolean;
  /** More words for the kernel. */
  readonly kernelArguments?: readonly string[];
}

/** Where QEMU finds what a guest consists of. */
export interface GuestFiles {
  readonly kernel: string;
  readonly initramfs: string;
  readonly console: string;
  readonly agentSocket: string;
  readonly qmpSocket: string;
  /** The checkout. */
  readonly root: string;
  /** Deno's executable. */
  readonly deno: string;
}

/** Slots of the root bus. Cards start at 4, as in the examples for users. */
const SLOTS = {
  root: 0x02,
  agent: 0x03,
  nics: 0x04,
  rootPorts: 0x10,
  bridge: 0x1e,
  /** On the bus behind the bridge, which has no slot 0. */
  bridged: 0x01,
} as const;
const BRIDGE = "bridge";
const MAX_NICS = SLOTS.rootPorts - SLOTS.nics;

const hex = (value: number, digits: number) =>
  value.toString(16).padStart(digits, "0");

/** What QEMU's virtio-net needs to stay behind the IOMMU. */
const MODEL_PROPERTIES: Partial<Record<NicModel, NicProperties>> = {
  "virtio-net-pci": {
    "disable-legacy": "on",
    iommu_platform: true,
    ats: true,
  },
};

/** A card with all that follows from its place in the description. */
export interface NicPlace {
  readonly description: NicDescription;
  /** QEMU's name of the card. */
  readonly id: string;
  /** QEMU's name of its end of the cable. */
  readonly netdev: string;
  readonly mac: string;
  /** Where the guest finds it: `0000:00:04.0`. */
  readonly address: string;
  /** The device for QEMU, as `-device` and `device_add` take it; a served card's lacks its socket. */
  readonly device: Readonly<Record<string, unknown>>;
}

/**
 * Gives each card its place: the first without hot-plug gets 0000:00:04.0, the
 * first behind a root port 0000:01:00.0. The firmware numbers the buses behind
 * root ports in their order, then the one behind the bridge.
 */
export function placeNics(nics: readonly NicDescription[]): NicPlace[] {
  if (nics.length > MAX_NICS) {
    throw new RangeError(`a guest has up to ${MAX_NICS} cards`);
  }
  const bridgeBus = hex(nics.filter(({ hotplug }) => hotplug).length + 1, 2);
  let [slot, rootPort] = [SLOTS.nics as number, 0];
  let bridged: number = SLOTS.bridged;
  return nics.map((description, index) => {
    const id = `nic${index}`;
    const netdev = `net${index}`;
    const mac = description.mac ?? `02:00:00:00:00:${hex(index + 1, 2)}`;
    const at = (bus: string, number: string, addr: string) =>
      [`0000:${number}:${addr}.0`, { bus, addr }] as const;
    const [address, place] = description.hotplug
      ? at(`port${++rootPort}`, hex(rootPort, 2), "00")
      : description.bridged
      ? at(BRIDGE, bridgeBus, hex(bridged++, 2))
      : at("pcie.0", "00", hex(slot++, 2));
    const own = isServed(description.model)
      ? { driver: "vfio-user-pci", id }
      // Nobody boots from it: no firmware to load.
      : { driver: description.model, id, netdev, mac, romfile: "" };
    const device = {
      ...own,
      ...place,
      ...MODEL_PROPERTIES[description.model],
      ...description.properties,
    };
    return { description, id, netdev, mac, address, device };
  });
}

/** The socket of a card's cable, or its TAP interface. */
function netdev(nic: NicPlace, socket: string | undefined): string {
  const { tap, cableQueues } = nic.description;
  if (tap === undefined) {
    return `stream,id=${nic.netdev},server=off,addr.type=unix,addr.path=${socket}`;
  }
  const queues = cableQueues === undefined ? "" : `,queues=${cableQueues}`;
  return `tap,id=${nic.netdev},ifname=${tap},script=no,downscript=no${queues}`;
}

/** How a card is connected. */
export interface NicFiles {
  /** The test's socket, for a card without TAP. */
  readonly socket: string | undefined;
  /** The pcap file, if one is wanted. */
  readonly capture: string | undefined;
  /** Where the process listens that serves the card. */
  readonly served: string | undefined;
}

/** The whole device for QEMU, with the socket of the process that serves it. */
export function deviceOf(
  { device }: NicPlace,
  served: string | undefined,
): Readonly<Record<string, unknown>> {
  if (served === undefined) return device;
  return { ...device, socket: { type: "unix", path: served } };
}

function nicArguments(nic: NicPlace, files: NicFiles): string[] {
  if (files.served !== undefined) {
    return ["-device", JSON.stringify(deviceOf(nic, files.served))];
  }
  const args = ["-netdev", netdev(nic, files.socket)];
  if (files.capture !== undefined) {
    const dump = `filter-dump,id=dump-${nic.id},netdev=${nic.netdev}`;
    args.push("-object", `${dump},file=${files.capture}`);
  }
  return [...args, "-device", JSON.stringify(nic.device)];
}

function rootPorts(nics: readonly NicPlace[]): string[] {
  const count = nics.filter(({ description }) => description.hotplug).length;
  return Array.from({ length: count }, (_, index) => {
    const number = index + 1;
    const slot = hex(SLOTS.rootPorts + index, 2);
    return [
      "-device",
      `pcie-root-port,id=port${number},bus=pcie.0,addr=${slot},chassis=${number},slot=${number}`,
    ];
  }).flat();
}

function bridge(nics: readonly NicPlace[]): string[] {
  if (!nics.some(({ description }) => description.bridged)) return [];
  const addr = hex(SLOTS.bridge, 2);
  return ["-device", `pcie-pci-bridge,id=${BRIDGE},bus=pcie.0,addr=${addr}`];
}

/** Enough for the pools of a few cards. */
const HUGEPAGES = 64;

/**
 * Seen with TCG on a busy host: a check of the timer at boot that panics when
 * it ticks late, and a processor that slept on because its one-shot timer was
 * lost. A periodic tick comes again.
 */
const BUSY_HOST_ARGUMENTS = ["no_timer_check", "nohz=off", "highres=off"];

function kernelCommandLine(
  machine: MachineDescription,
  files: GuestFiles,
): string {
  return [
    // A panic ends the guest at once.
    "console=ttyS0 panic=-1",
    // The recipe for one IOMMU group per card, with everything translated.
    "intel_iommu=on iommu=nopt",
    ...BUSY_HOST_ARGUMENTS,
    `hugepages=${machine.hugepages ?? HUGEPAGES}`,
    ...machine.kernelArguments ?? [],
    // Words that the kernel does not know become environment of the first program.
    `"IXL_ROOT=${files.root}"`,
    `"IXL_DENO=${files.deno}"`,
  ].join(" ");
}

/** QEMU's arguments for a machine without cards, on an accelerator. */
export function baseArguments(
  accelerator: string,
  iommu = true,
  machineOptions = "",
): string[] {
  return [
    "-nodefaults -display none -vga none -no-reboot",
    `-accel ${accelerator} -cpu max -M q35,kernel-irqchip=split${machineOptions}`,
    // First of all devices, for them to be behind it.
    ...(iommu ? ["-device intel-iommu,intremap=on,caching-mode=on"] : []),
  ].flatMap((words) => words.split(" "));
}

/** QEMU's arguments for a machine. `nicFiles` has an entry for each card. */
export function machineArguments(
  machine: MachineDescription,
  accelerator: string,
  files: GuestFiles,
  nics: readonly NicPlace[],
  nicFiles: readonly NicFiles[],
): string[] {
  const { memoryMib = 1024, cpus = 2 } = machine;
  const shared = nicFiles.some(({ served }) => served !== undefined);
  return [
    ...(shared
      ? ["-object", `memory-backend-memfd,id=mem,size=${memoryMib}M,share=on`]
      : []),
    ...baseArguments(
      accelerator,
      machine.iommu,
      shared ? ",memory-backend=mem" : "",
    ),
    ...["-smp", `${cpus}`, "-m", `${memoryMib}`],
    ...["-kernel", files.kernel, "-initrd", files.initramfs],
    ...["-append", kernelCommandLine(machine, files)],
    ...["-serial", `file:${files.console}`],
    "-fsdev",
    "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
    "-device",
    `virtio-9p-pci,fsdev=root,mount_tag=root,addr=${hex(SLOTS.root, 2)}`,
    ...["-device", `virtio-serial-pci,addr=${hex(SLOTS.agent, 2)}`],
    ...["-chardev", `socket,id=agent,server=off,path=${files.agentSocket}`],
    ...["-device", `virtserialport,chardev=agent,name=${AGENT_PORT}`],
    ...["-chardev", `socket,id=qmp,server=off,path=${files.qmpSocket}`],
    ...["-mon", "chardev=qmp,mode=control"],
    ...rootPorts(nics),
    ...bridge(nics),
    ...nics.flatMap((nic, index) => nicArguments(nic, nicFiles[index])),
  ];
}
