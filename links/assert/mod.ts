/**
 * Offline stand-in for `@std/assert`: the assertions this project uses, with
 * the signatures of the real package, over `node:assert` and `node:util`.
 *
 * A published `@ixl/deno` never sees this file: `links` in deno.json applies to
 * a checkout only.
 *
 * @module
 */

import { AssertionError as NodeAssertionError } from "node:assert";
import { inspect, isDeepStrictEqual } from "node:util";

/** Values that are false in a condition. */
export type Falsy = false | 0 | 0n | "" | null | undefined;

// deno-lint-ignore no-explicit-any
type Constructor<T = any> = abstract new (...args: any[]) => T;

/** Thrown by every assertion here. */
export class AssertionError extends Error {
  /** Makes an error with the given message. */
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "AssertionError";
  }
}

function show(value: unknown): string {
  return inspect(value, { depth: 8, maxArrayLength: 64 });
}

function reject(what: string, msg: string | undefined): never {
  throw new AssertionError(msg ? `${what}: ${msg}` : what);
}

/** Fails always. */
export function fail(msg?: string): never {
  reject("Failed assertion", msg);
}

/** Fails unless `expr` is truthy. */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) throw new AssertionError(msg);
}

/** Fails unless `expr` is falsy. */
export function assertFalse(expr: unknown, msg = ""): asserts expr is Falsy {
  if (expr) throw new AssertionError(msg);
}

/** Fails unless the two are deeply equal. */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (isDeepStrictEqual(actual, expected)) return;
  // node:assert draws the difference line by line; borrow its text.
  const { message } = new NodeAssertionError({
    actual,
    expected,
    operator: "deepStrictEqual",
  });
  throw new AssertionError(msg ? `${msg}: ${message}` : message);
}

/** Fails if the two are deeply equal. */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!isDeepStrictEqual(actual, expected)) return;
  reject(`Expected something other than ${show(actual)}`, msg);
}

/** Fails unless `Object.is` holds for the two. */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  if (Object.is(actual, expected)) return;
  reject(`Expected ${show(expected)}, got ${show(actual)}`, msg);
}

/** Fails if the value is `null` or `undefined`. */
export function assertExists<T>(
  actual: T,
  msg?: string,
): asserts actual is NonNullable<T> {
  if (actual === undefined || actual === null) {
    reject(`Expected a value, got ${actual}`, msg);
  }
}

/** Fails unless the value is an instance of `expectedType`. */
export function assertInstanceOf<T extends Constructor>(
  actual: unknown,
  expectedType: T,
  msg = "",
): asserts actual is InstanceType<T> {
  if (actual instanceof expectedType) return;
  reject(`Expected an instance of ${expectedType.name}: ${show(actual)}`, msg);
}

/** Fails unless `expected` occurs in `actual`. */
export function assertStringIncludes(
  actual: string,
  expected: string,
  msg?: string,
): void {
  if (actual.includes(expected)) return;
  reject(`Expected ${show(actual)} to contain ${show(expected)}`, msg);
}

/** Fails unless the text matches the pattern. */
export function assertMatch(
  actual: string,
  expected: RegExp,
  msg?: string,
): void {
  if (expected.test(actual)) return;
  reject(`Expected ${show(actual)} to match ${expected}`, msg);
}

/** Fails unless the two differ by at most `tolerance` (default: 1e-7 of `expected`). */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance?: number,
  msg?: string,
): void {
  if (Object.is(actual, expected)) return;
  const allowed = tolerance ??
    (Number.isFinite(expected) ? Math.abs(expected * 1e-7) : 1e-7);
  if (Math.abs(expected - actual) <= allowed) return;
  reject(`Expected ${actual} to be within ${allowed} of ${expected}`, msg);
}

/** Fails unless `actual > expected`. */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (actual > expected) return;
  reject(`Expected ${show(actual)} > ${show(expected)}`, msg);
}

/** Fails unless `actual >= expected`. */
export function assertGreaterOrEqual<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  if (actual >= expected) return;
  reject(`Expected ${show(actual)} >= ${show(expected)}`, msg);
}

/** Fails unless `actual < expected`. */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  if (actual < expected) return;
  reject(`Expected ${show(actual)} < ${show(expected)}`, msg);
}

/** Fails unless `actual <= expected`. */
export function assertLessOrEqual<T>(
  actual: T,
  expected: T,
  msg?: string,
): void {
  if (actual <= expected) return;
  reject(`Expected ${show(actual)} <= ${show(expected)}`, msg);
}

function checkError<E extends Error>(
  error: unknown,
  errorClass: Constructor<E> | undefined,
  msgIncludes: string | undefined,
  msg: string | undefined,
): void {
  if (errorClass === undefined) return;
  if (!(error instanceof Error)) {
    reject(`A non-Error was thrown: ${show(error)}`, msg);
  }
  if (!(error instanceof errorClass)) {
    reject(
      `Expected ${errorClass.name}, got ${error.name}: ${error.message}`,
      msg,
    );
  }
  if (msgIncludes !== undefined && !error.message.includes(msgIncludes)) {
    reject(
      `Expected the error to contain ${show(msgIncludes)}, got ${
        show(error.message)
      }`,
      msg,
    );
  }
}

/** Fails unless `fn` throws; returns what it threw. */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/** Fails unless `fn` throws an error of the class with the text; returns it. */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  errorClass: Constructor<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows<E extends Error>(
  fn: () => unknown,
  classOrMsg?: Constructor<E> | string,
  msgIncludes?: string,
  msg?: string,
): unknown {
  const errorClass = typeof classOrMsg === "string" ? undefined : classOrMsg;
  const suffix = typeof classOrMsg === "string" ? classOrMsg : msg;
  try {
    fn();
  } catch (error) {
    checkError(error, errorClass, msgIncludes, suffix);
    return error;
  }
  reject("Expected function to throw", suffix);
}

/** Fails unless the promise rejects; returns the reason. */
export function assertRejects(
  fn: () => PromiseLike<unknown>,
  msg?: string,
): Promise<unknown>;
/** Fails unless the promise rejects with an error of the class and text; returns it. */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  errorClass: Constructor<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects<E extends Error>(
  fn: () => PromiseLike<unknown>,
  classOrMsg?: Constructor<E> | string,
  msgIncludes?: string,
  msg?: string,
): Promise<unknown> {
  const errorClass = typeof classOrMsg === "string" ? undefined : classOrMsg;
  const suffix = typeof classOrMsg === "string" ? classOrMsg : msg;
  let promise: PromiseLike<unknown>;
  try {
    promise = fn();
  } catch {
    reject("Function throws when expected to reject", suffix);
  }
  try {
    await promise;
  } catch (error) {
    checkError(error, errorClass, msgIncludes, suffix);
    return error;
  }
  reject("Expected function to reject", suffix);
}
