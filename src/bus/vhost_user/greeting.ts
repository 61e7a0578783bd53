/**
 * Getting to know a backend: what it offers, and how to speak with it.
 *
 * @module
 */
import { DeviceFaultError } from "../../errors.ts";
import type { Connection } from "./connection.ts";
import {
  CONFIG_HEADER_BYTES,
  F_PROTOCOL_FEATURES,
  getConfigMessage,
  plainMessage,
  ProtocolFeature,
  Request,
  type RequestId,
  wordsMessage,
} from "./protocol.ts";

/** Bits of the device status (2.1). */
export const DeviceStatus = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  NEEDS_RESET: 64,
  FAILED: 128,
} as const;

/** The protocol features in use here, where a backend has them. */
const WANTED = Object.values(ProtocolFeature).reduce((all, bit) => all | bit);
/** Most queue pairs: the messages with descriptors have eight bits for the number of a virtqueue. */
const MOST_PAIRS = 128n;
/** Bytes of a network device's configuration (5.1.4). */
const CONFIG_BYTES = 24;

/** What is known of a backend. */
export interface Backend {
  /** The connection on which it was asked. */
  readonly connection: Connection;
  /** Feature bits that it offers. */
  readonly features: bigint;
  /** Protocol features in use. */
  readonly protocol: bigint;
  /** Virtqueues that it has. */
  readonly virtqueues: number;
  /** Regions of memory that it takes one by one; 0 where it takes all of them at once. */
  readonly memorySlots: number;
  /** Device configuration; undefined where it has none. */
  readonly config: DataView | undefined;
}

/** Asks a backend for all that there is to know. `known` is what this or another backend said before. */
export async function greet(
  connection: Connection,
  known: Backend | undefined,
): Promise<Backend> {
  const features = await askWord(connection, Request.GET_FEATURES);
  const protocol = known?.connection === connection
    ? known.protocol
    : await introduce(connection, features);
  const backend: Backend = {
    connection,
    features,
    protocol,
    virtqueues: await askVirtqueues(connection, protocol),
    memorySlots: await askMemorySlots(connection, protocol),
    config: await askConfig(connection, protocol),
  };
  await setStatus(
    connection,
    backend,
    DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER,
  );
  return backend;
}

/** Sets the device status and returns what the backend made of it; the same where it keeps none. */
export async function setStatus(
  connection: Connection,
  { protocol }: Backend,
  status: number,
): Promise<number> {
  if ((protocol & ProtocolFeature.STATUS) === 0n) return status;
  await connection.tell(wordsMessage(Request.SET_STATUS, BigInt(status)));
  return await askStatus(connection);
}

/** The device status of a backend that keeps one. */
export async function askStatus(connection: Connection): Promise<number> {
  return Number(await askWord(connection, Request.GET_STATUS) & 0xffn);
}

/** Agrees on protocol features, once in a connection. */
async function introduce(
  connection: Connection,
  features: bigint,
): Promise<bigint> {
  let protocol = 0n;
  if ((features & F_PROTOCOL_FEATURES) !== 0n) {
    const offered = await askWord(connection, Request.GET_PROTOCOL_FEATURES);
    protocol = offered & WANTED;
    const { SET_PROTOCOL_FEATURES } = Request;
    await connection.tell(wordsMessage(SET_PROTOCOL_FEATURES, protocol));
    if ((protocol & ProtocolFeature.REPLY_ACK) !== 0n) {
      connection.useAcknowledgements();
    }
  }
  await connection.tell(plainMessage(Request.SET_OWNER));
  return protocol;
}

async function askVirtqueues(
  connection: Connection,
  protocol: bigint,
): Promise<number> {
  if ((protocol & ProtocolFeature.MQ) === 0n) return 2;
  const pairs = await askWord(connection, Request.GET_QUEUE_NUM);
  if (pairs === 0n) {
    throw new DeviceFaultError(`${connection.peer} has no queues`);
  }
  return 2 * Number(pairs < MOST_PAIRS ? pairs : MOST_PAIRS);
}

async function askMemorySlots(
  connection: Connection,
  protocol: bigint,
): Promise<number> {
  if ((protocol & ProtocolFeature.CONFIGURE_MEM_SLOTS) === 0n) return 0;
  const slots = await askWord(connection, Request.GET_MAX_MEM_SLOTS);
  if (slots > 0n) return Number(slots);
  throw new DeviceFaultError(`${connection.peer} has no room for memory`);
}

/** A backend that cannot read it answers with less. */
async function askConfig(
  connection: Connection,
  protocol: bigint,
): Promise<DataView | undefined> {
  if ((protocol & ProtocolFeature.CONFIG) === 0n) return undefined;
  const whole = CONFIG_HEADER_BYTES + CONFIG_BYTES;
  const reply = await connection.ask(getConfigMessage(CONFIG_BYTES), [
    0,
    whole,
  ]);
  if (reply.byteLength < whole) return undefined;
  return new DataView(reply.buffer, CONFIG_HEADER_BYTES);
}

async function askWord(
  connection: Connection,
  request: RequestId,
): Promise<bigint> {
  const reply = await connection.ask(plainMessage(request), 8);
  return reply.getBigUint64(0, true);
}
