/**
 * Watches for the loss of a device: its removal from the machine, or an error after which it cannot be trusted.
 *
 * @module
 */
import type { BusDevice } from "../../bus/bus.ts";
import { log, repeatedly } from "../../log.ts";

/** How soon a loss is noticed. */
const INTERVAL_MS = 100;

/** What to do before a device that is lost is closed. */
export type RemovalHandler = () => void | Promise<void>;

/** Looks for the loss of a device until it is stopped. */
export class RemovalWatch {
  readonly #bus: BusDevice;
  readonly #onLoss: (handlers: readonly RemovalHandler[]) => void;
  readonly #handlers = new Set<RemovalHandler>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #lost: string | undefined;

  /**
   * @param bus The device on its bus.
   * @param onLoss Called once, with all handlers, when the device is lost.
   */
  constructor(
    bus: BusDevice,
    onLoss: (handlers: readonly RemovalHandler[]) => void,
  ) {
    this.#bus = bus;
    this.#onLoss = onLoss;
  }

  /** What became of the device, for messages; undefined while it is there. */
  get lost(): string | undefined {
    return this.#lost;
  }

  /** Begins to look, where the bus can tell of a loss. */
  start(): void {
    const { removal, failure, address } = this.#bus;
    if (removal === undefined && failure === undefined) return;
    this.#timer = repeatedly(address, () => this.#look(), INTERVAL_MS);
  }

  /** Looks no more. */
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Adds a handler. Disposing of the result takes it away. */
  add(handler: RemovalHandler): Disposable {
    this.#handlers.add(handler);
    return { [Symbol.dispose]: () => void this.#handlers.delete(handler) };
  }

  #look(): void {
    const { removal, failure, address } = this.#bus;
    const isFailed = failure?.clear() ?? false;
    const isRemoved = removal?.clear() ?? false;
    if (this.#timer === undefined || !(isFailed || isRemoved)) return;
    this.stop();
    if (isRemoved) {
      this.#lost = "was removed from the machine";
      log("warn", address, "is being removed from the machine");
    } else {
      this.#lost =
        "had an error on PCI Express that could not be corrected: look at the kernel's log, and open it again";
      log(
        "error",
        address,
        "reports an uncorrectable error on PCI Express",
      );
    }
    this.#onLoss([...this.#handlers]);
  }
}
