/**
 * Clients that break the rules: each loses its connection, for a reason that is logged, and gives back what it had
 * given; the next client is served.
 */
import { assert, assertEquals } from "@std/assert";
import { EventFd } from "../../../src/ffi/eventfd.ts";
import { readSmallFile } from "../../../src/ffi/files.ts";
import { libc } from "../../../src/ffi/libc.ts";
import { MemFd } from "../../../src/ffi/mapping.ts";
import { repetitions, seedsAfter } from "../../support/runner/repeat.ts";
import {
  type ServedCard,
  SharedServer,
} from "../../support/vfio_user/served_card.ts";
import {
  bytesOf,
  COMMAND,
  IRQ,
  joined,
  VfioUserClient,
} from "../../support/vfio_user/client.ts";

const PAGE = 4096;
const EINVAL = 22;
/** fcntl(2): sets the flags of an open file, O_NONBLOCK among them. */
const F_SETFL = 4;
const BAR0 = 0;
const CONFIG = 7;
const STATUS = 0x00008;
const ESDP = 0x00020;
/** Software-definable pin 3 is an output, and low. */
const LASER_ON = 1 << 11;
const LINKS = 0x042a4;
const LINKS_UP = 1 << 30;
const TDBAL = 0x06000;
const TDLEN = 0x06008;
const TDT = 0x06018;
const TXDCTL = 0x06028;
const DMATXCTL = 0x04a80;
const RING = 0x100000;
const ERROR = 0x20;
const IDENTITY = 0x10fb8086;
const REPLY = 1;
const NO_REPLY = 0x10;
const LONGEST_MESSAGE = 16 + 32 + 65536;
const FUZZ_CLIENTS = repetitions("hostile", { gate: 40, soak: 400 });
const BEFORE = seedsAfter("hostile");
const FUZZ_MESSAGES = 50;

const TIMEOUT_MS = 300;

const server = new SharedServer({ timeoutMs: TIMEOUT_MS });

/** A client that misbehaves. The server closes the connection, says why, and serves the next. */
function test(
  name: string,
  why: RegExp,
  misbehave: (client: VfioUserClient) => void,
  { negotiate = true } = {},
): void {
  server.test(`vfio-user: a client that ${name}`, async (card) => {
    const before = card.log.length;
    {
      using client = new VfioUserClient(card.path, { negotiate });
      if (negotiate) useTheCard(client);
      misbehave(client);
      client.untilClosed();
    }
    await card.isFree();
    const said = card.log.slice(before).filter((line) =>
      line.endsWith(": connection closed")
    );
    assertEquals(said.length, 1, `${said}`);
    assert(why.test(said[0]), `${said[0]} is not ${why}`);
    using next = new VfioUserClient(card.path);
    assertEquals(next.read32(CONFIG, 0), IDENTITY);
  });
}

/** Gives memory and eventfds, so that there is something to give back. */
function useTheCard(client: VfioUserClient): void {
  const memory = new MemFd("ixl-test", 0);
  const event = EventFd.create();
  memory.allocate(0, 16 * PAGE);
  const mapped = client.map({ address: PAGE, size: 16 * PAGE }, [memory.fd]);
  const fds = [event.fd];
  const routed = client.setIrqs(IRQ.eventfd | IRQ.trigger, 2, 0, 1, { fds });
  memory.close();
  event.close();
  assertEquals([mapped, routed], [undefined, undefined]);
}

const command = (id: number, bytes: number, fds: number[] = []) => ({
  command: id,
  data: new Uint8Array(bytes),
  fds,
});

