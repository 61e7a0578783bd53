/**
 * `ixl bind` and `ixl unbind`: a card from the kernel to user space and back.
 *
 * @module
 */
import { IxlError } from "../errors.ts";
import { parsePciAddress } from "../pci/address.ts";
import { bindToVfio, unbindFromVfio } from "../pci/bind.ts";
import { type Command, defineCommand } from "./command.ts";

/** Hands a card to vfio-pci. */
export const bindCommand: Command = defineCommand({
  name: "bind",
  summary: "Takes a card from its kernel driver, for use from here",
  args: ["ADDRESS"],
  options: [
    {
      name: "force",
      help: "even when its interface has an address or a route",
    },
  ],
  notes:
    "Needs root. `ixl unbind` gives the card back. Without root a program may then open it when it may open the group's file in /dev/vfio.",
  run: (given) => {
    const address = pciAddress(given.args[0]);
    bindToVfio(address, { force: given.flag("force") });
    console.log(`${address} is with vfio-pci`);
    return Promise.resolve(0);
  },
});

/** Gives a card back to the kernel. */
export const unbindCommand: Command = defineCommand({
  name: "unbind",
  summary: "Gives a card back to its kernel driver",
  args: ["ADDRESS"],
  run: (given) => {
    const address = pciAddress(given.args[0]);
    unbindFromVfio(address);
    console.log(`${address} is with the kernel`);
    return Promise.resolve(0);
  },
});

function pciAddress(text: string): string {
  const address = parsePciAddress(text);
  if (address !== undefined) return address;
  throw new IxlError(
    "bad-config",
    `"${text}" is no PCI address: write it like 0000:01:00.0`,
  );
}
