/**
 * How long files and tiers of tests take, to start the longest first.
 *
 * @module
 */

/** Seconds on two quiet cores, about: from the summary of a run. */
const USUAL: Readonly<Record<string, number>> = {
  "tests/unit": 70,
  "tests/sim": 45,
  "tests/e2e": 85,
  "tests/vhost": 90,
  "tests/guest/endurance_test.ts": 200,
  "tests/guest/served_vfio_test.ts": 220,
  "tests/guest/served_card_test.ts": 150,
  "tests/guest/virtio_test.ts": 150,
  "tests/guest/gigabit_test.ts": 150,
  "tests/guest/vfio_errors_test.ts": 90,
  "tests/guest/no_iommu_test.ts": 90,
  "tests/guest/virtio_tap_test.ts": 80,
  "tests/guest/served_tcp_test.ts": 80,
  "tests/guest/interop_test.ts": 75,
  "tests/guest/lab_test.ts": 60,
  "tests/guest/bind_test.ts": 50,
  "tests/guest/served_hotplug_test.ts": 40,
  "tests/guest/tap_test.ts": 25,
};

/** What is not in the table starts first: a new file that takes long must not be the last. */
const UNKNOWN = 600;

/** How long a file or folder takes about, in seconds. */
export function usualSeconds(path: string): number {
  return USUAL[path] ?? UNKNOWN;
}
