/**
 * A client of an API server behind a connection that somebody else makes: the Unix socket of a `kubectl proxy`, which proves who we are, or one that a
 * lab has of its server. Plain HTTP by Node's own client; of whoever listens nothing is asked but to read.
 */
import { Agent, type IncomingMessage, request } from "node:http";
import type { Duplex } from "node:stream";
import { ApiError, retryAfterMs, statusOf } from "./api-error.ts";
import { type Answer, type ApiRequest, jsonOf, type KubeClient } from "./client.ts";
import { withinLimit } from "./time-limit.ts";

/** How to reach the server. */
export interface SocketOptions {
  /** Its name, for messages. */
  server: string;
  /** Makes a connection. */
  open: () => Duplex;
  /** Sent with each request. */
  headers?: Readonly<Record<string, string>>;
}

/** Watches hold a connection each. */
const MOST_CONNECTIONS = 32;
const MAX_ERROR_BYTES = 64 << 10;

class SocketClient implements KubeClient {
  readonly server: string;
  readonly #options: SocketOptions;
  readonly #agent: Agent;

  constructor(options: SocketOptions) {
    this.server = options.server;
    this.#options = options;
    this.#agent = new Agent({ keepAlive: true, maxSockets: MOST_CONNECTIONS });
    this.#agent.createConnection = () => options.open();
  }

  json(asked: ApiRequest): Promise<unknown> {
    return this.read(asked, ({ body }) => jsonOf(body));
  }

  read<T>(asked: ApiRequest, take: (answer: Answer) => Promise<T>): Promise<T> {
    return withinLimit(asked, "no complete answer", async (signal) => take(await this.#send(asked, signal)));
  }

  stream(asked: ApiRequest): Promise<Answer> {
    return withinLimit(asked, "no answer", (signal) => this.#send(asked, signal, asked.signal));
  }

  close(): Promise<void> {
    this.#agent.destroy();
    return Promise.resolve();
  }

  /** @param ends what ends the answer's body, where that is not what ends the request */
  async #send(asked: ApiRequest, signal: AbortSignal, ends: AbortSignal | undefined = signal): Promise<Answer> {
    const { path, query = {}, accept = "application/json" } = asked;
    if ((asked.method ?? "GET") !== "GET") throw new TypeError(`only read here, not ${asked.method} ${path}`);
    const given = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined);
    const search = new URLSearchParams(given).toString();
    const body = await new Promise<IncomingMessage>((resolve, reject) => {
      const ask = request({
        agent: this.#agent,
        path: search === "" ? path : `${path}?${search}`,
        headers: { host: "localhost", accept, ...this.#options.headers },
      });
      const stop = (): void => void ask.destroy(signal.reason as Error);
      signal.addEventListener("abort", stop, { once: true });
      ask.once("error", reject);
      ask.once("response", (response) => {
        signal.removeEventListener("abort", stop);
        // What becomes of the body is told to whoever reads it.
        ask.on("error", () => undefined);
        resolve(response);
      });
      if (signal.aborted) stop();
      else ask.end();
    });
    const end = (): void => void body.destroy(ends?.reason as Error);
    ends?.addEventListener("abort", end, { once: true });
    body.once("close", () => ends?.removeEventListener("abort", end));
    const status = body.statusCode ?? 0;
    if (status >= 200 && status < 300) return { body, wire: false };
    const header = body.headers["retry-after"];
    throw new ApiError(`GET ${path}`, status, statusOf(await refusal(body)), {
      retryAfterMs: retryAfterMs(header, Date.now()),
    });
  }
}

/** What the server says of its refusal; undefined where that is no JSON, as a proxy's own words. */
async function refusal(body: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const part of body as AsyncIterable<Buffer>) {
    text += part.toString();
    if (text.length > MAX_ERROR_BYTES) break;
  }
  try {
    return JSON.parse(text);
  } catch {
    return { message: text.slice(0, 300).trim() || undefined };
  }
}

/** A client by connections of one's own, which only reads. Nothing is sent yet. */
export const connectBy = (options: SocketOptions): KubeClient => new SocketClient(options);
