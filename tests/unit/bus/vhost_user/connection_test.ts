import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Connection } from "../../../../src/bus/vhost_user/connection.ts";
import {
  HEADER_BYTES,
  HeaderFlag,
  LONGEST_REPLY,
  plainMessage,
  wordsMessage,
} from "../../../../src/bus/vhost_user/protocol.ts";
import {
  DeviceFaultError,
  DeviceTimeoutError,
  IxlError,
} from "../../../../src/errors.ts";
import { EventFd } from "../../../../src/ffi/eventfd.ts";
import {
  connectUnix,
  UnixListener,
  type UnixSocket,
} from "../../../../src/ffi/unix_socket.ts";
import { withoutLeaks } from "../../../support/host/leaks.ts";
import {
  message,
  reply,
  REQUEST,
  wordBytes,
} from "../../../support/vhost/backend.ts";

const TIMEOUT_MS = 100;
const { VERSION, REPLY, NEED_REPLY } = HeaderFlag;
const QUESTION = plainMessage(REQUEST.GET_FEATURES);
const ORDER = wordsMessage(REQUEST.SET_FEATURES, 7n);

/** A connection, and the bare socket at its other end. */
function withConnection(
  use: (connection: Connection, far: UnixSocket) => Promise<void>,
  timeoutMs = TIMEOUT_MS,
): Promise<void> {
  return withoutLeaks(async () => {
    const folder = Deno.makeTempDirSync();
    const listener = UnixListener.listen(`${folder}/socket`);
    const near = connectUnix(`${folder}/socket`)!;
    const far = listener.accept()!;
    listener.close();
    Deno.removeSync(folder);
    const connection = new Connection(near, "backend", timeoutMs);
    try {
      await use(connection, far);
    } finally {
      connection.end(new IxlError("device-gone", "end of the test"));
      far.close();
      await connection.ended;
    }
  });
}

/** What has arrived at the far end. */
function arrived(far: UnixSocket): { header: number[]; length: number } {
  const bytes = new Uint8Array(new ArrayBuffer(1000));
  const length = far.receive(bytes).length ?? 0;
  return { header: [...new Uint32Array(bytes.buffer, 0, 3)], length };
}

const FEATURES = reply(REQUEST.GET_FEATURES, wordBytes(42n));

Deno.test("Connection hands each reply to its asker, in order", () =>
  withConnection(async (connection, far) => {
    const first = connection.ask(QUESTION, 8);
    const second = connection.ask(plainMessage(REQUEST.GET_STATUS), 8);
    assertEquals(arrived(far), {
      header: [REQUEST.GET_FEATURES, VERSION, 0],
      length: 2 * HEADER_BYTES,
    });
    far.send(FEATURES);
    far.send(reply(REQUEST.GET_STATUS, wordBytes(15n)));
    assertEquals((await first).getBigUint64(0, true), 42n);
    assertEquals((await second).getBigUint64(0, true), 15n);
  }));

Deno.test("Connection takes a reply that comes byte by byte", () =>
  withConnection(async (connection, far) => {
    const asked = connection.ask(QUESTION, 8);
    for (const byte of FEATURES) {
      const one = new Uint8Array(new ArrayBuffer(1));
      one[0] = byte;
      far.send(one);
      connection.look();
    }
    assertEquals((await asked).getBigUint64(0, true), 42n);
    assertEquals(connection.broken, undefined);
  }));

Deno.test("Connection asks for an acknowledgement once the backend gives them", () =>
  withConnection(async (connection, far) => {
    await connection.tell(ORDER);
    assertEquals(arrived(far).header, [REQUEST.SET_FEATURES, VERSION, 8]);
    connection.useAcknowledgements();
    const told = connection.tell(ORDER);
    const flags = VERSION | NEED_REPLY;
    assertEquals(arrived(far).header, [REQUEST.SET_FEATURES, flags, 8]);
    far.send(reply(REQUEST.SET_FEATURES, wordBytes(0n)));
    await told;
  }));

Deno.test("Connection tells of a refusal, and stands", () =>
  withConnection(async (connection, far) => {
    connection.useAcknowledgements();
    const told = connection.tell(ORDER);
    far.send(reply(REQUEST.SET_FEATURES, wordBytes(1n)));
    await assertRejects(() => told, DeviceFaultError, "refused SET_FEATURES");
    far.send(reply(REQUEST.SET_FEATURES, wordBytes(22n)));
    assertThrows(() => connection.tellNow(ORDER), DeviceFaultError, "(22)");
    assertEquals(connection.broken, undefined);
  }));

Deno.test("Connection asks back to know that all is done where there are no acknowledgements", () =>
  withConnection(async (connection, far) => {
    const done = connection.barrier();
    assertEquals(arrived(far).header, [REQUEST.GET_FEATURES, VERSION, 0]);
    far.send(FEATURES);
    await done;
    far.send(FEATURES);
    connection.barrierNow();
    connection.useAcknowledgements();
    arrived(far);
    await connection.barrier();
    connection.barrierNow();
    assertEquals(arrived(far).length, 0);
  }));

Deno.test("Connection answers who waits while another blocks", () =>
  withConnection(async (connection, far) => {
    connection.useAcknowledgements();
    const asked = connection.ask(QUESTION, 8);
    far.send(FEATURES);
    far.send(reply(REQUEST.SET_FEATURES, wordBytes(0n)));
    connection.tellNow(ORDER);
    assertEquals((await asked).getBigUint64(0, true), 42n);
  }));

