/**
 * The lab itself, without any driver of ours: programs, cards, cables, faults,
 * and its behaviour when a guest fails.
 */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { requires } from "../support/runner/requirements.ts";
import { arpReply, arpRequest, isArp } from "./lab_frames.ts";
import {
  asUser,
  bindDriver,
  bindForUser,
  type Guest,
  guestScenarios,
  iommuGroup,
  type Nic,
  untilDevice,
  USER,
} from "./lab/mod.ts";

/** The cards' own ids, from QEMU's documentation of its models. */
const CARDS = [
  { model: "e1000", id: "0x100e", driver: "e1000" },
  { model: "e1000-82545em", id: "0x100f", driver: "e1000" },
  { model: "e1000e", id: "0x10d3", driver: "e1000e" },
  { model: "igb", id: "0x10c9", driver: "igb", hotplug: true, capture: true },
] as const;

const scenario = guestScenarios({
  name: "lab",
  nics: CARDS.map(({ id: _, driver: __, ...nic }) => nic),
  hugepages: 8,
});

const sysfs = (nic: Nic) => `/sys/bus/pci/devices/${nic.address}`;

/** The card's interface of the guest's kernel, up, with an address. */
async function bringUp(guest: Guest, nic: Nic, ip: string): Promise<string> {
  const { driver } = CARDS.find(({ model }) => model === nic.model)!;
  await guest.loadModule(driver);
  await bindDriver(guest, nic.address, driver);
  const name = (await guest.sh(`ls ${sysfs(nic)}/net`)).trim();
  await guest.sh(`
    ip address replace ${ip}/24 dev ${name}
    ip link set ${name} up
  `);
  await untilCarrier(guest, name, 1);
  return name;
}

async function untilCarrier(
  guest: Guest,
  name: string,
  carrier: 0 | 1,
): Promise<void> {
  const file = `/sys/class/net/${name}/carrier`;
  await guest.sh(
    `until [ "$(cat ${file})" = ${carrier} ]; do sleep 0.05; done`,
  );
}

scenario("run() returns a program's code and output", async (guest) => {
  const script = "echo one; echo two >&2; exit 3";
  const outcome = await guest.run(["sh", "-c", script]);
  const [stdout, stderr] = ["one\n", "two\n"];
  assertEquals(outcome, { code: 3, signal: null, stdout, stderr });
});

scenario("run() fails for a program that is not there", async (guest) => {
  await assertRejects(() => guest.run(["no-such-program"]), Error, "no-such");
});

scenario("run() kills a program that takes too long", async (guest) => {
  await assertRejects(
    () => guest.run(["sleep", "1000"], { timeoutMs: 500 }),
    Error,
    "no end of sleep 1000",
  );
  await guest.sh("! pidof sleep");
});

scenario("ended() kills a program with its children", async (guest) => {
  const endless = ["sh", "-c", "sleep 1000 & echo begun; wait"];
  const program = await guest.spawn(endless);
  await program.prints(/begun/);
  await assertRejects(
    () => program.ended({ timeoutMs: 100 }),
    Error,
    "begun",
  );
  // All of its process group is gone, and the guest is well.
  await guest.sh("! pidof sleep");
});

scenario("spawn() talks with a program in the background", async (guest) => {
  // No child that lasts: one that is signalled between fork and exec would ignore that, and keep the output open.
  const trap =
    "trap 'echo asked; exit 7' TERM; cat; echo end; while :; do sleep 0.1; done";
  await using program = await guest.spawn(["sh", "-c", trap]);
  await program.write("hello\n");
  await program.prints(/hello/);
  await program.closeInput();
  await program.prints(/end/);
  await program.signal("SIGTERM");
  const { code, stdout } = await program.ended();
  assertEquals({ code, stdout }, { code: 7, stdout: "hello\nend\nasked\n" });
});

