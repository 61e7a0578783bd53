/**
 * The first message: which version of the protocol, and who can take how much ("VFIO_USER_VERSION").
 *
 * @module
 */
import {
  DEFAULT_MOST_DATA,
  MOST_DATA,
  MOST_DMA_REGIONS,
  MOST_FDS,
  ProtocolError,
  VERSION,
} from "./protocol.ts";

/** Bytes before the capabilities. */
const VERSION_BYTES = 4;
const PAGE_SIZES = 4096;

/** What this server can take, which a client must know in any case. There is no migration, and no second socket. */
const LIMITS = {
  max_msg_fds: MOST_FDS,
  max_data_xfer_size: MOST_DATA,
  max_dma_maps: MOST_DMA_REGIONS,
  pgsizes: PAGE_SIZES,
} as const;

/** What comes of a client's version. */
export interface Agreement {
  /** Bytes of the reply. */
  readonly bytes: number;
  /** Bytes of data that the client takes in one transfer. */
  readonly mostData: number;
}

/**
 * Judges the client's version and capabilities and puts ours into `reply`.
 * @throws {ProtocolError} when there is no common version.
 */
export function answerVersion(data: DataView, reply: DataView): Agreement {
  if (data.byteLength < VERSION_BYTES) {
    throw new ProtocolError(`sent VERSION with ${data.byteLength} bytes`);
  }
  const major = data.getUint16(0, true);
  if (major !== VERSION.major) {
    throw new ProtocolError(
      `speaks version ${major} of the protocol, not ${VERSION.major}`,
    );
  }
  const proposed = capabilities(data);
  const offered = {
    ...LIMITS,
    ...(proposed.write_multiple === true ? { write_multiple: true } : {}),
  };
  const text = new TextEncoder().encode(
    `${JSON.stringify({ capabilities: offered })}\0`,
  );
  reply.setUint16(0, VERSION.major, true);
  reply.setUint16(2, VERSION.minor, true);
  new Uint8Array(reply.buffer, reply.byteOffset + VERSION_BYTES).set(text);
  return { bytes: VERSION_BYTES + text.length, mostData: mostData(proposed) };
}

function mostData({ max_data_xfer_size }: Record<string, unknown>): number {
  if (max_data_xfer_size === undefined) return DEFAULT_MOST_DATA;
  const most = Number(max_data_xfer_size);
  if (Number.isSafeInteger(most) && most > 0) return most;
  throw new ProtocolError(`takes ${max_data_xfer_size} bytes at once`);
}

/** The client's capabilities; none when it sent none. */
function capabilities(data: DataView): Record<string, unknown> {
  const bytes = new Uint8Array(
    data.buffer,
    data.byteOffset + VERSION_BYTES,
    data.byteLength - VERSION_BYTES,
  );
  if (bytes.length === 0) return {};
  if (bytes.at(-1) !== 0) {
    throw new ProtocolError("sent capabilities without an end");
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes.subarray(0, -1)));
  } catch {
    throw new ProtocolError("sent capabilities that are no JSON");
  }
  const found = (value as { capabilities?: unknown } | null)?.capabilities;
  return isObject(found) ? found : {};
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
