/**
 * Worker entry point: a software card behind a vfio-user socket.
 *
 * @module
 */
import type { ControlDescription } from "../src/vfio_user/control.ts";
import { serveCard, type ServeOptions } from "../src/vfio_user/server.ts";

/** What the main isolate sends. */
export interface ServeStart {
  /** What to serve. */
  readonly options: ServeOptions;
  /** How the main isolate ends it. */
  readonly control: ControlDescription;
}

/** What the worker answers: that it serves, and how it ended. */
export type ServeReport =
  | { readonly serving: true }
  | { readonly ended: true }
  | { readonly failed: { readonly code: string; readonly message: string } };

/** The two ends of a worker that `lib: deno.worker` would declare. */
const scope = globalThis as unknown as {
  onmessage: ((event: MessageEvent<ServeStart>) => void) | null;
  postMessage(report: ServeReport): void;
  close(): void;
};

scope.onmessage = async ({ data: { options, control } }) => {
  try {
    await serveCard(
      options,
      control,
      () => scope.postMessage({ serving: true }),
    );
    scope.postMessage({ ended: true });
  } catch (error) {
    const { code = "system", message = String(error) } = error as {
      code?: string;
      message?: string;
    };
    scope.postMessage({ failed: { code, message } });
  }
  scope.close();
};
