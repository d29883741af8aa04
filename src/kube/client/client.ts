/**
 * One connection to the API server. `@kubernetes/client-node` finds the cluster and proves who we are (kubeconfig,
 * service account, exec plugins, proxies); requests themselves go straight to its dispatcher, since its own Watch hides
 * Retry-After, Status bodies and broken lines, cannot be cancelled before the answer, and its CoreV1Api costs 7 MB for
 * models of which we need none (docs/adr/0003-kube-reflector.md).
 */
import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import { type Cluster, HttpMethod, KubeConfig, RequestContext } from "@kubernetes/client-node";
import { ApiError, retryAfterMs, statusOf } from "./api-error.ts";
import { describe, withinLimit } from "./time-limit.ts";
import { isWire, readStatus } from "../wire/metadata-wire.ts";

type Dispatcher = NonNullable<ReturnType<RequestContext["getDispatcher"]>>;

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** What to ask the API server. */
export interface ApiRequest {
  method?: Method;
  /** Absolute path, its parts already encoded. */
  path: string;
  query?: Readonly<Record<string, string | undefined>>;
  /** Sent as JSON. */
  body?: unknown;
  /** Of the body; `application/json` when absent. */
  contentType?: string;
  accept?: string;
  signal?: AbortSignal | undefined;
  /** Limit for the whole answer of `json` and `read`, for the answer's beginning of `stream`; in milliseconds. */
  timeoutMs?: number;
}

/** A successful answer as it comes in. */
export interface Answer {
  body: Readable;
  /** Whether it is protobuf (metadata-wire.ts), which only those get who have asked for it, and JSON otherwise. */
  wire: boolean;
}

/** What the other files of this folder ask of a client. */
export interface KubeClient {
  /** URL of the API server, for messages. */
  readonly server: string;
  /** The parsed answer. @throws ApiError */
  json(request: ApiRequest): Promise<unknown>;
  /** What `take` makes of the answer, to whose end it must read. @throws ApiError, also for what `take` throws */
  read<T>(request: ApiRequest, take: (answer: Answer) => Promise<T>): Promise<T>;
  /** An answer of which nobody knows how long it will take; destroy its body to give it up. @throws ApiError */
  stream(request: ApiRequest): Promise<Answer>;
  /** Gives up all connections; requests under way fail. */
  close(): Promise<void>;
}

/** How to reach the API server. */
export interface ConnectOptions {
  /** kubeconfig file; the Pod's service account when absent. */
  kubeconfig?: string | undefined;
  /** Name and version to send, such as "skylane-agent/1.2.3". */
  userAgent?: string;
}

/** A page of 500 full Nodes of 30 KB is 15 MB. */
const MAX_ANSWER_BYTES = 128 << 20;
const MAX_ERROR_BYTES = 64 << 10;

function loadConfig(kubeconfig: string | undefined): KubeConfig {
  const config = new KubeConfig();
  if (kubeconfig !== undefined) {
    try {
      config.loadFromFile(kubeconfig);
    } catch (error) {
      throw new Error(`cannot use kubeconfig ${kubeconfig}: ${(error as Error).message}`, { cause: error });
    }
    if (config.getCurrentCluster() === null) throw new Error(`kubeconfig ${kubeconfig} has no current cluster`);
  } else {
    if (!process.env["KUBERNETES_SERVICE_HOST"]) {
      throw new Error("no API server: give a kubeconfig, or run in a Pod (KUBERNETES_SERVICE_HOST is not set)");
    }
    config.loadFromCluster();
  }
  return config;
}

/** The client's own maker of dispatchers; it makes a new one, with new connections, for every request. */
type MakeDispatcher = (cluster: Cluster | null, options: Record<string, unknown>) => Dispatcher | undefined;
const makeDispatcher = Reflect.get(KubeConfig.prototype, "createDispatcher") as MakeDispatcher;

class Client implements KubeClient {
  private readonly options: ConnectOptions;
  private config: KubeConfig;
  private dispatcher?: { key: string; value: Dispatcher };
  /** Set when our credentials were refused: files may have been renewed since they were read. */
  private stale = false;
  private closed = false;

  constructor(options: ConnectOptions) {
    this.options = options;
    this.config = this.load();
  }

  get server(): string {
    return this.config.getCurrentCluster()?.server ?? "";
  }

  json(request: ApiRequest): Promise<unknown> {
    return this.read(request, ({ body }) => jsonOf(body));
  }

