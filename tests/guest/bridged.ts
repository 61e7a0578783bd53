/**
 * Our bridge in the guest, between a card and a device that is none: every byte goes there and back.
 *
 * @module
 */
import { assertEquals, assertMatch } from "@std/assert";
import { lastJson } from "../support/host/cli.ts";
import { numbered, swapped } from "./frames.ts";
import { bindDriver, type Guest, type Nic } from "./lab/mod.ts";

const FRAMES = 48;
const PATIENCE_MS = 120_000;
const LONGEST = 1514;

/** How packets pass, and what comes back. */
export interface Passage {
  /** Where the memory of both devices lies. */
  readonly pages: "huge" | "ordinary";
  /** How many packets are copied; the others are sent from where they were received. */
  readonly copied: "none" | "one way";
}

/** Frames of all sizes, each with its own content. */
function frames(): Uint8Array<ArrayBuffer>[] {
  const step = (LONGEST - 60) / (FRAMES - 1);
  return Array.from(
    { length: FRAMES },
    (_, i) => numbered(i, "02:00:00:00:00:02", 60 + Math.floor(i * step)),
  );
}

/** Bridges a card and DPDK's testpmd, which exchanges the addresses of each frame and sends it back. */
export async function bridgesToBackend(
  guest: Guest,
  nic: Nic,
  passage: Passage,
): Promise<void> {
  const socket = `/tmp/bridged-${passage.pages}`;
  const backend = await guest.spawn([
    ...["dpdk-testpmd", "--lcores", "0@(0-1),1@(0-1)", "--no-huge"],
    ...["--no-shconf", "-m", "64", "--iova-mode=va", "--no-pci"],
    ...["--no-telemetry", "--vdev", `net_vhost0,iface=${socket}`, "--"],
    ...["-i", "--auto-start", "--forward-mode=macswap", "--nb-cores=1"],
    "--total-num-mbufs=4096",
  ]);
  await backend.prints(/testpmd> /, { timeoutMs: PATIENCE_MS });
  const other = `vhost-user:${socket}?timeout=${PATIENCE_MS}`;
  await bridges(guest, nic, { ...passage, other, back: frames().map(swapped) });
  await backend.kill();
}

/** Bridges a card and a software card whose cable brings back what it is given. */
export async function bridgesToSoftwareCard(
  guest: Guest,
  nic: Nic,
  passage: Passage,
): Promise<void> {
  await bridges(guest, nic, {
    ...{ ...passage, other: "sim:loopback", back: frames() },
  });
}

interface Bridged extends Passage {
  readonly other: string;
  readonly back: readonly Uint8Array[];
}

async function bridges(
  guest: Guest,
  nic: Nic,
  { pages, copied, other, back }: Bridged,
): Promise<void> {
  await bindDriver(guest, nic.address, "vfio-pci");
  const bridge = await guest.spawn([
    ...["deno", "run", "-q", "-A", "--no-check", "examples/bridge.ts"],
    ...[nic.address, other, "--json"],
  ], { env: { IXL_HUGEPAGES: pages === "huge" ? "require" : "never" } });
  await bridge.prints(/bridging/, { timeoutMs: PATIENCE_MS });
  await nic.port.send(...frames());
  const received = await nic.port.receiveMany(FRAMES, {
    timeoutMs: PATIENCE_MS,
  });
  assertEquals(received, back);
  await bridge.signal("SIGINT");
  const { code, stdout, stderr } = await bridge.ended();
  assertEquals(code, 0, stderr);
  const report = lastJson<Record<string, number>>(stdout);
  assertEquals([report.toRight, report.toLeft], [FRAMES, FRAMES]);
  assertEquals(report.copied, copied === "none" ? 0 : FRAMES);
  if (copied !== "none") assertMatch(stderr, /are copied: .* across pages/);
}
