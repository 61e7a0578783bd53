/**
 * Reaching a device's registers from another isolate.
 *
 * @module
 */
import { NotSupportedError } from "../errors.ts";
import type { BusDescription, Registers } from "./bus.ts";
import { SimRegisters } from "./sim/channel.ts";

/** Opens the registers that {@linkcode BusDevice.describe} described. */
export function openRegisters(description: BusDescription): Registers {
  if (description.kind === "sim") return new SimRegisters(description);
  throw new NotSupportedError(`no bus of kind ${description.kind}`);
}
