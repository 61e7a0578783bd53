/**
 * The EEPROM: only its checksum is of interest, the chip has read the rest by itself (82599 section 6.1).
 *
 * @module
 */
import { DeviceFaultError } from "../../../errors.ts";
import { extract, insert } from "../register.ts";
import { waitForBits } from "../register_wait.ts";
import type { Chip } from "./chip.ts";
import { EEC, EERD } from "./registers.ts";
import { whileHolding } from "./semaphore.ts";

/** Word with the checksum; all words before it are summed (6.3.3). */
const CHECKSUM_WORD = 0x3f;
/** What all words add up to, the checksum included. */
const CHECKSUM_TOTAL = 0xbaba;
/** Words that point to sections that are summed too (6.2). */
const FIRST_POINTER = 0x03;
const LAST_POINTER = 0x0e;
/** On the X540 these two point to areas outside the checksum (331523, 6.2). */
const X540_UNSUMMED_POINTERS: readonly number[] = [0x04, 0x05];
/** A pointer, or a length, that means "nothing". */
const UNUSED: readonly number[] = [0, 0xffff];
const READ_TIMEOUT_MS = 100;

/** Reads the 16-bit word at a word address (8.2.3.2.2). */
async function readWord(chip: Chip, address: number): Promise<number> {
  const { registers } = chip;
  registers.write(
    EERD,
    insert(EERD.bits.ADDR, address) | EERD.bits.START,
  );
  await waitForBits(registers, {
    register: EERD,
    mask: EERD.bits.DONE,
    bit: "DONE",
    set: true,
    timeoutMs: READ_TIMEOUT_MS,
  });
  return extract(EERD.bits.DATA, registers.read(EERD));
}

/** Refuses a card whose EEPROM is missing or damaged: what it loaded into the chip cannot be trusted. */
export async function checkEeprom(chip: Chip): Promise<void> {
  if (!chip.model.eepromByEerd) return;
  chip.step("check the EEPROM (6.3.3)");
  if ((chip.registers.read(EEC) & EEC.bits.PRES) === 0) {
    throw new DeviceFaultError("the card has no EEPROM, or an empty one");
  }
  const sum = await whileHolding(chip, "eeprom", () => sumWords(chip));
  if (sum === CHECKSUM_TOTAL) return;
  throw new DeviceFaultError(
    `the EEPROM's words add up to 0x${sum.toString(16)}, not 0x${
      CHECKSUM_TOTAL.toString(16)
    }: it is damaged, write it again with the vendor's tool`,
  );
}

async function sumWords(chip: Chip): Promise<number> {
  let sum = 0;
  const pointers: number[] = [];
  for (let address = 0; address <= CHECKSUM_WORD; address++) {
    const word = await readWord(chip, address);
    sum += word;
    if (address >= FIRST_POINTER && address <= LAST_POINTER) {
      if (isSummed(chip, address)) pointers.push(word);
    }
  }
  for (const pointer of pointers) sum += await sumSection(chip, pointer);
  return sum & 0xffff;
}

function isSummed(chip: Chip, pointerAddress: number): boolean {
  return chip.model.name === "82599" ||
    !X540_UNSUMMED_POINTERS.includes(pointerAddress);
}

/** A section begins with the number of words that follow. */
async function sumSection(chip: Chip, start: number): Promise<number> {
  if (UNUSED.includes(start)) return 0;
  const length = await readWord(chip, start);
  if (UNUSED.includes(length)) return 0;
  let sum = 0;
  const last = EERD.bits.ADDR >>> 2;
  for (let i = 1; i <= length && start + i <= last; i++) {
    sum += await readWord(chip, start + i);
  }
  return sum;
}
