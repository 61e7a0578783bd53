/**
 * Opens capture files so that none is overwritten while it is read or written.
 *
 * Readers hold a shared lock on the file, writers an exclusive one (flock(2)). The lock belongs to the file and not to
 * its name, and holds between workers and between processes: a symbolic or hard link does not get around it.
 *
 * @module
 */
import { PcapError } from "./pcap.ts";

/** A capture that this or another program reads or writes. */
export class CaptureInUseError extends PcapError {}

/**
 * Opens a capture to be played.
 *
 * @param path the file
 * @throws {PcapError} for a pipe, which cannot be checked before it is played
 * @throws {CaptureInUseError} for a capture that is being written
 */
export function openCaptureToRead(path: string): Deno.FsFile {
  assertReadTwice(path);
  const file = Deno.openSync(path, { read: true });
  if (lock(file, false)) return file;
  file.close();
  throw new CaptureInUseError(
    `${path}: this file is being written: play a capture that is complete`,
    0,
  );
}

/**
 * Opens a capture to be written, and empties it.
 *
 * @param path the file
 * @throws {CaptureInUseError} for a capture that is being played or written, which stays as it is
 */
export function openCaptureToWrite(path: string): Deno.FsFile {
  const file = Deno.openSync(path, { write: true, create: true });
  if (!lock(file, true)) {
    file.close();
    throw new CaptureInUseError(
      `${path}: this file is being read or written already, and would be lost: write to another one`,
      0,
    );
  }
  if (file.statSync().isFile) file.truncateSync();
  return file;
}

/**
 * Refuses what can be read only once: a capture is read through before it is played, so that damage is found in time.
 *
 * @param path the file
 * @throws {PcapError} for a pipe or a socket.
 */
export function assertReadTwice(path: string): void {
  const { isFifo, isSocket } = Deno.statSync(path);
  if (!isFifo && !isSocket) return;
  throw new PcapError(
    `${path}: a pipe can be read only once, and a capture is checked before it is played: write it to a file first`,
    0,
  );
}

/** True when the lock is held, and for what cannot be locked, such as /dev/null. */
function lock(file: Deno.FsFile, exclusive: boolean): boolean {
  if (!file.statSync().isFile) return true;
  try {
    return file.tryLockSync(exclusive);
  } catch {
    // Some network file systems have no locks.
    return true;
  }
}
