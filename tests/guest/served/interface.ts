/**
 * Served cards as interfaces of the guest's kernel, under its own ixgbe driver.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { arpReply, arpRequest, isArp } from "../lab_frames.ts";
import type { Guest, Nic } from "../lab/mod.ts";

/** The module. */
export const DRIVER = "ixgbe";
/** Seconds that the driver may take to see its link come or go. */
const LINK_SECONDS = 60;
const COUNTERS_TIMEOUT_MS = 60_000;

/** What the driver says when something is wrong, and what the kernel says of it. */
const COMPLAINTS = [
  /ixgbe.*(fail|hang|reset|error|warn|unsupported|timed out)/i,
  /NETDEV WATCHDOG/,
  /WARNING: .*(ixgbe|net\/)/,
];
/** It says so of a card that has none. */
const NO_MSIX = /Failed to allocate MSI(-X)? interrupts?/;

/** Values by their names. */
export type Counters = Readonly<Record<string, number>>;

/** What the kernel has complained of so far. */
export async function complaints(guest: Guest): Promise<string[]> {
  return (await guest.dmesg()).split("\n").filter((line) =>
    COMPLAINTS.some((pattern) => pattern.test(line)) && !NO_MSIX.test(line)
  );
}

/** What a server has said of the guest's driver: only what the datasheet forbids, each thing once. */
export function remarks(output: string): string[] {
  return Array.from(
    output.matchAll(/^ixl sim serve: client \d+: (.*)$/gm),
    ([, remark]) => remark,
  );
}

/** An interface that is up, without IPv6, so that it sends nothing unasked. */
export class Interface {
  /** The kernel's name of it. */
  readonly name: string;
  /** The card's place among the guest's, which its addresses are made of. */
  readonly index: number;

  private constructor(
    readonly guest: Guest,
    readonly nic: Nic,
    name: string,
  ) {
    this.name = name;
    this.index = guest.nics.indexOf(nic);
  }

  /** Loads the driver if need be, and waits until the card has its link. */
  static async up(guest: Guest, nic: Nic): Promise<Interface> {
    await guest.loadModule(DRIVER);
    const name = await guest.sh(`ls /sys/bus/pci/devices/${nic.address}/net`);
    const it = new Interface(guest, nic, name.trim());
    await guest.sh(`
      echo 1 > /proc/sys/net/ipv6/conf/${it.name}/disable_ipv6
      ip link set ${it.name} up
    `);
    await it.untilLink(true);
    return it;
  }

  /** Waits until it has its link, or has lost it. */
  async untilLink(up: boolean): Promise<void> {
    await this.guest.sh(
      `
      for second in $(seq ${LINK_SECONDS}); do
        [ "$(cat /sys/class/net/${this.name}/carrier)" = ${Number(up)} ] && exit
        sleep 1
      done
      echo "the link of ${this.name} is not ${up}" >&2
      exit 1
      `,
      { timeoutMs: 2 * LINK_SECONDS * 1000 },
    );
  }

  /** What `ethtool` prints of it: `ethtool("-K", "rx", "off")`. */
  async ethtool(flag: string, ...words: readonly string[]): Promise<string> {
    const command = ["ethtool", flag, this.name, ...words];
    return await this.guest.sh(command.join(" "));
  }

  /** A file of it below /sys/class/net. */
  async read(file: string): Promise<string> {
    const path = `/sys/class/net/${this.name}/${file}`;
    return (await this.guest.sh(`cat ${path}`)).trim();
  }

  /** All of `ethtool -S`. */
  async counters(): Promise<Counters> {
    const text = await this.ethtool("-S");
    const lines = text.matchAll(/^ *(\w+): (\d+)$/gm);
    return Object.fromEntries(
      Array.from(lines, ([, name, value]) => [name, Number(value)]),
    );
  }

  /**
   * How much its counters grow by something that the test does.
   *
   * @param action What is done.
   * @param settled Says when all of it has been counted.
   */
  async growth(
    action: () => Promise<unknown>,
    settled: (grown: Counters) => boolean,
  ): Promise<Counters> {
    const before = await this.counters();
    await action();
    const deadline = performance.now() + COUNTERS_TIMEOUT_MS;
    while (true) {
      const now = await this.counters();
      const grown = Object.fromEntries(
        Object.keys(now).map((name) => [name, now[name] - before[name]]),
      );
      if (settled(grown)) return grown;
      if (performance.now() > deadline) {
        throw new Error(`counted so far: ${JSON.stringify(grown)}`);
      }
    }
  }

  /** Has the kernel answer questions that come over the cable, one after the other. */
  async answers(count: number): Promise<void> {
    const { guest, index, name, nic } = this;
    const [inside, outside] = [`10.77.${index}.2`, `10.77.${index}.1`];
    await guest.sh(`ip address replace ${inside}/24 dev ${name}`);
    const expected = arpReply(nic.mac, inside, outside);
    for (let asked = 0; asked < count; asked++) {
      await nic.port.send(arpRequest(outside, inside));
      const answer = await nic.port.receive({
        where: (frame) => isArp(frame, "reply"),
      });
      assertEquals(answer.subarray(0, expected.length), expected);
    }
  }
}
