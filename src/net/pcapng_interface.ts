/**
 * What a pcapng file says of an interface that it captured from: the Interface
 * Description Block.
 *
 * Source: "PCAP Next Generation (pcapng) Capture File Format",
 * draft-ietf-opsawg-pcapng, sections 3.5 and 4.2.
 *
 * @module
 */

import { PcapError, type PcapRecord } from "./pcap.ts";

/** Section 4.2: offsets from the block's first octet. */
const INTERFACE_FIELD = { linkType: 8, snapLength: 12, options: 16 } as const;

/** Section 3.5: offsets from the option's first octet. */
const OPTION_FIELD = { code: 0, length: 2, value: 4 } as const;

const OPT_ENDOFOPT = 0;
const IF_TSRESOL = 9;
const IF_FCSLEN = 13;
const IF_TSOFFSET = 14;
/** Lengths of the values that are used, by the option's code. */
const VALUE_LENGTH = new Map([
  [IF_TSRESOL, 1],
  [IF_FCSLEN, 1],
  [IF_TSOFFSET, 8],
]);

/** Above it, if_fcslen is in bits, as the drafts before 2020 had it. */
const LONGEST_FCS = 8;

/** The bit of if_tsresol that makes it a power of 2 rather than of 10. */
const BINARY = 0x80;
const MICROSECONDS = 1e6;
const NANOSECONDS = 1e9;

/** Ticks in a second up to which a remainder and one more octet fit 53 bits. */
const MOST_EXACT_TICKS = 2 ** 45;

/** A block that is there in full. */
export interface PcapngBlock {
  /** Where it begins in the window. */
  readonly at: number;
  /** Octets of the whole block. */
  readonly length: number;
  /** Byte order of the section. */
  readonly littleEndian: boolean;
  /** Where it begins in the file, for messages. */
  readonly position: number;
}

/** One interface of a section. */
export class PcapngInterface {
  /** What its packets are. */
  readonly linkType: number;
  /** Octets after which its packets were cut off; 0 is no limit. */
  readonly snapLength: number;
  /** Octets of frame check sequence at the end of each frame. */
  fcsLength = 0;
  #ticksPerSecond = MICROSECONDS;
  /** Seconds to add to every time stamp. */
  #offsetSeconds = 0;

  /**
   * Reads the block that describes the interface.
   *
   * @param window where the block is
   * @param block where in the window, and how to read it
   * @throws {PcapError} if an option does not fit
   */
  constructor(window: DataView, block: PcapngBlock) {
    const { at, littleEndian } = block;
    const field = INTERFACE_FIELD;
    this.linkType = window.getUint16(at + field.linkType, littleEndian);
    this.snapLength = window.getUint32(at + field.snapLength, littleEndian);
    // The block ends with its length once more.
    const end = block.length - 4;
    let offset: number = field.options;
    while (offset + OPTION_FIELD.value <= end) {
      const option = at + offset;
      const code = window.getUint16(option + OPTION_FIELD.code, littleEndian);
      const size = window.getUint16(option + OPTION_FIELD.length, littleEndian);
      if (code === OPT_ENDOFOPT) break;
      const next = offset + OPTION_FIELD.value + size;
      checkOption(code, size, next <= end, block.position + offset);
      this.#apply(code, window, option + OPTION_FIELD.value, littleEndian);
      offset = (next + 3) & ~3;
    }
  }

  /**
   * Converts a time stamp: exactly if its ticks are 10^-13 s, 2^-45 s or longer,
   * to within a nanosecond if they are shorter.
   *
   * @param high the upper 32 bits
   * @param low the lower 32 bits
   * @param record where to write seconds and nanoseconds
   */
  readTime(high: number, low: number, record: PcapRecord): void {
    const perSecond = this.#ticksPerSecond;
    let seconds = 0;
    if (perSecond > MOST_EXACT_TICKS) {
      // 64 bits of these are so few seconds that a double is good enough.
      const time = (high * 2 ** 32 + low) / perSecond;
      seconds = Math.floor(time);
      record.nanoseconds = Math.floor((time - seconds) * NANOSECONDS);
    } else {
      let ticks = 0;
      for (let i = 0; i < 8; i++) {
        const word = i < 4 ? high : low;
        ticks = ticks * 256 + ((word >>> (24 - 8 * (i & 3))) & 0xff);
        const digit = Math.floor(ticks / perSecond);
        seconds = seconds * 256 + digit;
        ticks -= digit * perSecond;
      }
      record.nanoseconds = nanosecondsOf(ticks, perSecond);
    }
    record.seconds = seconds + this.#offsetSeconds;
  }

  #apply(code: number, window: DataView, at: number, little: boolean): void {
    if (code === IF_TSRESOL) {
      const value = window.getUint8(at);
      const base = value & BINARY ? 2 : 10;
      this.#ticksPerSecond = base ** (value & ~BINARY);
    } else if (code === IF_FCSLEN) {
      const length = window.getUint8(at);
      this.fcsLength = length > LONGEST_FCS ? length >>> 3 : length;
    } else if (code === IF_TSOFFSET) {
      this.#offsetSeconds = Number(window.getBigInt64(at, little));
    }
  }
}

/** Multiplies or divides by a whole power of 10, or by one of 2: exact. */
function nanosecondsOf(ticks: number, perSecond: number): number {
  const perNanosecond = perSecond / NANOSECONDS;
  return Number.isInteger(perNanosecond)
    ? Math.floor(ticks / perNanosecond)
    : Math.floor(ticks * (NANOSECONDS / perSecond));
}

function checkOption(
  code: number,
  size: number,
  fits: boolean,
  position: number,
): void {
  const expected = VALUE_LENGTH.get(code) ?? size;
  if (fits && size === expected) return;
  throw new PcapError(
    `option ${code} at octet ${position} claims ${size} octets, ` +
      (fits ? `not ${expected}` : "beyond the end of its block"),
    position,
  );
}
