/**
 * What an SFP+ module says of itself: the identification at address A0h of
 * SFF-8472, for a short-range optical module without diagnostics.
 *
 * @module
 */

/** The module's seven-bit address; SFF-8472 writes it as A0h. */
export const MODULE_ADDRESS = 0x50;
/** Bytes of the identification page. */
const PAGE_BYTES = 256;
/** Places of SFF-8472, table 4-1. */
const AT = {
  identifier: 0,
  extendedIdentifier: 1,
  connector: 2,
  compliance10G: 3,
  encoding: 11,
  bitRate: 12,
  lengthOm2: 16,
  lengthOm1: 17,
  lengthOm3: 19,
  vendorName: 20,
  partNumber: 40,
  revision: 56,
  wavelength: 60,
  checkBase: 63,
  options: 65,
  serialNumber: 68,
  dateCode: 84,
  checkExtended: 95,
};
const IDENTIFIER_SFP = 3;
const TWO_WIRE_ONLY = 4;
const CONNECTOR_LC = 7;
const IS_10GBASE_SR = 1 << 4;
const ENCODING_64B66B = 6;
/** In units of 100 Mbit/s. */
const BIT_RATE = 103;
/** Reach over three kinds of fibre, in units of 10 m. */
const REACH = { om1: 3, om2: 8, om3: 30 };
const WAVELENGTH_NM = 850;
/** TX_DISABLE, TX_FAULT and loss of signal are wired. */
const OPTIONS = 0x1a;

/** The identification page, with both of its checksums. */
export function makeModuleId(): Uint8Array {
  const page = new Uint8Array(PAGE_BYTES);
  page[AT.identifier] = IDENTIFIER_SFP;
  page[AT.extendedIdentifier] = TWO_WIRE_ONLY;
  page[AT.connector] = CONNECTOR_LC;
  page[AT.compliance10G] = IS_10GBASE_SR;
  page[AT.encoding] = ENCODING_64B66B;
  page[AT.bitRate] = BIT_RATE;
  page[AT.lengthOm2] = REACH.om2;
  page[AT.lengthOm1] = REACH.om1;
  page[AT.lengthOm3] = REACH.om3;
  // An organisation of zero says nothing about the vendor.
  store(page, AT.vendorName, 16, "IXL FOR DENO");
  store(page, AT.partNumber, 16, "SOFTWARE-SR");
  store(page, AT.revision, 4, "1");
  page[AT.wavelength] = WAVELENGTH_NM >>> 8;
  page[AT.wavelength + 1] = WAVELENGTH_NM & 0xff;
  page[AT.checkBase] = sum(page, 0, AT.checkBase);
  page[AT.options] = OPTIONS;
  store(page, AT.serialNumber, 16, "1");
  store(page, AT.dateCode, 8, "250101");
  page[AT.checkExtended] = sum(page, AT.checkBase + 1, AT.checkExtended);
  return page;
}

/** Text fields are padded with spaces. */
function store(
  page: Uint8Array,
  at: number,
  length: number,
  text: string,
): void {
  page.set(new TextEncoder().encode(text.padEnd(length)), at);
}

/** The low eight bits of the sum of the bytes. */
function sum(page: Uint8Array, from: number, to: number): number {
  let total = 0;
  for (let i = from; i < to; i++) total += page[i];
  return total & 0xff;
}
