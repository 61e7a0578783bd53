/**
 * The messages of the vhost-user protocol, as QEMU's docs/interop/vhost-user.rst ("the specification" in this folder)
 * defines them. Names in capitals are its names. Numbers are little-endian, as on every machine that this runs on.
 *
 * @module
 */

/** What a message asks for ("Front-end message types"). */
export const Request = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  SET_MEM_TABLE: 5,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  GET_CONFIG: 24,
  RESET_DEVICE: 34,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
} as const;

/** A number of {@linkcode Request}. */
export type RequestId = typeof Request[keyof typeof Request];

/** The specification's name of a request. */
export function requestName(id: number): string {
  const found = Object.entries(Request).find(([, value]) => value === id);
  return found?.[0] ?? `request ${id}`;
}

/** Bits of GET_PROTOCOL_FEATURES ("Protocol features"). */
export const ProtocolFeature = {
  MQ: 1n << 0n,
  REPLY_ACK: 1n << 3n,
  CONFIG: 1n << 9n,
  RESET_DEVICE: 1n << 13n,
  CONFIGURE_MEM_SLOTS: 1n << 15n,
  STATUS: 1n << 16n,
} as const;

/** The feature bit that the protocol itself uses: VHOST_USER_F_PROTOCOL_FEATURES. */
export const F_PROTOCOL_FEATURES = 1n << 30n;

/** Header of a message: request, flags, and bytes of payload, 32 bits each ("Header"). */
export const HEADER_BYTES = 12;
/** Bits of the header's flags. */
export const HeaderFlag = {
  /** Both bits of the version. */
  VERSION_MASK: 0x3,
  VERSION: 0x1,
  REPLY: 0x4,
  NEED_REPLY: 0x8,
} as const;

/** Longest payload that a reply may have here: the configuration of a network device is far shorter. */
export const LONGEST_REPLY = 4096;

/** In the number of a virtqueue of SET_VRING_KICK, SET_VRING_CALL and SET_VRING_ERR: no descriptor comes with it. */
const NO_DESCRIPTOR = 1n << 8n;
/** Most regions of SET_MEM_TABLE ("Memory regions description"). */
export const MOST_TABLE_REGIONS = 8;
/** A memory region: guest address, size, user address, offset in the file, 64 bits each. */
const REGION_BYTES = 32;
/** VhostUserConfig: offset, size, flags, 32 bits each, then the bytes ("Virtio device config space"). */
export const CONFIG_HEADER_BYTES = 12;

/** A message of the front end. */
export interface Message {
  /** What it asks for. */
  readonly request: RequestId;
  /** What comes after the header. */
  readonly payload: Uint8Array;
  /** File descriptors that go with it. */
  readonly fds: readonly number[];
}

/** Memory that a backend shall reach. */
export interface MemoryRegion {
  /** Which memory it is of: the number of a file may be given again. */
  readonly memory: object;
  /** Where it begins for the device, in descriptors and in ring addresses alike. */
  readonly iova: bigint;
  /** Its bytes. */
  readonly size: number;
  /** Where it begins in its file. */
  readonly offset: number;
  /** The file. */
  readonly fd: number;
}

/** A message without payload. */
export function plainMessage(request: RequestId): Message {
  return { request, payload: new Uint8Array(0), fds: [] };
}

/** A message with 64-bit numbers. */
export function wordsMessage(
  request: RequestId,
  ...words: readonly bigint[]
): Message {
  const buffer = new ArrayBuffer(words.length * 8);
  new BigUint64Array(buffer).set(words);
  return { request, payload: new Uint8Array(buffer), fds: [] };
}

/** A message with the state of a virtqueue: its number, and another number. */
export function vringStateMessage(
  request: RequestId,
  virtqueue: number,
  value: number,
): Message {
  const buffer = new ArrayBuffer(8);
  new Uint32Array(buffer).set([virtqueue, value]);
  return { request, payload: new Uint8Array(buffer), fds: [] };
}

/** A message that gives a virtqueue an eventfd, or takes it away where `fd` is undefined. */
export function vringFdMessage(
  request: RequestId,
  virtqueue: number,
  fd: number | undefined,
): Message {
  const number = BigInt(virtqueue);
  if (fd === undefined) return wordsMessage(request, number | NO_DESCRIPTOR);
  return { ...wordsMessage(request, number), fds: [fd] };
}

/** SET_VRING_ADDR ("A vring address description"). */
export function vringAddressMessage(
  virtqueue: number,
  rings: { descriptors: bigint; driver: bigint; device: bigint },
): Message {
  return wordsMessage(
    Request.SET_VRING_ADDR,
    // The number in the lower half, no flags in the upper one; no logging at the end.
    ...[BigInt(virtqueue), rings.descriptors, rings.device, rings.driver, 0n],
  );
}

/** SET_MEM_TABLE: these regions and no others. */
export function memoryTableMessage(regions: readonly MemoryRegion[]): Message {
  const buffer = new ArrayBuffer(8 + regions.length * REGION_BYTES);
  new Uint32Array(buffer, 0, 1)[0] = regions.length;
  const words = new BigUint64Array(buffer, 8);
  regions.forEach((region, i) => words.set(regionWords(region), 4 * i));
  return {
    request: Request.SET_MEM_TABLE,
    payload: new Uint8Array(buffer),
    fds: regions.map(({ fd }) => fd),
  };
}

/** ADD_MEM_REG. */
export function addRegionMessage(region: MemoryRegion): Message {
  const { ADD_MEM_REG } = Request;
  return {
    ...wordsMessage(ADD_MEM_REG, 0n, ...regionWords(region)),
    fds: [region.fd],
  };
}

/** REM_MEM_REG: the region is known by its addresses. */
export function removeRegionMessage(region: MemoryRegion): Message {
  return wordsMessage(Request.REM_MEM_REG, 0n, ...regionWords(region));
}

/** GET_CONFIG for the first `size` bytes. */
export function getConfigMessage(size: number): Message {
  const buffer = new ArrayBuffer(CONFIG_HEADER_BYTES + size);
  new Uint32Array(buffer, 0, 3).set([0, size, 0]);
  return {
    request: Request.GET_CONFIG,
    payload: new Uint8Array(buffer),
    fds: [],
  };
}

/** The message as it goes over the socket. */
export function encode(
  { request, payload }: Message,
  needReply: boolean,
): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(HEADER_BYTES + payload.length));
  const flags = HeaderFlag.VERSION | (needReply ? HeaderFlag.NEED_REPLY : 0);
  new Uint32Array(bytes.buffer, 0, 3).set([request, flags, payload.length]);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/** The user address is the I/O virtual address too: rings and packets are found by the same numbers. */
function regionWords({ iova, size, offset }: MemoryRegion): bigint[] {
  return [iova, BigInt(size), iova, BigInt(offset)];
}
