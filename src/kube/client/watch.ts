/**
 * One watch stream, from its request to its end. It knows nothing of what the events mean; it makes sure that
 * the stream cannot hang for ever, and that a broken event costs that event only.
 */
import { finished } from "node:stream/promises";
import { ApiError, statusOf } from "./api-error.ts";
import type { ApiRequest, KubeClient } from "./client.ts";
import { withoutManagedFields } from "../wire/managed-fields.ts";
import { FrameSplitter } from "../wire/frames.ts";
import { LineSplitter } from "../wire/lines.ts";
import type { ReadItem } from "../wire/list-wire.ts";
import { readWatchEvent } from "../wire/metadata-wire.ts";

/** One event of a watch. */
export interface WatchEvent {
  type: string;
  object: unknown;
}

/** What to watch and whom to tell. */
export interface WatchOptions {
  request: ApiRequest;
  /** What the objects are in protobuf; their metadata alone by default. */
  read?: ReadItem | undefined;
  /** Ends the watch without an error. */
  signal: AbortSignal;
  /** How long the stream may be silent, in milliseconds; asked anew after every chunk. */
  inactivityMs: () => number;
  /** The server has accepted the watch. */
  onOpen: () => void;
  /** Every event but ERROR. */
  onEvent: (event: WatchEvent) => void;
  /** Something that is no event. */
  onGarbage: (why: string) => void;
}

/** The stream was silent for too long: the connection is dead, or the server never says what it was asked for. */
export class WatchStalled extends Error {
  constructor(ms: number) {
    super(`the watch was silent for ${ms} ms`);
    this.name = "WatchStalled";
  }
}

function parseEvent(line: Buffer): WatchEvent {
  const value: unknown = JSON.parse(withoutManagedFields(line));
  const { type, object } = (value ?? {}) as { type?: unknown; object?: unknown };
  if (typeof type !== "string" || typeof object !== "object" || object === null) {
    throw new SyntaxError("not a watch event");
  }
  return { type, object };
}

/**
 * Follows a watch until the server ends it, which servers do every few minutes as a matter of course.
 * @throws ApiError when the server refuses, breaks off or reports an error; WatchStalled when it falls silent.
 */
export async function followWatch(client: KubeClient, options: WatchOptions): Promise<void> {
  const { signal, onEvent, onGarbage } = options;
  const what = `watching ${options.request.path}`;
  if (signal.aborted) return;
  const { body, wire } = await client.stream({ ...options.request, signal });
  options.onOpen();

  let reported: ApiError | undefined;
  const read = wire ? (frame: Buffer) => readWatchEvent(frame, options.read) : parseEvent;
  const onBytes = (bytes: Buffer): void => {
    let event: WatchEvent;
    try {
      event = read(bytes);
    } catch (error) {
      return onGarbage((error as Error).message);
    }
    if (event.type !== "ERROR") return onEvent(event);
    const status = statusOf(event.object);
    reported ??= new ApiError(what, status.code ?? 500, status);
  };
  const splitter = wire ? new FrameSplitter(onBytes) : new LineSplitter(onBytes, () => onGarbage("a line without end"));

  const silence = new Silence(options.inactivityMs, (stalled) => body.destroy(stalled));
  // A listener: going over the stream with "for await" costs as much again as what a heartbeat is.
  body.on("data", (chunk: Buffer) => {
    try {
      splitter.push(chunk);
    } catch (error) {
      body.destroy(error as Error);
    }
    // What came may have changed how long it may be silent.
    silence.broken();
    if (reported !== undefined) body.destroy(reported);
  });
  try {
    await finished(body);
  } catch (error) {
    if (signal.aborted) return;
    if (error === reported || error instanceof WatchStalled) throw error;
    throw new ApiError(what, 0, { message: `the connection broke: ${(error as Error).message}` }, { cause: error });
  } finally {
    silence.end();
    body.destroy();
  }
}

/** Tells when nothing was heard for too long. Its timer is set anew when it fires, not at every sound. */
class Silence {
  readonly #limitMs: () => number;
  readonly #onStall: (stalled: WatchStalled) => void;
  #since = performance.now();
  #set = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(limitMs: () => number, onStall: (stalled: WatchStalled) => void) {
    this.#limitMs = limitMs;
    this.#onStall = onStall;
    this.broken();
  }

  /** Something was heard. */
  broken(): void {
    this.#since = performance.now();
    const limit = this.#limitMs();
    if (limit !== this.#set) this.#wait(limit, limit);
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  #wait(limit: number, ms: number): void {
    clearTimeout(this.#timer);
    this.#set = limit;
    this.#timer = setTimeout(() => {
      const left = this.#since + limit - performance.now();
      if (left > 0) this.#wait(limit, left);
      else this.#onStall(new WatchStalled(limit));
    }, ms);
  }
}
