/**
 * One's complement sums and the frame check sequence.
 *
 * @module
 */

const CRC_POLYNOMIAL = 0xedb88320;
const CRC32C_POLYNOMIAL = 0x82f63b78;
const HALF_MASK = 0xffff;

/**
 * The one's complement sum of bytes `from` to `to`, not folded, of 16-bit
 * units in the byte order of the machine: compare and store it as it is.
 * `from` is even and the sum of 64 KiB fits.
 */
export function sumBytes(
  u32: Uint32Array,
  u8: Uint8Array,
  from: number,
  to: number,
): number {
  let sum = 0;
  let at = from;
  if ((at & 2) !== 0 && to - at >= 2) {
    sum = u32[at >>> 2] >>> 16;
    at += 2;
  }
  const lastWord = to >>> 2;
  let word = at >>> 2;
  for (; word < lastWord; word++) {
    const value = u32[word];
    sum += (value & HALF_MASK) + (value >>> 16);
  }
  at = Math.max(at, word << 2);
  if (to - at >= 2) {
    sum += u8[at] | (u8[at + 1] << 8);
    at += 2;
  }
  if (at < to) sum += u8[at];
  return sum;
}

/** {@linkcode sumBytes} of the twenty bytes of the usual IPv4 header. */
export function sumUsualHeader(u32: Uint32Array): number {
  return (u32[3] >>> 16) + halves(u32[4]) + halves(u32[5]) +
    (u32[6] & HALF_MASK) + sumUsualAddresses(u32);
}

/** {@linkcode sumBytes} of the addresses in the usual IPv4 header. */
export function sumUsualAddresses(u32: Uint32Array): number {
  return (u32[6] >>> 16) + halves(u32[7]) + (u32[8] & HALF_MASK);
}

function halves(word: number): number {
  return (word & HALF_MASK) + (word >>> 16);
}

/** Folds the carries of {@linkcode sumBytes} into 16 bits. */
export function fold(sum: number): number {
  sum = (sum & HALF_MASK) + (sum >>> 16);
  return (sum & HALF_MASK) + (sum >>> 16);
}

const crcTable = makeCrcTable(CRC_POLYNOMIAL);
const crc32cTable = makeCrcTable(CRC32C_POLYNOMIAL);

function makeCrcTable(polynomial: number): Uint32Array {
  const table = new Uint32Array(256);
  for (let value = 0; value < table.length; value++) {
    let crc = value;
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc & 1) !== 0 ? (crc >>> 1) ^ polynomial : crc >>> 1;
    }
    table[value] = crc;
  }
  return table;
}

/** The Ethernet FCS of the first `length` bytes (IEEE 802.3, 3.2.9). */
export function frameCheckSequence(u8: Uint8Array, length: number): number {
  return crcOf(crcTable, u8, 0, length);
}

/** The CRC32c of SCTP over bytes `from` to `to` (RFC 9260, appendix A). */
export function crc32c(u8: Uint8Array, from: number, to: number): number {
  return crcOf(crc32cTable, u8, from, to);
}

function crcOf(
  table: Uint32Array,
  u8: Uint8Array,
  from: number,
  to: number,
): number {
  let crc = ~0;
  for (let at = from; at < to; at++) {
    crc = table[(crc ^ u8[at]) & 0xff] ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}
