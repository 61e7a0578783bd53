/**
 * The wire over a Unix socket: to another card, and to what QEMU's `-netdev stream` puts there.
 */
import { assert, assertEquals } from "@std/assert";
import {
  connectUnix,
  UnixListener,
  type UnixSocket,
} from "../../../../src/ffi/unix_socket.ts";
import { Frame } from "../../../../src/sim/frame.ts";
import { PeerWire } from "../../../../src/sim/wires/peer.ts";
import { WIRE_SLOT } from "../../../../src/sim/wires/wire.ts";
import { withoutLeaks } from "../../../support/host/leaks.ts";
import { until } from "../../../support/until.ts";

function test(name: string, run: (path: string) => void | Promise<void>): void {
  Deno.test(`PeerWire ${name}`, () =>
    withoutLeaks(async () => {
      const folder = Deno.makeTempDirSync({ prefix: "ixl-peer-" });
      try {
        await run(`${folder}/wire`);
      } finally {
        Deno.removeSync(folder, { recursive: true });
      }
    }));
}

function frameOf(length: number, fill: number): Frame {
  const frame = new Frame();
  frame.set(new Uint8Array(length).fill(fill));
  return frame;
}

async function next(wire: PeerWire): Promise<Uint8Array> {
  const frame = new Frame();
  await until("a frame", () => wire.poll(frame));
  return frame.bytes();
}

const lengthPrefix = (length: number) => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, length);
  return bytes;
};

function sendAll(socket: UnixSocket, ...parts: Uint8Array[]): void {
  for (const part of parts) assertEquals(socket.send(part), part.length);
}

test("carries frames both ways between whoever came first and whoever came then", async (path) => {
  const first = new PeerWire(path);
  const second = new PeerWire(path);
  assert(!first.poll(new Frame()), "takes the other end");
  for (let length = 60; length <= 15872; length += 977) {
    first.transmit(frameOf(length, 1));
    second.transmit(frameOf(length, 2));
    assertEquals(await next(second), new Uint8Array(length).fill(1));
    assertEquals(await next(first), new Uint8Array(length).fill(2));
  }
  assertEquals(first.counters[WIRE_SLOT.received], 17);
  assertEquals(second.counters[WIRE_SLOT.generated], 17);
  second.close();
  first.close();
});

test("talks as QEMU does: lengths in network order, pieces as they come", async (path) => {
  const listener = UnixListener.listen(path);
  const wire = new PeerWire(path);
  const peer = listener.accept()!;
  wire.transmit(frameOf(60, 7));
  const got = new Uint8Array(100);
  assertEquals(peer.receive(got).length, 64);
  assertEquals([...got.subarray(0, 5)], [0, 0, 0, 60, 7]);
  const frame = new Uint8Array(100).fill(9);
  for (const byte of [...lengthPrefix(100), ...frame]) {
    sendAll(peer, new Uint8Array([byte]));
    assertEquals(wire.counters[WIRE_SLOT.generated], 0);
    if (byte === 100) assert(!wire.poll(new Frame()), "half a frame is none");
  }
  assertEquals(await next(wire), frame);
  peer.close();
  wire.close();
  listener.close();
});

test("pads short frames, as a sending MAC does", async (path) => {
  const wire = new PeerWire(path);
  const peer = connectUnix(path)!;
  sendAll(peer, lengthPrefix(14), new Uint8Array(14).fill(5));
  const received = await next(wire);
  assertEquals(received.length, 60);
  assertEquals([...received.subarray(12, 16)], [5, 5, 0, 0]);
  peer.close();
  wire.close();
});

test("loses frames without another end, and takes the next that comes", async (path) => {
  const wire = new PeerWire(path);
  wire.transmit(frameOf(60, 1));
  assertEquals(wire.counters[WIRE_SLOT.overflow], 1);
  for (let turn = 2; turn < 5; turn++) {
    const peer = connectUnix(path)!;
    sendAll(peer, lengthPrefix(60), new Uint8Array(60).fill(turn));
    assertEquals((await next(wire))[0], turn);
    peer.close();
    assert(!wire.poll(new Frame()), "it has gone");
  }
  wire.close();
});

test("drops an other end that talks nonsense", async (path) => {
  const wire = new PeerWire(path);
  const peer = connectUnix(path)!;
  sendAll(peer, lengthPrefix(0xffffffff));
  assert(!wire.poll(new Frame()));
  await until(
    "it is closed",
    () => peer.receive(new Uint8Array(1)).length === 0,
  );
  peer.close();
  wire.close();
});

test("counts what an other end does not take, and goes on when it does", async (path) => {
  const wire = new PeerWire(path);
  const peer = connectUnix(path)!;
  assert(!wire.poll(new Frame()));
  const frame = frameOf(9000, 3);
  let sent = 0;
  while (wire.counters[WIRE_SLOT.overflow] === 0) {
    wire.transmit(frame);
    sent++;
  }
  const into = new Uint8Array(1 << 16);
  let bytes = 0;
  await until("all that it took", () => {
    wire.poll(new Frame());
    bytes += peer.receive(into).length ?? 0;
    return bytes === (sent - 1) * 9004;
  });
  wire.transmit(frame);
  assertEquals(wire.counters[WIRE_SLOT.overflow], 1);
  peer.close();
  wire.close();
});
