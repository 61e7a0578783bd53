/**
 * How often tests do what is mere repetition: a few times in the gate, in full
 * under `deno task soak`.
 *
 * ```ts
 * const KILLS = repetitions("kills", { gate: 2, soak: 20 });
 * ```
 *
 * @module
 */

/** The name of the soak that runs; unset in the gate. */
export const SOAK_ENV = "IXL_TEST_SOAK";
/** The seed of the soak that runs. */
export const SEED_ENV = "IXL_TEST_SEED";

/** Some tests to repeat in full. */
export interface Soak {
  readonly about: string;
  /** How long it takes about, on two quiet cores. */
  readonly minutes: number;
  /** Their files, in one folder: their tier. */
  readonly files: readonly string[];
  /** Matches the names of the tests. */
  readonly tests: RegExp;
  /** Whether each round draws its random numbers anew. */
  readonly random?: boolean;
}

/** All soaks by their names. */
export const SOAKS = {
  kills: {
    about:
      "programs and backends killed in mid-traffic, 20 times, and a clean start each",
    minutes: 10,
    files: [
      "tests/guest/endurance_test.ts",
      "tests/guest/served_vfio_test.ts",
      "tests/guest/virtio_test.ts",
      "tests/vhost/reconnect_test.ts",
    ],
    tests: /a clean start after each|after a SIGKILL|is killed and|are killed/,
  },
  links: {
    about: "links that go down and up 100 times under each driver",
    minutes: 5,
    files: [
      "tests/guest/endurance_test.ts",
      "tests/guest/served_vfio_test.ts",
      "tests/guest/virtio_test.ts",
    ],
    tests: /links go down and up|tells of the link and works after/,
  },
  reloads: {
    about: "the kernel's ixgbe driver loaded 20 times, switched on 100 times",
    minutes: 5,
    files: ["tests/guest/served_card_test.ts"],
    tests: /unloaded and loaded|goes down and up, over and over/,
  },
  random: {
    about: "long random traffic through the ixgbe and virtio drivers",
    minutes: 2,
    files: ["tests/unit/drivers/virtio/random_test.ts"],
    tests: /random traffic/,
    random: true,
  },
  hostile: {
    about: "10,000s of random devices, backends and clients that lie",
    minutes: 2,
    files: [
      "tests/unit/drivers/virtio/hostile_test.ts",
      "tests/unit/drivers/virtio/hostile_backend_test.ts",
      "tests/unit/drivers/virtio/device_random_test.ts",
      "tests/unit/vfio_user/hostile_test.ts",
      "tests/unit/bus/vhost_user/fuzz_test.ts",
    ],
    tests: /hostile|backends that lie|anything|nonsense|no answer/,
    random: true,
  },
  endings: {
    about: "each command ended 40 times by Ctrl-C in a terminal",
    minutes: 8,
    files: ["tests/e2e/ending_test.ts"],
    tests: /by Ctrl-C in a terminal/,
  },
} satisfies Record<string, Soak>;

/** What `deno task soak NAME` accepts. */
export type SoakName = keyof typeof SOAKS;

const runs = (name: SoakName) => Deno.env.get(SOAK_ENV) === name;

/** How often to do it here: few times in the gate, in full where the soak of that name runs. */
export function repetitions(
  name: SoakName,
  { gate, soak }: { gate: number; soak: number },
): number {
  return runs(name) ? soak : gate;
}

/**
 * The number before the first seed of a random test: 0 in the gate, so that it
 * does the same each time, and drawn anew where the soak of that name runs.
 */
export function seedsAfter(name: SoakName): number {
  return runs(name) ? Number(Deno.env.get(SEED_ENV) ?? 0) : 0;
}
