/**
 * A card's cable that leads into a network namespace of the host: two kernels
 * talk over it.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { command } from "../support/host/cli.ts";
import { bindDriver, guestScenarios } from "./lab/mod.ts";

const TAP = `ixlt${Deno.pid}`;

const scenario = guestScenarios(
  {
    name: "tap",
    nics: [{
      model: "virtio-net-pci",
      tap: TAP,
      cableQueues: 2,
      properties: { mq: true, vectors: 6 },
    }],
  },
  ...["root", "tap", "netns", "ping"] as const,
);

/** A namespace of the host, deleted at the end. */
class Namespace implements AsyncDisposable {
  readonly name = `ixl-tap-${Deno.pid}`;

  static async make(): Promise<Namespace> {
    const namespace = new Namespace();
    await command("ip", "netns", "add", namespace.name);
    return namespace;
  }

  /** Runs `ip` in it. */
  ip(...args: string[]): Promise<string> {
    return command("ip", "-netns", this.name, ...args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await command("ip", "netns", "delete", this.name);
  }
}

scenario("a guest's kernel answers pings from a namespace", async (guest) => {
  const [nic] = guest.nics;
  await guest.loadModule("virtio_net");
  await bindDriver(guest, nic.address, "virtio-pci");
  const bus = `/sys/bus/pci/devices/${nic.address}`;
  const name = (await guest.sh(`ls ${bus}/virtio*/net`)).trim();
  const queues = await guest.sh(`ls -d /sys/class/net/${name}/queues/rx-*`);
  assertEquals(queues.trim().split("\n").length, 2);
  await guest.sh(`
    ip address add 10.1.0.1/24 dev ${name}
    ip link set ${name} up
  `);
  await using namespace = await Namespace.make();
  await command("ip", "link", "set", TAP, "netns", namespace.name);
  await namespace.ip("address", "add", "10.1.0.2/24", "dev", TAP);
  await namespace.ip("link", "set", TAP, "up");
  const ping = ["ping", "-c", "3", "-i", "0.2", "-w", "30", "10.1.0.1"];
  const said = await command("ip", "netns", "exec", namespace.name, ...ping);
  // It sends more than three where answers are slow.
  assertMatch(said, / ([3-9]|\d\d) received/);
});