scenario("the guest runs Deno on this checkout", async (guest) => {
  const script = "console.log(Deno.version.deno, Deno.uid())";
  await guest.writeFile("/tmp/script.ts", script);
  const { stdout } = await guest.run(["deno", "run", "-A", "/tmp/script.ts"]);
  assertEquals(stdout, `${Deno.version.deno} 0\n`);
  const help = await guest.run(["deno", "task", "cli", "--help"]);
  assertStringIncludes(help.stdout, "Usage: ixl");
});

scenario("hugepages are there", async (guest) => {
  assertMatch(await guest.sh("cat /proc/meminfo"), /HugePages_Free: +8\n/);
});

scenario(
  "each card is where the description says, in its own group",
  async (guest) => {
    const groups = new Set<number>();
    for (const [index, nic] of guest.nics.entries()) {
      const id = await guest.sh(`cat ${sysfs(nic)}/device`);
      assertEquals(id.trim(), CARDS[index].id);
      const group = await iommuGroup(guest, nic.address);
      groups.add(group);
      const members = `/sys/kernel/iommu_groups/${group}/devices`;
      assertEquals(await guest.sh(`ls ${members}`), `${nic.address}\n`);
    }
    assertEquals(groups.size, CARDS.length);
  },
);

scenario("frames go in and out of the kernel's drivers", async (guest) => {
  for (const [index, nic] of guest.nics.entries()) {
    const [ip, peer] = [`10.0.${index}.1`, `10.0.${index}.2`];
    await bringUp(guest, nic, ip);
    await nic.port.send(arpRequest(peer, ip));
    const where = (frame: Uint8Array) => isArp(frame, "reply");
    const reply = await nic.port.receive({ where });
    assertEquals(reply.subarray(0, 42), arpReply(nic.mac, ip, peer));
  }
});

scenario("set_link is seen by the kernel's driver", async (guest) => {
  const nic = guest.nics[2];
  const name = await bringUp(guest, nic, "10.0.2.1");
  await nic.setLink(false);
  await untilCarrier(guest, name, 0);
  await nic.setLink(true);
  await untilCarrier(guest, name, 1);
});

scenario("a card is unplugged and plugged in again", async (guest) => {
  const nic = guest.nics[3];
  await bringUp(guest, nic, "10.0.3.1");
  await nic.unplug();
  await untilDevice(guest, nic.address, "absent");
  await nic.plug();
  await untilDevice(guest, nic.address, "present");
  await bringUp(guest, nic, "10.0.3.1");
  await nic.port.send(arpRequest("10.0.3.2", "10.0.3.1"));
  await nic.port.receive({ where: (frame) => isArp(frame, "reply") });
});

scenario("a capture has the frames in QEMU's own pcap file", (guest) => {
  const pcap = Deno.readFileSync(guest.nics[3].capture!);
  const magic = new DataView(pcap.buffer).getUint32(0, true);
  assertEquals(magic, 0xa1b2c3d4);
  const { sent, received } = guest.nics[3].port;
  const HEADERS = { file: 24, frame: 16 };
  assert(pcap.length > HEADERS.file + (sent + received) * (HEADERS.frame + 42));
});

scenario("an ordinary user opens a group of VFIO", async (guest) => {
  const [mine, theirs] = guest.nics;
  await bindForUser(guest, mine.address);
  await bindDriver(guest, theirs.address, "vfio-pci");
  const open = async (nic: Nic) => {
    const group = await iommuGroup(guest, nic.address);
    const script = `id -u; ulimit -l; exec 3<>/dev/vfio/${group} && echo open`;
    return await guest.run(asUser(["sh", "-c", script]));
  };
  const memlockKib = 256 << 10;
  const { stdout } = await open(mine);
  assertEquals(stdout, `${USER}\n${memlockKib}\nopen\n`);
  const { code, stderr } = await open(theirs);
  assertMatch(stderr, /Permission denied/);
  assert(code !== 0);
});

