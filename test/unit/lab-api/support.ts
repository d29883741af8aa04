/** A client of the lab's API server that hides nothing: status codes, headers and watch lines as they come. */
import assert from "node:assert/strict";
import { type ApiServer, type ApiServerOptions, type JsonObject, startApiServer } from "../../../lab/api/index.ts";

/** An answer, decoded. */
export interface Reply {
  code: number;
  headers: Headers;
  // Tests look deep into answers; what they find they compare.
  body: JsonObject & {
    metadata: Item["metadata"] & { continue?: string };
    items: Item[];
    message: string;
    reason: string;
  };
  text: string;
}

/** An object of a list or event, as far as tests look at it by name. */
export type Item = JsonObject & {
  metadata: JsonObject & {
    name: string;
    resourceVersion: string;
    uid: string;
    creationTimestamp: string;
    deletionTimestamp: string;
    annotations: Record<string, string>;
    labels: Record<string, string>;
  };
};

/** One line of a watch. */
export interface WatchEvent {
  type: string;
  object: Item & { code?: number; reason?: string; message?: string };
}

/** Options of one request. */
export interface Ask {
  body?: unknown;
  token?: string | undefined;
  accept?: string;
  contentType?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

export const MERGE = "application/merge-patch+json";
export const JSON_PATCH = "application/json-patch+json";
export const STRATEGIC = "application/strategic-merge-patch+json";
export const APPLY = "application/apply-patch+yaml";
export const META = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
export const META_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

/** A server for one test file's tests, and ways to talk to it. */
export class TestApi {
  readonly server: ApiServer;

  constructor(server: ApiServer) {
    this.server = server;
  }

  /** Plain HTTP: what TLS adds is tested where it is the subject. */
  static async start(options: Partial<ApiServerOptions> = {}): Promise<TestApi> {
    return new TestApi(await startApiServer({ host: "127.0.0.1", tls: false, ...options }));
  }

  async raw(method: string, path: string, ask: Ask = {}): Promise<Response> {
    const token = "token" in ask ? ask.token : this.server.adminToken;
    const headers: Record<string, string> = { ...ask.headers };
    if (token !== undefined) headers.authorization = `Bearer ${token}`;
    if (ask.accept !== undefined) headers.accept = ask.accept;
    const init: RequestInit = { method, headers };
    if (ask.signal !== undefined) init.signal = ask.signal;
    if (ask.body !== undefined) {
      headers["content-type"] = ask.contentType ?? "application/json";
      init.body = typeof ask.body === "string" ? ask.body : JSON.stringify(ask.body);
    }
    return fetch(`${this.server.url}${path}`, init);
  }

  async ask(method: string, path: string, ask: Ask = {}): Promise<Reply> {
    const response = await this.raw(method, path, ask);
    const text = await response.text();
    const json = response.headers.get("content-type")?.startsWith("application/json") === true;
    return {
      code: response.status,
      headers: response.headers,
      text,
      body: (json ? JSON.parse(text) : {}) as Reply["body"],
    };
  }

  get(path: string, ask: Ask = {}): Promise<Reply> {
    return this.ask("GET", path, ask);
  }

  /** Expects success and gives the object. */
  async ok(method: string, path: string, ask: Ask = {}): Promise<Item> {
    const reply = await this.ask(method, path, ask);
    assert.ok(reply.code < 300, `${method} ${path}: ${reply.code} ${reply.text}`);
    return reply.body;
  }

  /** Creates a Node. */
  node(
    name: string,
    more: { annotations?: Record<string, string>; labels?: Record<string, string>; spec?: JsonObject } = {},
  ): Promise<Item> {
    const { spec, ...metadata } = more;
    return this.ok("POST", "/api/v1/nodes", { body: { metadata: { name, ...metadata }, ...(spec && { spec }) } });
  }

  /** Merge-patches annotations of a Node. */
  annotate(name: string, annotations: Record<string, string | null>): Promise<Item> {
    return this.ok("PATCH", `/api/v1/nodes/${name}`, { body: { metadata: { annotations } }, contentType: MERGE });
  }

  /** Opens a watch. */
  async watch(path: string, ask: Ask = {}): Promise<WatchReader> {
    const abort = new AbortController();
    const response = await this.raw("GET", `${path}${path.includes("?") ? "&" : "?"}watch=1`, {
      ...ask,
      signal: abort.signal,
    });
    assert.equal(response.status, 200);
    assert.ok(response.body);
    return new WatchReader(response.body, abort);
  }
}

/** Reads a watch line by line. */
export class WatchReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #abort: AbortController;
  readonly #decoder = new TextDecoder();
  #text = "";

  constructor(body: ReadableStream<Uint8Array>, abort: AbortController) {
    this.#reader = body.getReader();
    this.#abort = abort;
  }

  /** The next line; undefined at the end of the stream. Rejects when the connection breaks. */
  async line(): Promise<string | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      const { done, value } = await this.#reader.read();
      if (done) return this.#text === "" ? undefined : this.#rest();
      this.#text += this.#decoder.decode(value, { stream: true });
    }
  }

  #rest(): string {
    const rest = this.#text;
    this.#text = "";
    return rest;
  }

  /** The next event. */
  async next(): Promise<WatchEvent> {
    const line = await this.line();
    assert.ok(line !== undefined, "the watch ended");
    return JSON.parse(line) as WatchEvent;
  }

  /** The next events as `TYPE name`, or `BOOKMARK rv`. */
  async brief(count: number): Promise<string[]> {
    const events: string[] = [];
    for (let index = 0; index < count; index += 1) {
      const { type, object } = await this.next();
      events.push(
        type === "BOOKMARK" ? `${type} ${object.metadata.resourceVersion}` : `${type} ${object.metadata.name}`,
      );
    }
    return events;
  }

  close(): void {
    this.#abort.abort();
  }
}