  read<T>(request: ApiRequest, take: (answer: Answer) => Promise<T>): Promise<T> {
    return withinLimit(request, "no complete answer", async (signal) => take(await this.send({ ...request, signal })));
  }

  stream(request: ApiRequest): Promise<Answer> {
    return withinLimit(request, "no answer", (signal) => this.send({ ...request, signal }));
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.dispatcher?.value.destroy();
  }

  private async send(request: ApiRequest): Promise<Answer> {
    if (this.closed) throw new Error("the client is closed");
    const context = await this.authenticated(request.method ?? "GET");
    const base = new URL(this.server);
    const query = new URLSearchParams(
      Object.entries(request.query ?? {}).filter((pair): pair is [string, string] => pair[1] !== undefined),
    );
    const dispatcher = context.getDispatcher();
    if (dispatcher === undefined) throw new Error("the client made no dispatcher");
    const response = await dispatcher.request({
      origin: base.origin,
      path: `${base.pathname.replace(/\/$/, "")}${request.path}${query.size > 0 ? `?${query.toString()}` : ""}`,
      method: request.method ?? "GET",
      headers: {
        ...context.getHeaders(),
        accept: request.accept ?? "application/json",
        // No accept-encoding: compressing thousands of whole objects keeps a server's processor longer than its network
        // (docs/adr/0003-kube-reflector.md).
        "user-agent": this.options.userAgent ?? "skylane",
        ...(request.body === undefined ? {} : { "content-type": request.contentType ?? "application/json" }),
      },
      body: request.body === undefined ? null : JSON.stringify(request.body),
      signal: request.signal ?? null,
      // Callers have their own limits, which know what the silence of a watch means.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
    const { body } = response;
    const type = response.headers["content-type"];
    const wire = typeof type === "string" && isWire(type);
    if (response.statusCode >= 200 && response.statusCode < 300) return { body, wire };
    if (response.statusCode === 401) this.stale = true;
    const text = await collect(body, MAX_ERROR_BYTES);
    const header = response.headers["retry-after"];
    // A refusal comes in the form in which the object was asked for.
    const status = wire ? readStatus(text) : parseOrUndefined(text.toString("utf8"));
    throw new ApiError(describe(request), response.statusCode, statusOf(status), {
      retryAfterMs: retryAfterMs(typeof header === "string" ? header : undefined, Date.now()),
    });
  }

  /** Credentials and the shared dispatcher for one request. */
  private async authenticated(method: Method): Promise<RequestContext> {
    if (this.stale) {
      this.config = this.load();
      this.stale = false;
    }
    const context = new RequestContext(this.server, HttpMethod[method]);
    await this.config.applySecurityAuthentication(context);
    return context;
  }

  private load(): KubeConfig {
    const config = loadConfig(this.options.kubeconfig);
    const shared: MakeDispatcher = (cluster, options) => this.sharedDispatcher(config, cluster, options);
    Object.defineProperty(config, "createDispatcher", { value: shared });
    return config;
  }

  /** One dispatcher, and so one pool of kept connections, for as long as certificates stay the same. */
  private sharedDispatcher(config: KubeConfig, cluster: Cluster | null, options: Record<string, unknown>): Dispatcher {
    const key = createHash("sha256")
      .update(JSON.stringify([cluster?.server, cluster?.proxyUrl, options]))
      .digest("hex");
    if (this.dispatcher?.key === key) return this.dispatcher.value;
    // Without any TLS option the maker gives none and means a global one; ours must be our own to close.
    const value = makeDispatcher.call(config, cluster, { rejectUnauthorized: true, ...options });
    if (value === undefined) throw new Error("the client made no dispatcher");
    // The old one ends when its last request has ended: a watch goes on until the server closes it.
    void this.dispatcher?.value.close().catch(() => undefined);
    this.dispatcher = { key, value };
    return value;
  }
}

async function collect(body: Readable, maxBytes: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of body as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > maxBytes) throw new Error(`answer longer than ${maxBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** An answer in JSON. @throws Error when it is none, or too long */
export const jsonOf = async (body: Readable): Promise<unknown> =>
  JSON.parse((await collect(body, MAX_ANSWER_BYTES)).toString("utf8"));

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a proxy's HTML page: the HTTP status is all there is
  }
}

/**
 * A client of the API server. Nothing is sent yet.
 * @throws Error when the kubeconfig cannot be used or there is no service account.
 */
export const connect = (options: ConnectOptions): KubeClient => new Client(options);
