/**
 * Network namespaces: other hosts, as far as the kernel is concerned.
 *
 * @module
 */
import { command } from "./cli.ts";

/** A network namespace of its own; disposing of it deletes it, with the interfaces that were moved into it. */
export class Namespace implements AsyncDisposable {
  private constructor(readonly name: string) {}

  /** Makes one. */
  static async create(name: string): Promise<Namespace> {
    await command("ip", "netns", "add", name);
    const space = new Namespace(name);
    await space.run("ip", "link", "set", "lo", "up");
    return space;
  }

  /** The words that run a command in it. */
  inside(...args: string[]): string[] {
    return ["ip", "netns", "exec", this.name, ...args];
  }

  /** Runs a command in it and returns what it printed; throws when it fails. */
  run(...args: string[]): Promise<string> {
    const [name, ...rest] = this.inside(...args);
    return command(name, ...rest);
  }

  /** Moves an interface of this namespace into it, gives it an address, and switches it on. */
  async adopt(link: string, address: string): Promise<void> {
    await command("ip", "link", "set", link, "netns", this.name);
    await this.run("ip", "address", "add", address, "dev", link);
    await this.run("ip", "link", "set", link, "up");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await command("ip", "netns", "delete", this.name);
  }
}
