/**
 * The guest lab: virtual machines with QEMU's network cards.
 *
 * @module
 */

export { FramePort, type ReceiveOptions } from "./frame_port.ts";
export { Guest, type RunOptions } from "./guest.ts";
export {
  type MachineDescription,
  type NicDescription,
  type NicModel,
  type NicProperties,
} from "./machine.ts";
export { Nic } from "./nic.ts";
export { NO_IOMMU_MODULE } from "./no_iommu.ts";
export { type Outcome, Program } from "./program.ts";
export { type EventOptions, Qmp, type QmpEvent } from "./qmp.ts";
export {
  guestScenarios,
  type RegisterScenario,
  type Scenario,
  type ScenarioOptions,
} from "./scenario.ts";
export {
  asUser,
  bindDriver,
  bindForUser,
  iommuGroup,
  untilDevice,
  USER,
} from "./vfio.ts";
