/** What was asked of the server, counted: shows whether clients are kind to it (no storms, no needless lists). */
import type { ServerResponse } from "node:http";
import type { RequestInfo } from "./router.ts";
import type { JsonObject } from "../types.ts";

/** One finished request. */
export interface RequestRecord {
  verb: string;
  resource: string;
  name: string;
  user: string;
  code: number;
}

/** Counters of requests. */
export class Stats {
  readonly #counts = new Map<string, number>();
  readonly #openWatches: () => number;
  readonly #onRequest: ((record: RequestRecord) => void) | undefined;

  constructor(openWatches: () => number, onRequest?: (record: RequestRecord) => void) {
    this.#openWatches = openWatches;
    this.#onRequest = onRequest;
  }

  /** Counts a request when its answer is finished or broken off. */
  count({ verb, resource, name = "" }: RequestInfo, user: string, response: ServerResponse): void {
    response.once("close", () => {
      // 0: the connection ended before there was an answer.
      const code = response.headersSent ? response.statusCode : 0;
      const key = `${verb} ${resource} ${code}`;
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
      this.#onRequest?.({ verb, resource, name, user, code });
    });
  }

  /** Counts by `verb resource code`, and the open watches. */
  report(): JsonObject {
    return { openWatches: this.#openWatches(), requests: Object.fromEntries(this.#counts) };
  }
}
