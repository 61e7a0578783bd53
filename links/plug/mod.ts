/**
 * Offline stand-in for `@denosaurs/plug`: opens a dynamic library that is
 * already on disk, named the way the real package names it. It downloads and
 * caches nothing.
 *
 * @module
 */

import { existsSync, statSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Where to find a library: an exact file, or a folder and a base name. */
export interface FetchOptionsRecord {
  /** A file, or the folder that holds `lib{name}{suffix}.so`. */
  url: string | URL;
  /** Base name of the library; with it, `url` names the folder. */
  name?: string;
  /** Text between the base name and the extension, by operating system. */
  suffixes?: Partial<
    Record<
      typeof Deno.build.os,
      string | Partial<Record<typeof Deno.build.arch, string>>
    >
  >;
}

/** Where to find a library. */
export type FetchOptions = string | URL | FetchOptionsRecord;

function suffixOf(options: FetchOptionsRecord): string {
  const suffix = options.suffixes?.[Deno.build.os] ?? "";
  return typeof suffix === "string" ? suffix : suffix[Deno.build.arch] ?? "";
}

function locate(options: FetchOptions): URL {
  if (options instanceof URL) return options;
  if (typeof options === "string") {
    return URL.canParse(options) ? new URL(options) : pathToFileURL(options);
  }
  const base = locate(options.url);
  if (options.name === undefined || base.pathname.endsWith(".so")) return base;
  const folder = base.pathname.endsWith("/") ? base : new URL(`${base}/`);
  return new URL(`lib${options.name}${suffixOf(options)}.so`, folder);
}

/**
 * Opens the library that `options` names and binds `symbols` in it.
 *
 * @throws {TypeError} if the URL is not a file
 * @throws {Error} if the file does not exist or cannot be opened
 */
export function dlopen<const S extends Deno.ForeignLibraryInterface>(
  options: FetchOptions,
  symbols: S,
): Promise<Deno.DynamicLibrary<S>> {
  return Promise.try(() => {
    const url = locate(options);
    if (url.protocol !== "file:") {
      throw new TypeError(`Only file URLs can be opened offline, got ${url}`);
    }
    const path = fileURLToPath(url);
    if (!existsSync(path) || !statSync(path).isFile()) {
      throw new Error(`Could not find "${path}"`);
    }
    return Deno.dlopen(path, symbols);
  });
}