test(
  "sends something before the version",
  /sent DEVICE_GET_INFO before VERSION/,
  (client) => client.send(command(COMMAND.deviceInfo, 16)),
  { negotiate: false },
);
test(
  "speaks another version",
  /speaks version 1 of the protocol/,
  (client) =>
    client.send({
      command: COMMAND.version,
      data: bytesOf(["u16", 1], ["u16", 0]),
    }),
  { negotiate: false },
);
test(
  "sends capabilities that are no JSON",
  /capabilities that are no JSON/,
  (client) =>
    client.send({
      command: COMMAND.version,
      data: joined(bytesOf(["u32", 0]), new TextEncoder().encode("{oops\0")),
    }),
  { negotiate: false },
);
test(
  "sends capabilities without an end",
  /capabilities without an end/,
  (client) =>
    client.send({
      command: COMMAND.version,
      data: joined(bytesOf(["u32", 0]), new TextEncoder().encode("{}")),
    }),
  { negotiate: false },
);
test(
  "takes nothing at once",
  /takes -1 bytes at once/,
  (client) =>
    client.send({
      command: COMMAND.version,
      data: joined(
        bytesOf(["u32", 0]),
        new TextEncoder().encode(
          `{"capabilities":{"max_data_xfer_size":-1}}\0`,
        ),
      ),
    }),
  { negotiate: false },
);
test(
  "sends the version twice",
  /sent VERSION twice/,
  (client) => client.send(command(COMMAND.version, 4)),
);
test(
  "announces less than a header",
  /announced a message of 15 bytes/,
  (client) => client.send({ command: COMMAND.reset, size: 15 }),
);
test(
  "announces more than there may be",
  /announced a message of 65585 bytes/,
  (client) =>
    client.send({ command: COMMAND.reset, size: LONGEST_MESSAGE + 1 }),
);
test(
  "announces a message of 4 GiB",
  /announced a message of 4294967295 bytes/,
  (client) => client.send({ command: COMMAND.reset, size: 0xffffffff }),
);
test(
  "uses flags that there are not",
  /flags 0x80/,
  (client) => client.send({ command: COMMAND.reset, flags: 0x80 }),
);
test(
  "sends a message that is neither command nor reply",
  /flags 0x2/,
  (client) => client.send({ command: COMMAND.reset, flags: 2 }),
);
test(
  "answers what nobody asked",
  /answered DMA_READ, which was not requested/,
  (client) => client.send({ command: COMMAND.dmaRead, flags: REPLY }),
);
for (
  const [name, id, bytes] of [
    ["DMA_MAP", COMMAND.dmaMap, 31],
    ["DMA_MAP", COMMAND.dmaMap, 33],
    ["DMA_UNMAP", COMMAND.dmaUnmap, 23],
    ["DEVICE_GET_INFO", COMMAND.deviceInfo, 0],
    ["DEVICE_GET_REGION_INFO", COMMAND.regionInfo, 16],
    ["DEVICE_GET_REGION_IO_FDS", COMMAND.regionIoFds, 15],
    ["DEVICE_GET_IRQ_INFO", COMMAND.irqInfo, 17],
    ["DEVICE_SET_IRQS", COMMAND.setIrqs, 19],
    ["REGION_READ", COMMAND.regionRead, 17],
    ["REGION_WRITE", COMMAND.regionWrite, 15],
    ["REGION_WRITE_MULTI", COMMAND.writeMulti, 7],
    ["DEVICE_RESET", COMMAND.reset, 1],
  ] as const
) {
  test(
    `sends ${name} with ${bytes} bytes`,
    new RegExp(`sent ${name} with ${bytes} bytes instead of`),
    (client) => client.send(command(id, bytes)),
  );
}
test(
  "writes more than it sends",
  /REGION_WRITE with 20 bytes instead of 24/,
  (client) =>
    client.send({
      command: COMMAND.regionWrite,
      data: bytesOf(["u64", 0], ["u32", BAR0], ["u32", 8], ["u32", 0]),
    }),
);
test(
  "counts its writes wrong",
  /sent 18446744073709551615 writes in 32 bytes/,
  (client) =>
    client.send({
      command: COMMAND.writeMulti,
      data: joined(bytesOf(["u64", (1n << 64n) - 1n]), new Uint8Array(24)),
    }),
);
test(
  "sends fewer booleans than interrupts",
  /DEVICE_SET_IRQS with 22 bytes instead of 24/,
  (client) =>
    client.send({
      command: COMMAND.setIrqs,
      data: joined(
        bytesOf(
          ...[["u32", 22], ["u32", IRQ.bool | IRQ.trigger]] as const,
          ...[["u32", 2], ["u32", 0], ["u32", 4]] as const,
        ),
        new Uint8Array(2),
      ),
    }),
);
test(
  "sends fewer eventfds than interrupts",
  /sent 1 eventfds for 2 interrupts/,
  (client) => withEvent((fd) => client.send(eventfds(2, [fd]))),
);
test(
  "sends more eventfds than interrupts",
  /DEVICE_SET_IRQS with 2 file descriptors/,
  (client) => withEvent((fd) => client.send(eventfds(1, [fd, fd]))),
);
test(
  "sends descriptors where none belong",
  /DEVICE_RESET with 1 file descriptors/,
  (client) => withEvent((fd) => client.send(command(COMMAND.reset, 0, [fd]))),
);
test(
  "sends two descriptors with one region",
  /DMA_MAP with 2 file descriptors/,
  (client) =>
    withEvent((fd) => client.send(command(COMMAND.dmaMap, 32, [fd, fd]))),
);
test(
  "sends more descriptors than a message may have",
  /more than 16 file descriptors/,
  (client) =>
    withEvent((fd) =>
      client.send(command(COMMAND.dmaMap, 32, Array(17).fill(fd)))
    ),
);
test(
  "keeps its memory and does not answer for it",
  /did not answer DMA_READ within 300 ms/,
  (client) => startSending(client, () => {}),
);
test(
  "keeps its memory and answers with too little",
  /answered DMA_READ of 128 bytes with 16/,
  (client) =>
    startSending(client, (id) =>
      client.send({
        ...{ id, command: COMMAND.dmaRead, flags: REPLY },
        data: bytesOf(["u64", 0], ["u64", 128]),
      })),
);
test(
  "keeps its memory and refuses it",
  /refused DMA_READ \(error 5\)/,
  (client) =>
    startSending(client, (id) =>
      client.sendBytes(
        bytesOf(
          ...[["u16", id], ["u16", COMMAND.dmaRead], ["u32", 16]] as const,
          ...[["u32", REPLY | ERROR], ["u32", 5]] as const,
        ),
      )),
);
server.test("vfio-user: a client that goes within a message", async (card) => {
  {
    using client = new VfioUserClient(card.path);
    useTheCard(client);
    client.send({ command: COMMAND.reset, size: 17 });
  }
  await card.says(/closed the socket within a message: connection closed/);
});
server.test("vfio-user: a client that gives an eventfd as memory", (card) => {
  using client = new VfioUserClient(card.path);
  withEvent((fd) => {
    assert(client.map({ address: 0, size: PAGE }, [fd]) !== undefined);
  });
  assertEquals(client.read32(CONFIG, 0), IDENTITY, "it is still served");
});
server.test("vfio-user: a client that gives something else than eventfds gets no other file closed", async (card) => {
  const held: EventFd[] = [];
  {
    using client = new VfioUserClient(card.path);
    const memory = new MemFd("ixl-test", 0);
    withEvent((fd) => {
      const fds = [fd, memory.fd];
      const flags = IRQ.eventfd | IRQ.trigger;
      assertEquals(client.setIrqs(flags, 2, 0, 2, { fds }), EINVAL);
    });
    memory.close();
    // These get the numbers of the descriptors that the server has closed.
    for (let i = 0; i < 8; i++) held.push(EventFd.create());
  }
  const before = held.map(identity);
  await card.isFree();
  using next = new VfioUserClient(card.path);
  assertEquals(next.read32(CONFIG, 0), IDENTITY);
  assertEquals(held.map(identity), before);
  for (const event of held) event.close();
});
server.test("vfio-user: a full eventfd that blocks does not stop the server", (card) => {
  using client = new VfioUserClient(card.path);
  withEvent((fd) => {
    client.setIrqs(IRQ.eventfd | IRQ.trigger, 2, 0, 1, { fds: [fd] });
    const full = new BigUint64Array([0xfffffffffffffffen]);
    assertEquals(libc().fcntl(fd, F_SETFL, 0), 0);
    assertEquals(libc().write(fd, full, 8n), 8n);
    for (let i = 0; i < 100; i++) {
      client.setIrqs(IRQ.none | IRQ.trigger, 2, 0, 1);
    }
    assertEquals(client.read32(CONFIG, 0), IDENTITY);
    // It says that something came.
    assertEquals(libc().read(fd, full, 8n), 8n);
    client.setIrqs(IRQ.none | IRQ.trigger, 2, 0, 1);
    assertEquals(libc().read(fd, full, 8n), 8n);
    assertEquals(full[0], 1n);
  });
});
server.test("vfio-user: a second client waits until the first has gone", async (card) => {
  const first = new VfioUserClient(card.path);
  first.write32(BAR0, STATUS, 0);
  using second = new VfioUserClient(card.path, { negotiate: false });
  assertEquals(first.read32(CONFIG, 0), IDENTITY);
  first.close();
  assertEquals(second.negotiate().major, 0);
  assertEquals(second.read32(CONFIG, 0), IDENTITY);
  await Promise.resolve();
});
server.test("vfio-user: each client finds the card as after power-on", (card) => {
  for (let turn = 0; turn < 3; turn++) {
    using client = new VfioUserClient(card.path);
    assertEquals(client.read(CONFIG, 4, 2).getUint16(0, true), 0);
    client.write(CONFIG, 4, bytesOf(["u16", 6]));
    client.write32(BAR0, 0x00880, 1 << turn);
    assertEquals(client.read32(BAR0, 0x00880), 1 << turn);
  }
});

