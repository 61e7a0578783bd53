/**
 * An archive in the "newc" format, which is what Linux unpacks as its first
 * root (Documentation/driver-api/early-userspace/buffer-format.rst).
 *
 * @module
 */

const encoder = new TextEncoder();

/** One file or folder of an archive. */
export interface ArchiveEntry {
  /** Its path, without a slash in front; folders come before what they hold. */
  readonly path: string;
  /** Its type and permissions, as in `st_mode`. */
  readonly mode: number;
  /** Its content; empty for a folder. */
  readonly content: Uint8Array;
}

/** A folder of an archive. */
export function folder(path: string): ArchiveEntry {
  return { path, mode: 0o040755, content: new Uint8Array() };
}

/** An executable file of an archive. */
export function program(path: string, content: Uint8Array): ArchiveEntry {
  return { path, mode: 0o100755, content };
}

/** The fields of a header in their order, each as eight hexadecimal digits. */
function header(entry: ArchiveEntry, inode: number, name: string): string {
  const isFolder = (entry.mode & 0o170000) === 0o040000;
  const fields = [
    ...[inode, entry.mode, 0, 0, isFolder ? 2 : 1, 0, entry.content.length],
    ...[0, 0, 0, 0, name.length, 0],
  ];
  const digits = fields.map((field) => field.toString(16).padStart(8, "0"));
  return `070701${digits.join("")}`;
}

const padding = (length: number) => new Uint8Array(-length & 3);

/** Header and name together are padded to four bytes, and so is the content. */
function record(entry: ArchiveEntry, inode: number): Uint8Array[] {
  const name = `${entry.path}\0`;
  const head = encoder.encode(header(entry, inode, name) + name);
  const { content } = entry;
  return [head, padding(head.length), content, padding(content.length)];
}

/** Puts the entries into an archive; the same entries give the same bytes. */
export function archive(entries: readonly ArchiveEntry[]): Uint8Array<
  ArrayBuffer
> {
  const end = { path: "TRAILER!!!", mode: 0, content: new Uint8Array() };
  const pieces = [...entries, end].flatMap(record);
  const bytes = new Uint8Array(
    pieces.reduce((sum, piece) => sum + piece.length, 0),
  );
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}
