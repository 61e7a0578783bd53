import { assert, assertEquals, assertThrows } from "@std/assert";
import { ConfigError, SystemError } from "../../../src/errors.ts";
import { EventFd } from "../../../src/ffi/eventfd.ts";
import { readSmallFile } from "../../../src/ffi/files.ts";
import { closeFd, libc } from "../../../src/ffi/libc.ts";
import {
  connectUnix,
  UnixListener,
  UnixSocket,
} from "../../../src/ffi/unix_socket.ts";
import { withoutLeaks } from "../../support/host/leaks.ts";

const ENOTSOCK = 88;
const EADDRINUSE = 98;
/** Bit of /proc/PID/fdinfo's flags, octal there. */
const O_CLOEXEC = 0o2000000;

/** A path in a folder of its own, removed afterwards. */
function withPath(use: (path: string) => void): Promise<void> {
  return withoutLeaks(() => {
    const folder = Deno.makeTempDirSync();
    try {
      use(`${folder}/socket`);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });
}

function withPair(
  use: (near: UnixSocket, far: UnixSocket) => void,
): Promise<void> {
  return withPath((path) => {
    const listener = UnixListener.listen(path);
    const near = connectUnix(path)!;
    const far = listener.accept()!;
    listener.close();
    try {
      use(near, far);
    } finally {
      near.close();
      far.close();
    }
  });
}

function bytes(length: number, first = 0): Uint8Array {
  const array = new Uint8Array(new ArrayBuffer(length));
  return array.map((_, i) => first + i);
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

Deno.test("UnixSocket carries bytes both ways", () =>
  withPair((near, far) => {
    const into = bytes(100);
    assertEquals(far.receive(into).length, undefined);
    assertEquals(near.send(bytes(10, 7)), 10);
    assertEquals(far.receive(into), { length: 10, fds: [], truncated: false });
    assertEquals(into.subarray(0, 10), bytes(10, 7));
    assertEquals(far.send(bytes(3)), 3);
    assertEquals(near.receive(into.subarray(0, 2)).length, 2);
    assertEquals(near.receive(into).length, 1);
  }));

Deno.test("UnixSocket carries descriptors, which children do not inherit", () =>
  withPair((near, far) => {
    const events = [EventFd.create(), EventFd.create()];
    near.send(bytes(4), events.map(({ fd }) => fd));
    const { length, fds, truncated } = far.receive(bytes(16));
    assertEquals([length, fds.length, truncated], [4, 2, false]);
    events[1].signal();
    assert(!new EventFd(fds[0]).clear());
    assert(new EventFd(fds[1]).clear());
    const info = readSmallFile(`/proc/self/fdinfo/${fds[0]}`)!;
    const flags = parseInt(/^flags:\s+(\d+)$/m.exec(info)![1], 8);
    assert((flags & O_CLOEXEC) !== 0);
    fds.forEach(closeFd);
    events.forEach((event) => event.close());
  }));

Deno.test("UnixSocket says when descriptors were lost, and keeps none that it does not name", () =>
  withPair((near, far) => {
    const event = EventFd.create();
    near.send(bytes(4), [event.fd, event.fd, event.fd, event.fd]);
    const { fds, truncated } = far.receive(bytes(16), 2);
    assert(truncated);
    assertEquals(fds.length, 2);
    fds.forEach(closeFd);
    event.close();
  }));

Deno.test("UnixSocket tells an end that was closed from one that is silent", () =>
  withPair((near, far) => {
    near.send(bytes(5));
    near.shutdown();
    assertEquals(far.receive(bytes(16)).length, 5);
    assertEquals(far.receive(bytes(16)).length, 0);
    assertEquals(far.send(bytes(1)), undefined);
  }));

Deno.test("UnixSocket does not wait for an end that does not read", () =>
  withPair((near, far) => {
    const chunk = bytes(65536);
    let sent = 0;
    for (let more = near.send(chunk); more; more = near.send(chunk)) {
      sent += more;
    }
    assert(!near.waitForRoom(1));
    let got = 0;
    for (let more = far.receive(chunk).length; more;) {
      got += more;
      more = far.receive(chunk).length;
    }
    assertEquals(got, sent);
    assert(near.waitForRoom(1000));
  }));

Deno.test("connectUnix() is undefined while nobody listens", () =>
  withPath((path) => {
    assertEquals(connectUnix(path), undefined);
    const listener = UnixListener.listen(path);
    assertEquals(listener.accept(), undefined);
    const socket = connectUnix(path);
    assert(socket instanceof UnixSocket);
    socket.close();
    listener.close();
    assertEquals(connectUnix(path), undefined);
  }));

Deno.test("connectUnix() refuses what is no socket, and follows links to one", () =>
  withPath((path) => {
    Deno.writeTextFileSync(path, "");
    const error = assertThrows(() => connectUnix(path), SystemError);
    assertEquals(error.errno, ENOTSOCK);
    Deno.removeSync(path);
    Deno.mkdirSync(path);
    assertThrows(() => connectUnix(path), SystemError, "not a socket");
    Deno.removeSync(path);
    const target = `${path}.1`;
    Deno.symlinkSync(target, path);
    assertEquals(connectUnix(path), undefined);
    const listener = UnixListener.listen(target);
    connectUnix(path)!.close();
    closeFd(listener.fd);
    assertEquals(connectUnix(path), undefined);
    Deno.removeSync(target);
  }));

Deno.test("UnixListener removes its file", () =>
  withPath((path) => {
    const listener = UnixListener.listen(path);
    assert(exists(path));
    listener.close();
    assert(!exists(path));
  }));

Deno.test("UnixListener leaves the file of its successor", () =>
  withPath((path) => {
    const first = UnixListener.listen(path);
    Deno.removeSync(path);
    const second = UnixListener.listen(path);
    first.close();
    assert(exists(path));
    second.close();
    assert(!exists(path));
  }));

Deno.test("UnixListener replaces a file that nobody listens at", () =>
  withPath((path) => {
    const stale = UnixListener.listen(path);
    closeFd(stale.fd);
    assert(exists(path));
    const listener = UnixListener.listen(path);
    connectUnix(path)!.close();
    listener.close();
  }));

Deno.test("UnixListener takes no path that is in use, nor a file that is no socket", () =>
  withPath((path) => {
    const listener = UnixListener.listen(path);
    const inUse = assertThrows(() => UnixListener.listen(path), SystemError);
    assertEquals(inUse.errno, EADDRINUSE);
    listener.close();
    Deno.writeTextFileSync(path, "precious");
    const file = assertThrows(() => UnixListener.listen(path), SystemError);
    assertEquals(file.errno, EADDRINUSE);
    assertEquals(Deno.readTextFileSync(path), "precious");
  }));

Deno.test("a path that no socket can have is refused", () =>
  withPath(() => {
    const long = `/tmp/${"x".repeat(120)}`;
    assertThrows(() => connectUnix(long), ConfigError, "at most 107 bytes");
    assertThrows(() => UnixListener.listen("/tmp/a\0b"), ConfigError);
  }));

const IS_ARM = Deno.build.arch === "aarch64";
const SYS_GETTID = IS_ARM ? 178n : 186n;
const SYS_TGKILL = IS_ARM ? 131 : 234;
const SIGUSR1 = 10;

/** Sends signals to the calling thread, until it is disposed of. */
async function signals(): Promise<AsyncDisposable> {
  const ignore = () => {};
  Deno.addSignalListener("SIGUSR1", ignore);
  const thread = libc().syscall3(SYS_GETTID, 0n, new Uint8Array(1), 0n);
  const call = `syscall(${SYS_TGKILL}, ${Deno.pid}, ${thread}, ${SIGUSR1})`;
  const child = new Deno.Command("perl", {
    args: [
      "-e",
      `$| = 1; print 1; while (1) { ${call}; select(undef, undef, undef, 0.005) }`,
    ],
    stdout: "piped",
  }).spawn();
  const output = child.stdout.getReader();
  await output.read();
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await output.cancel();
      await child.status;
      Deno.removeSignalListener("SIGUSR1", ignore);
    },
  };
}

Deno.test("a signal does not shorten the wait for room", async () => {
  await using _ = await signals();
  await withPair((near) => {
    const bytes = new Uint8Array(65536);
    while (near.send(bytes) !== 0);
    const begin = performance.now();
    assertEquals(near.waitForRoom(100), false);
    assert(performance.now() - begin >= 100);
  });
});