/** Has the card read a transmit ring that only messages reach, and answers for it. */
function startSending(
  client: VfioUserClient,
  answer: (id: number) => void,
): void {
  client.write(CONFIG, 4, bytesOf(["u16", 6]));
  client.write32(BAR0, ESDP, LASER_ON);
  while ((client.read32(BAR0, LINKS) & LINKS_UP) === 0);
  client.map({ address: RING, size: PAGE });
  client.write32(BAR0, TDBAL, RING);
  client.write32(BAR0, TDLEN, 128);
  client.write32(BAR0, DMATXCTL, 1);
  client.write32(BAR0, TXDCTL, 1 << 25);
  while ((client.read32(BAR0, TXDCTL) & (1 << 25)) === 0);
  client.post32(BAR0, TDT, 1);
  answer(client.command(COMMAND.dmaRead));
}

function eventfds(count: number, fds: number[]) {
  return {
    command: COMMAND.setIrqs,
    data: bytesOf(
      ...[["u32", 20], ["u32", IRQ.eventfd | IRQ.trigger]] as const,
      ...[["u32", 2], ["u32", 0], ["u32", count]] as const,
    ),
    fds,
  };
}

/** What the kernel calls an eventfd, whatever its number. */
function identity({ fd }: EventFd): string {
  const info = readSmallFile(`/proc/self/fdinfo/${fd}`);
  const [line] = /^eventfd-id: .*$/m.exec(info ?? "") ?? [];
  assert(line !== undefined, `${fd} is an eventfd`);
  return line;
}

