/**
 * How long files and tiers of tests take, to start the longest first.
 *
 * @module
 */

/** Seconds on two quiet cores, about: from the summary of a run. */
const USUAL: Readonly<Record<string, number>> = {
  "tests/unit": 95,
  "tests/sim": 60,
  "tests/e2e": 120,
  "tests/timing": 25,
  "tests/vhost": 75,
  "tests/guest/gigabit_test.ts": 225,
  "tests/guest/endurance_test.ts": 215,
  "tests/guest/served_vfio_test.ts": 185,
  "tests/guest/virtio_test.ts": 175,
  "tests/guest/virtio_tap_test.ts": 115,
  "tests/guest/no_iommu_test.ts": 107,
  "tests/guest/vfio_errors_test.ts": 90,
  "tests/guest/served_card_test.ts": 87,
  "tests/guest/served_tcp_test.ts": 82,
  "tests/guest/interop_test.ts": 80,
  "tests/guest/bind_test.ts": 75,
  "tests/guest/lab_test.ts": 70,
  "tests/guest/served_hotplug_test.ts": 25,
  "tests/guest/tap_test.ts": 15,
};

/** What is not in the table starts first: a new file that takes long must not be the last. */
const UNKNOWN = 600;

/** How long a file or folder takes about, in seconds. */
export function usualSeconds(path: string): number {
  return USUAL[path] ?? UNKNOWN;
}
