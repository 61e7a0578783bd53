/**
 * The EEPROM of the 8254x (317453 sections 5.3 and 13.4.4).
 *
 * A reset loads the MAC address from it; but who changes the address of a running card, and of an emulated one
 * even through a reset, would make its successor believe in a stranger's. The 82574 always loads it.
 *
 * @module
 */
import { extract, insert } from "../register.ts";
import { waitForBits } from "../register_wait.ts";
import type { Chip } from "./chip.ts";
import { EERD } from "./registers.ts";

const READ_TIMEOUT_MS = 50;
/** Words of the MAC address, from word 0 on. */
const STATION_WORDS = 3;

/** The address that the manufacturer gave the card. */
export async function readFactoryStation(chip: Chip): Promise<Uint8Array> {
  const mac = new Uint8Array(2 * STATION_WORDS);
  const view = new DataView(mac.buffer);
  for (let word = 0; word < STATION_WORDS; word++) {
    view.setUint16(2 * word, await readWord(chip, word), true);
  }
  return mac;
}

async function readWord({ registers }: Chip, address: number): Promise<number> {
  const { bits } = EERD;
  registers.write(EERD, insert(bits.ADDR, address) | bits.START);
  await waitForBits(registers, {
    register: EERD,
    mask: bits.DONE,
    bit: "DONE",
    set: true,
    timeoutMs: READ_TIMEOUT_MS,
  });
  return extract(bits.DATA, registers.read(EERD));
}