function withEvent(use: (fd: number) => void): void {
  const event = EventFd.create();
  try {
    use(event.fd);
  } finally {
    event.close();
  }
}

/** xorshift32: the same cases each time. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const CORNERS = [
  0n,
  1n,
  4096n,
  0xfffn,
  1n << 31n,
  (1n << 32n) - 1n,
  1n << 63n,
  (1n << 64n) - 1n,
];

/** Sizes that messages have, by command. */
const SIZES = [0, 4, 32, 24, 16, 32, 16, 16, 20, 16, 20, 0, 0, 0, 0, 32];

/** Data of a message: mostly of the right size, with numbers at their limits. */
function randomData(
  random: (below: number) => number,
  command: number,
): Uint8Array {
  const size = random(30) === 0 ? random(200) : SIZES[command] ?? 16;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at + 4 <= bytes.length; at += 4) {
    const kind = random(4);
    const value = kind === 0
      ? random(2 ** 32)
      : kind === 1
      ? Number(CORNERS[random(CORNERS.length)] & 0xffffffffn)
      : random(64);
    view.setUint32(at, value, true);
  }
  return bytes;
}

/** One client that says random things until it is thrown out, or has said enough. */
function talkNonsense(card: ServedCard, seed: number, memory: MemFd): void {
  const random = randomNumbers(seed);
  using client = new VfioUserClient(card.path);
  client.write(CONFIG, 4, bytesOf(["u16", 6]));
  for (let i = 0; i < FUZZ_MESSAGES; i++) {
    const command = 2 + random(16);
    const data = randomData(random, command);
    const fds = command === COMMAND.dmaMap && random(4) > 0 ? [memory.fd] : [];
    const header = bytesOf(
      ...[["u16", random(65536)], ["u16", command]] as const,
      ["u32", random(200) === 0 ? random(100) : 16 + data.length],
      ["u32", random(100) === 0 ? random(64) : NO_REPLY],
      ["u32", 0],
    );
    if (!client.sendBytes(joined(header, data), fds)) return;
  }
}

server.test("vfio-user: nonsense, message by message", async (card) => {
  const memory = new MemFd("ixl-test", 0);
  memory.allocate(0, 64 * PAGE);
  try {
    for (let seed = 1; seed <= FUZZ_CLIENTS; seed++) {
      talkNonsense(card, BEFORE + seed, memory);
    }
    await card.isFree();
    using client = new VfioUserClient(card.path);
    assertEquals(client.read32(CONFIG, 0), IDENTITY);
    const crashes = card.log.filter((line) => /\bat .*\.ts:\d+/.test(line));
    assertEquals(crashes, [], "mistakes of ours");
  } finally {
    memory.close();
  }
});
