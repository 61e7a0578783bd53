import { assert, assertEquals } from "@std/assert";
import { Rig } from "../../support/intel/sim_rig.ts";

const CLK_IN = 1;
const CLK_OUT = 2;
const DATA_IN = 4;
const DATA_OUT = 8;

/** A master that drives the two lines as software has to. */
class Master {
  #lines = CLK_OUT | DATA_OUT;

  constructor(readonly rig: Rig) {}

  #set(bit: number, high: boolean): void {
    this.#lines = high ? this.#lines | bit : this.#lines & ~bit;
    this.rig.write("I2CCTL", this.#lines);
  }

  start(): void {
    this.#set(DATA_OUT, true);
    this.#set(CLK_OUT, true);
    this.#set(DATA_OUT, false);
    this.#set(CLK_OUT, false);
  }

  stop(): void {
    this.#set(DATA_OUT, false);
    this.#set(CLK_OUT, true);
    this.#set(DATA_OUT, true);
  }

  #bit(out: boolean): boolean {
    this.#set(DATA_OUT, out);
    this.#set(CLK_OUT, true);
    assert((this.rig.read("I2CCTL") & CLK_IN) !== 0, "nobody holds the clock");
    const value = (this.rig.read("I2CCTL") & DATA_IN) !== 0;
    this.#set(CLK_OUT, false);
    return value;
  }

  /** Sends a byte; true when it was acknowledged. */
  send(byte: number): boolean {
    for (let i = 7; i >= 0; i--) this.#bit(((byte >> i) & 1) !== 0);
    return !this.#bit(true);
  }

  receive(more: boolean): number {
    let byte = 0;
    for (let i = 0; i < 8; i++) byte = (byte << 1) | (this.#bit(true) ? 1 : 0);
    this.#bit(!more);
    return byte;
  }

  /** The random read of a serial EEPROM. */
  read(device: number, offset: number, count: number): number[] {
    this.start();
    assert(this.send(device), "address");
    assert(this.send(offset), "offset");
    this.start();
    assert(this.send(device | 1), "address for reading");
    const bytes: number[] = [];
    for (let i = 1; i <= count; i++) bytes.push(this.receive(i < count));
    this.stop();
    return bytes;
  }
}

const sum = (bytes: number[]) => bytes.reduce((a, b) => a + b, 0) & 0xff;

Deno.test("Card has an SFP+ module whose identification SFF-8472 can check", () => {
  const rig = new Rig();
  const page = new Master(rig).read(0xa0, 0, 256);
  assertEquals(page[0], 3, "identifier: SFP or SFP+");
  assertEquals(page[2], 7, "connector: LC");
  assertEquals(page[3], 0x10, "10GBASE-SR");
  assertEquals(sum(page.slice(0, 63)), page[63], "CC_BASE");
  assertEquals(sum(page.slice(64, 95)), page[95], "CC_EXT");
  assertEquals(page[92], 0, "no diagnostics, hence no second page");
  assertEquals(rig.messages(), []);
});

Deno.test("Card's module is read byte by byte from any place", () => {
  const master = new Master(new Rig());
  const page = master.read(0xa0, 0, 256);
  for (const at of [0, 3, 20, 63, 95, 255]) {
    assertEquals(master.read(0xa0, at, 1), [page[at]]);
  }
  assertEquals(master.read(0xa0, 254, 3), [page[254], page[255], page[0]]);
});

Deno.test("Card's module answers to its own address only", () => {
  const master = new Master(new Rig());
  master.start();
  assert(!master.send(0xa2), "nothing is at A2h");
  master.stop();
  assertEquals(master.read(0xa0, 0, 1), [3], "and the bus is free again");
});

Deno.test("Card's module keeps its identification when written to", () => {
  const master = new Master(new Rig());
  master.start();
  assert(master.send(0xa0) && master.send(0) && master.send(0x55));
  master.stop();
  assertEquals(master.read(0xa0, 0, 1), [3]);
});

Deno.test("Card reads at ESDP.SDP2 whether the cage has a module", () => {
  const rig = new Rig();
  assertEquals(rig.read("ESDP") & (1 << 2), 1 << 2);
  rig.card.setModule(false);
  assertEquals(rig.read("ESDP") & (1 << 2), 0);
  const master = new Master(rig);
  master.start();
  assert(!master.send(0xa0), "no module acknowledges");
  rig.write("ESDP", (1 << 10) | (1 << 2));
  assertEquals(rig.read("ESDP") & (1 << 2), 1 << 2, "as an output");
});

Deno.test("Card has no link without a module", () => {
  const rig = new Rig();
  rig.bringUp();
  assert(rig.card.linkUp);
  rig.card.setModule(false);
  assert(!rig.card.linkUp);
  rig.card.setModule(true);
  rig.step(20);
  assert(rig.card.linkUp);
});
