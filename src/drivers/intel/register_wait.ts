/**
 * Waits for bits of a register, always with a timeout.
 *
 * @module
 */
import { DeviceTimeoutError } from "../../errors.ts";
import { until } from "../../wait.ts";
import { nameOf, type Register, type RegisterBlock } from "./register.ts";

/** What to wait for. */
export interface BitWait {
  /** Which register. */
  readonly register: Register;
  /** Entry of an array. */
  readonly index?: number;
  /** The bits to look at. */
  readonly mask: number;
  /** Their name in messages. */
  readonly bit: string;
  /** True to wait until all are set, false until all are clear. */
  readonly set: boolean;
  /** What the datasheet allows the device, in milliseconds. */
  readonly timeoutMs: number;
}

/**
 * How long a device gets at least. Datasheets speak of silicon: where software plays the device, a busy host may keep it
 * from its processor for longer.
 */
const LEAST_TIMEOUT_MS = 1000;

/** What to look at when a chip does not do what its datasheet says. */
export const CHIP_ADVICE =
  "the card is hung, gone, or not the chip that it says it is: look at the kernel's log, and open the device again";

/** What to look at when another user of the card keeps a lock. */
export const LOCK_ADVICE =
  "the card's firmware is busy or hung, or another driver uses the card: try again, then power the machine off and on";

/** Waits for bits. Throws a DeviceTimeoutError that names the register and the bit. */
export async function waitForBits(
  registers: RegisterBlock,
  wait: BitWait,
): Promise<void> {
  const { register, index = 0, mask, bit, set } = wait;
  const timeoutMs = Math.max(wait.timeoutMs, LEAST_TIMEOUT_MS);
  const wanted = set ? mask : 0;
  const came = await until(
    () => ((registers.read(register, index) & mask) >>> 0) === wanted,
    timeoutMs,
  );
  if (came) return;
  throw new DeviceTimeoutError(
    `${nameOf(register, index)}.${bit} (section ${register.section}) becoming ${
      set ? 1 : 0
    }`,
    timeoutMs,
    CHIP_ADVICE,
  );
}

/** How long a queue may take to follow its ENABLE bit. */
const ENABLE_TIMEOUT_MS = 100;

/** Waits for ENABLE of RXDCTL or TXDCTL to follow what was written. */
export function waitForEnable(
  registers: RegisterBlock,
  register: Register<{ readonly ENABLE: number }>,
  index: number,
  set: boolean,
): Promise<void> {
  return waitForBits(registers, {
    register,
    index,
    mask: register.bits.ENABLE,
    bit: "ENABLE",
    set,
    timeoutMs: ENABLE_TIMEOUT_MS,
  });
}