scenario("an ordinary user runs Deno", async (guest) => {
  const { code, stdout, stderr } = await guest.run(
    asUser(["deno", "eval", "console.log(Deno.uid())"]),
  );
  assertEquals({ code, stdout, stderr }, {
    code: 0,
    stdout: `${USER}\n`,
    stderr: "",
  });
});

scenario(
  "dmarFaults() tells of a card that reads what is not mapped",
  async (guest) => {
    const [nic] = guest.nics;
    await bindDriver(guest, nic.address, "vfio-pci");
    await guest.sh(`echo ${nic.address} > ${sysfs(nic)}/driver/unbind`);
    // Registers of the 82540EM (its manual, section 13): a ring of 8 descriptors
    // at an address that nobody has mapped, and one descriptor to fetch.
    await guest.sh(`
    # Command register: memory space and bus master.
    printf '\\006' | dd of=${
      sysfs(nic)
    }/config bs=1 seek=4 conv=notrunc status=none
    read -r start rest < ${sysfs(nic)}/resource
    write() { busybox devmem $(($start + $1)) 32 $2; }
    write 0x3800 0x100000 # TDBAL
    write 0x3804 0        # TDBAH
    write 0x3808 128      # TDLEN
    write 0x0400 2        # TCTL.EN
    write 0x3818 1        # TDT
    write 0x0400 0
  `);
    const [fault, ...others] = await guest.dmarFaults();
    assertMatch(fault, /DMA Read.*\[00:04\.0\] fault addr 0x100000 /);
    assertEquals(others, []);
    assertEquals(await guest.dmarFaults(), []);
  },
  { expectFaults: true },
);

scenario(
  "a guest that hangs is ended, and reported with its log",
  async (guest) => {
    await guest.qmp.execute("stop");
    const error = await assertRejects(
      () => guest.run(["true"], { timeoutMs: 500 }),
      Error,
      "The guest hangs",
    );
    assertStringIncludes(error.message, "DMAR");
    assertStringIncludes(error.message, "tests/out/guest/lab");
    assertEquals(guest.isAlive, false);
  },
);

scenario(
  "a guest that panics is reported with its log, and replaced",
  async (guest) => {
    const crash = guest.sh("echo c > /proc/sysrq-trigger");
    const error = await assertRejects(
      () => crash,
      Error,
      "The guest has ended",
    );
    assertStringIncludes(error.message, "Kernel panic");
  },
);

const test = requires("lab");

test("QEMU does not outlive the test process", async () => {
  const folder = Deno.makeTempDirSync({ prefix: "ixl-orphan-" });
  const [scratch, pidFile, log] = ["scratch", "pid", "log"].map((name) =>
    `${folder}/${name}`
  );
  Deno.mkdirSync(scratch);
  const qemu = new URL("lab/qemu.ts", import.meta.url);
  const code = `
    import { QEMU, QemuProcess } from ${JSON.stringify(qemu.href)};
    new QemuProcess(
      [QEMU, "-M", "none", "-display", "none", "-pidfile", "${pidFile}"],
      ${JSON.stringify({ log, scratch })},
    );
    setInterval(() => {}, 1000);
  `;
  const owner = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-config", code],
    stdin: "null",
  }).spawn();
  const sh = (script: string) =>
    new Deno.Command("timeout", { args: ["30", "sh", "-c", script] }).output();
  const begun = await sh(`until kill -0 $(cat ${pidFile}); do sleep 0.1; done`);
  assert(begun.success);
  owner.kill("SIGKILL");
  await owner.status;
  const gone = await sh(`while [ -e ${scratch} ]; do sleep 0.1; done`);
  assert(gone.success);
  // A process that is killed leaves its file behind.
  const pid = Deno.readTextFileSync(pidFile).trim();
  assert(!(await sh(`kill -0 ${pid}`)).success);
  Deno.removeSync(folder, { recursive: true });
});
