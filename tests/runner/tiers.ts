/**
 * The tiers: what they are, and how their files are run.
 *
 * @module
 */

import type { Requirement } from "../support/runner/requirements.ts";
import type { Job } from "./schedule.ts";

/** A kind of tests, in a folder of its own. */
export interface Tier {
  /** Also the folder's name below tests/. */
  name: string;
  about: string;
  /** What not one test of the tier can do without; single tests may need more. */
  needs: Requirement[];
  /** 2 MiB pages to have free while it runs. */
  hugepages: number;
  /** After that it hangs, and is ended. */
  limitMinutes: number;
  /** Its permission set in deno.json; "test" unless given. */
  permissions?: string;
  /** What it needs for itself while others run. */
  claims: Job<never>["claims"];
  /** Each of its files is a process and a job of its own. */
  byFile?: true;
}

/** All of them. */
export const TIERS: Tier[] = [
  {
    name: "unit",
    about: "pure functions and single parts, against published vectors",
    needs: [],
    hugepages: 16,
    claims: "host",
    limitMinutes: 10,
  },
  {
    name: "sim",
    about: "drivers and programs on the software cards",
    needs: [],
    hugepages: 128,
    claims: "host",
    limitMinutes: 15,
  },
  {
    name: "e2e",
    about: "the command line and the examples in processes of their own",
    needs: [],
    hugepages: 128,
    claims: "host",
    limitMinutes: 10,
  },
  {
    name: "timing",
    about: "processor time, waiting and rates, which need an idle machine",
    needs: [],
    hugepages: 128,
    claims: "machine",
    limitMinutes: 5,
  },
  {
    name: "guest",
    about: "drivers under VFIO in a virtual machine with QEMU's cards",
    needs: ["lab"],
    hugepages: 0,
    claims: "nothing",
    limitMinutes: 15,
    permissions: "guest",
    byFile: true,
  },
  {
    name: "vhost",
    about: "the virtio driver against DPDK over vhost-user",
    needs: ["testpmd"],
    hugepages: 64,
    claims: "machine",
    limitMinutes: 10,
  },
];