for (
  const [what, bytes, complaint] of [
    [
      "another request",
      reply(REQUEST.GET_STATUS, wordBytes(0n)),
      "answered GET_FEATURES with GET_STATUS",
    ],
    [
      "an unknown request",
      reply(0xffffffff, wordBytes(0n)),
      "with request 4294967295",
    ],
    [
      "another version",
      reply(REQUEST.GET_FEATURES, wordBytes(0n), REPLY | 2),
      "in version 2 of the protocol",
    ],
    [
      "a request instead of a reply",
      reply(REQUEST.GET_FEATURES, wordBytes(0n), VERSION),
      "with what is no reply",
    ],
    [
      "too little",
      reply(REQUEST.GET_FEATURES, new Uint8Array(7)),
      "with 7 bytes instead of 8",
    ],
    ["nothing", reply(REQUEST.GET_FEATURES, new Uint8Array(0)), "with 0 bytes"],
    ["too much", reply(REQUEST.GET_FEATURES, new Uint8Array(9)), "9 bytes"],
    [
      "a size that fits nowhere",
      message([REQUEST.GET_FEATURES, VERSION | REPLY, 0xffffffff]),
      "with 4294967295 bytes",
    ],
  ] as const
) {
  Deno.test(`Connection ends when it is answered with ${what}`, () =>
    withConnection(async (connection, far) => {
      const asked = connection.ask(QUESTION, 8);
      const next = connection.ask(QUESTION, 8);
      far.send(bytes);
      await assertRejects(() => asked, DeviceFaultError, complaint);
      await assertRejects(() => next, DeviceFaultError, complaint);
      assertInstanceOf(connection.broken, DeviceFaultError);
      await assertRejects(() => connection.ask(QUESTION, 8), DeviceFaultError);
      assertThrows(() => connection.send(ORDER), DeviceFaultError);
      await connection.ended;
      arrived(far);
      assertEquals(far.send(wordBytes(0n)), undefined);
    }));
}

Deno.test("Connection ends when the backend speaks without being asked", () =>
  withConnection((connection, far) => {
    far.send(FEATURES);
    connection.look();
    assertStringIncludes(
      connection.broken!.message,
      "sent GET_FEATURES without being asked",
    );
    return Promise.resolve();
  }));

Deno.test("Connection takes no descriptors, and keeps none", () =>
  withConnection(async (connection, far) => {
    const event = EventFd.create();
    const asked = connection.ask(QUESTION, 8);
    far.send(FEATURES, [event.fd]);
    event.close();
    await assertRejects(() => asked, DeviceFaultError, "file descriptors");
  }));

Deno.test("Connection takes no descriptors within a payload either", () =>
  withConnection(async (connection, far) => {
    const event = EventFd.create();
    const asked = connection.ask(QUESTION, 8);
    far.send(FEATURES.slice(0, 14));
    connection.look();
    far.send(FEATURES.slice(14), Array(32).fill(event.fd));
    event.close();
    await assertRejects(() => asked, DeviceFaultError, "file descriptors");
  }));

Deno.test("Connection ends when no reply comes in time, for all who wait", () =>
  withConnection(async (connection, far) => {
    const asked = [0, 1].map(() => connection.ask(QUESTION, 8));
    for (const one of asked) {
      const error = await assertRejects(() => one, DeviceTimeoutError);
      assertStringIncludes(error.message, "backend answering GET_FEATURES");
    }
    await connection.ended;
    arrived(far);
    assertEquals(far.send(FEATURES), undefined);
  }));

Deno.test("Connection does not block for longer than a reply may take", () =>
  withConnection((connection) => {
    connection.useAcknowledgements();
    const start = performance.now();
    assertThrows(() => connection.tellNow(ORDER), DeviceTimeoutError);
    assert(performance.now() - start >= TIMEOUT_MS - 1);
    return Promise.resolve();
  }));

Deno.test("Connection ends when half a reply is all that comes", () =>
  withConnection(async (connection, far) => {
    const asked = connection.ask(QUESTION, 8);
    far.send(FEATURES.slice(0, 15));
    await assertRejects(() => asked, DeviceTimeoutError);
  }));

for (const length of [0, 1, HEADER_BYTES, HEADER_BYTES + 7]) {
  Deno.test(`Connection ends when the socket closes after ${length} bytes of a reply`, () =>
    withConnection(async (connection, far) => {
      const asked = connection.ask(QUESTION, 8);
      if (length > 0) far.send(FEATURES.slice(0, length));
      far.shutdown();
      const error = await assertRejects(() => asked, IxlError);
      assertEquals(error.code, "device-gone");
      assertStringIncludes(
        error.message,
        length > 0 ? "within a message" : "went away",
      );
    }));
}

Deno.test("Connection notices an end that nobody waits for", () =>
  withConnection(async (connection, far) => {
    connection.look();
    assertEquals(connection.broken, undefined);
    far.shutdown();
    connection.look();
    assertEquals(connection.broken?.code, "device-gone");
    const error = await assertRejects(
      () => connection.tell(ORDER),
      IxlError,
    );
    assertEquals(error.code, "device-gone");
  }));

Deno.test("Connection gives up on a backend that reads nothing", () =>
  withConnection((connection) => {
    const long = { ...ORDER, payload: new Uint8Array(LONGEST_REPLY) };
    const error = assertThrows(() => {
      for (let i = 0; i < 10_000; i++) connection.send(long);
    }, DeviceTimeoutError);
    assertStringIncludes(error.message, "backend taking SET_FEATURES");
    return Promise.resolve();
  }));

Deno.test("Connection ends once, for one reason", () =>
  withConnection(async (connection) => {
    const asked = connection.ask(QUESTION, 8);
    connection.end(new IxlError("device-gone", "first"));
    connection.end(new IxlError("device-gone", "second"));
    await assertRejects(() => asked, IxlError, "first");
    assertEquals(connection.broken?.message, "first");
  }));
