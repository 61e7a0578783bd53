/**
 * A served software card in a worker of the test process, whose log the test can read.
 */
import { assertEquals } from "@std/assert";
import { readSmallFile } from "../../../src/ffi/files.ts";
import { CardControl } from "../../../src/vfio_user/control.ts";
import type { ServeOptions } from "../../../src/vfio_user/server.ts";
import { withoutLeaks } from "../host/leaks.ts";
import { type Requirement, requires } from "../runner/requirements.ts";
import { until } from "../until.ts";
import { VfioUserClient } from "./client.ts";

/** A card that is served until it is disposed of. */
export class ServedCard implements AsyncDisposable {
  /** What the server has said, a line each. */
  readonly log: string[] = [];
  readonly path: string;
  readonly #control = CardControl.create();
  readonly #worker: Worker;
  readonly #ended: Promise<void>;
  readonly #folder: string;

  private constructor(options: Partial<ServeOptions>) {
    this.#folder = Deno.makeTempDirSync({ prefix: "ixl-card-" });
    this.path = `${this.#folder}/card`;
    this.#worker = new Worker(
      new URL("../../fixtures/served_card_worker.ts", import.meta.url),
      { type: "module" },
    );
    this.#ended = new Promise((resolve, reject) => {
      this.#worker.onmessage = ({ data }) => {
        if (data.log !== undefined) this.log.push(data.log);
        else if (data.ended) resolve();
      };
      this.#worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
      };
    });
    this.#worker.postMessage({
      options: {
        socket: this.path,
        model: "82599",
        mac: "02:00:00:00:00:01",
        wire: "loopback",
        ...options,
      },
      control: this.#control.description,
    });
  }

  /** Serves a card; by default an 82599 on a loopback. */
  static async start(options: Partial<ServeOptions> = {}): Promise<ServedCard> {
    const card = new ServedCard(options);
    await card.says(/serving/);
    return card;
  }

  /** Plugs its cable in, or pulls it. */
  setCable(plugged: boolean): void {
    this.#control.setCable(plugged);
  }

  /** How many clients have come, and how many of them are served no more. */
  get clients(): { come: number; gone: number } {
    const count = (pattern: RegExp) =>
      this.log.filter((line) => pattern.test(line)).length;
    return {
      come: count(/^client \d+ has come$/),
      gone: count(/^client \d+ has gone$|: connection closed$/),
    };
  }

  /** Waits until the server has seen the last of a client that has closed its connection. */
  async isFree(): Promise<void> {
    // A connection of its own is served after all that came before it.
    const before = this.clients.come;
    new VfioUserClient(this.path).close();
    await until("the clients are gone", () => {
      const { come, gone } = this.clients;
      return come > before && gone === come;
    });
  }

  /** Waits for a line of the log. */
  async says(pattern: RegExp): Promise<void> {
    await until(
      `the card says ${pattern}`,
      () => this.log.some((line) => pattern.test(line)),
    );
  }

  /** Ends it as a signal would. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#control.stop();
    await this.#ended;
    this.#worker.terminate();
    this.#control.close();
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

/**
 * One served card for all tests of a file, whose clients come in turn. What a client has given to the server must be
 * back when it has gone: descriptors and mappings alike, which test and server share.
 */
export class SharedServer {
  readonly #options: Partial<ServeOptions>;
  #card: Promise<ServedCard> | undefined;

  /** @param options What to serve. */
  constructor(options: Partial<ServeOptions> = {}) {
    this.#options = options;
    Deno.test.afterAll(async () => {
      await (await this.#card)?.[Symbol.asyncDispose]();
    });
  }

  /** Registers a test, which leaves no client behind. */
  test(
    name: string,
    run: (card: ServedCard) => void | Promise<void>,
    ...needs: Requirement[]
  ): void {
    // The server outlives the test that starts it.
    const options = { sanitizeOps: false, sanitizeResources: false };
    const register = requires(...needs);
    register(name, async () => {
      const card = await (this.#card ??= ServedCard.start(this.#options));
      await withoutLeaks(async () => {
        await run(card);
        await card.isFree();
        assertEquals(sharedMappings(), [], "the client's memory is mapped");
      });
    }, options);
  }
}

/** What is mapped of memory that a test calls "ixl-test". */
function sharedMappings(): string[] {
  const maps = readSmallFile("/proc/self/maps") ?? "";
  return maps.split("\n").filter((line) => line.includes("memfd:ixl-test"));
}
