/**
 * The smallest client of the Kubernetes API that the lab needs: JSON over HTTPS with a bearer token, either to the
 * server's address (from a node) or through the lab's Unix socket (from this machine, which has no way into the
 * lab's network).
 */
import { Agent, request } from "node:https";
import { connect as connectSocket } from "node:net";
import { connect as connectTls } from "node:tls";

/** How to reach the server. */
export interface ApiAccess {
  url: string;
  caPem: string;
  token: string;
  /** Unix socket that leads to the server's port. */
  socketPath?: string;
}

/** The server answered with an error. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A Kubernetes object, as far as the lab looks at it. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata: { name: string; annotations?: Record<string, string> } & Record<string, unknown>;
  [key: string]: unknown;
}

const TIMEOUT_MS = 10_000;

/** A connection to one server, kept open between requests; close it when done. */
export class ApiClient {
  readonly #access: ApiAccess;
  readonly #agent: Agent;

  constructor(access: ApiAccess) {
    this.#access = access;
    this.#agent = new Agent({ keepAlive: true, maxSockets: 4, ca: access.caPem });
    const { socketPath } = access;
    if (socketPath !== undefined) {
      const { hostname } = new URL(access.url);
      // node:https would take socketPath for plain HTTP's sake; TLS over it has to be made by hand.
      this.#agent.createConnection = () =>
        connectTls({
          socket: connectSocket(socketPath),
          ca: access.caPem,
          host: hostname.replace(/^\[|\]$/g, ""),
        });
    }
  }

  /**
   * One request; the answer's JSON, undefined for an empty one.
   * @throws ApiError when the server says so; Error when it cannot be reached or is silent for ten seconds
   */
  call<T = KubeObject>(method: string, path: string, body?: unknown, contentType = "application/json"): Promise<T> {
    const url = new URL(path, this.#access.url);
    const text = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const fail = (cause: Error): void =>
        reject(new Error(`${method} ${path}: the API server cannot be reached: ${cause.message}`, { cause }));
      const ask = request(
        url,
        {
          method,
          agent: this.#agent,
          headers: {
            authorization: `Bearer ${this.#access.token}`,
            accept: "application/json",
            ...(text === undefined ? {} : { "content-type": contentType, "content-length": Buffer.byteLength(text) }),
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("error", fail);
          response.on("end", () => {
            const answer = Buffer.concat(chunks).toString();
            const status = response.statusCode ?? 0;
            if (status >= 200 && status < 300) resolve((answer ? parse(answer) : undefined) as T);
            else reject(new ApiError(status, `${method} ${path}: ${status} ${message(answer)}`));
          });
        },
      );
      const timer = setTimeout(() => ask.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
      ask.on("close", () => clearTimeout(timer));
      ask.on("error", fail);
      ask.end(text);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // /healthz and the like answer in plain words
  }
}

function message(answer: string): string {
  const parsed = parse(answer) as { message?: unknown } | string;
  return typeof parsed === "object" && typeof parsed.message === "string" ? parsed.message : answer.slice(0, 300);
}
