/**
 * The ixgbe driver on the software 82599 and X540, which processes of their own serve to the guest, behind VFIO and the
 * guest's IOMMU: the scenarios of the gigabit cards.
 */
import { forwards } from "./intel/chips.ts";
import { SERVED_MODELS } from "./intel/models.ts";
import { cardScenarios } from "./intel/scenarios.ts";
import { guestScenarios } from "./lab/mod.ts";

const scenario = guestScenarios({
  name: "served-vfio",
  nics: SERVED_MODELS.map(({ nic }) => ({ model: nic })),
  hugepages: 128,
}, "newerQemu");

cardScenarios(scenario, SERVED_MODELS);

scenario("forwards between chips as an ordinary user", async (guest) => {
  const [fibre, copper] = guest.nics;
  await forwards(guest, fibre, copper);
});
