/**
 * An API server that does exactly what a test tells it, one answer a request, over real sockets. Requests that the
 * script does not expect fail the test by their 599.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A request as the script sees it. */
export interface Seen {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: http.IncomingHttpHeaders;
  body: string;
}

/** Answers one request. */
export type Step = (response: http.ServerResponse, request: Seen) => void;

export interface NodeOptions {
  uid?: string;
  version?: string;
  created?: string;
  annotations?: Record<string, string>;
  rest?: Record<string, unknown>;
}

/** A Node as the API server would send it. */
export const node = (name: string, options: NodeOptions = {}): Record<string, unknown> => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: {
    name,
    uid: options.uid ?? `uid-${name}`,
    resourceVersion: options.version ?? "1",
    creationTimestamp: options.created ?? "2026-01-01T00:00:00Z",
    annotations: { "node.alpha.kubernetes.io/ttl": "0", ...options.annotations },
  },
  ...options.rest,
});

export const event = (type: string, object: unknown): string => `${JSON.stringify({ type, object })}\n`;
export const bookmark = (version: string, end = false): string =>
  event("BOOKMARK", {
    kind: "Node",
    metadata: { resourceVersion: version, ...(end ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}) },
  });
export const status = (code: number, reason: string, name?: string): Record<string, unknown> => ({
  kind: "Status",
  apiVersion: "v1",
  status: "Failure",
  code,
  reason,
  message: `${reason} as the test wants it`,
  ...(name === undefined ? {} : { details: { name, kind: "nodes" } }),
});

/** Sends JSON and ends. */
export const answer =
  (body: unknown, code = 200, headers: Record<string, string> = {}): Step =>
  (response) => {
    response.writeHead(code, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };

/** A page of a list. */
export const page = (items: unknown[], version: string, next?: string): Step =>
  answer({ kind: "NodeList", metadata: { resourceVersion: version, ...(next ? { continue: next } : {}) }, items });

/** A watch that sends these lines and stays open. */
export const watch =
  (...lines: string[]): Step =>
  (response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    for (const line of lines) response.write(line);
  };

/** The initial events of a streaming list with their end. */
export const watchList = (nodes: unknown[], version: string): Step =>
  watch(...nodes.map((one) => event("ADDED", one)), bookmark(version, true));

/** The server; `script` says what comes next, `seen` what came. */
export class ScriptedApi {
  readonly seen: Seen[] = [];
  /** Answers in order; requests for one object are answered by `objects` instead, when it has something. */
  readonly script: Step[] = [];
  objects: ((name: string, request: Seen) => Step) | undefined;
  /** Responses that may still be open, latest last. */
  readonly responses: http.ServerResponse[] = [];
  /** TCP connections accepted so far. */
  connections = 0;
  private readonly server: http.Server | https.Server;
  private readonly sockets = new Set<Socket>();
  private readonly folder = mkdtempSync(join(tmpdir(), "skylane-kube-"));
  private readonly waiting: { count: number; resolve: () => void }[] = [];

  constructor(tls?: https.ServerOptions) {
    const listener: http.RequestListener = (request, response) => void this.handle(request, response);
    this.server = tls ? https.createServer(tls, listener) : http.createServer(listener);
    this.server.on("connection", (socket: Socket) => {
      this.connections++;
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
    });
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async listen(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(port, "127.0.0.1", resolve));
    return this;
  }

  /** Writes a kubeconfig for this server and returns its path. */
  kubeconfig(cluster: Record<string, unknown> = {}, user: Record<string, unknown> = {}): string {
    const file = join(this.folder, "kubeconfig");
    const server = `http://127.0.0.1:${this.port}`;
    writeFileSync(
      file,
      JSON.stringify({
        clusters: [{ name: "c", cluster: { server, "insecure-skip-tls-verify": true, ...cluster } }],
        users: [{ name: "u", user }],
        contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
        "current-context": "x",
      }),
    );
    return file;
  }

  /** Resolves once that many requests have come. */
  requests(count: number): Promise<void> {
    if (this.seen.length >= count) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ count, resolve }));
  }

  /** The latest open response. */
  get stream(): http.ServerResponse {
    const last = this.responses.findLast((one) => one.headersSent && !one.writableEnded);
    if (last === undefined) throw new Error("no stream is open");
    return last;
  }

  /** Cuts all connections off, as a crash does. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    rmSync(this.folder, { recursive: true, force: true });
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += String(chunk);
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://x");
    const seen: Seen = {
      method: request.method ?? "",
      path: pathname,
      query: searchParams,
      headers: request.headers,
      body,
    };
    const [, name] = /^\/api\/v1\/nodes\/([^/]+)$/.exec(pathname) ?? [];
    const step =
      name !== undefined && this.objects ? this.objects(decodeURIComponent(name), seen) : this.script.shift();
    this.seen.push(seen);
    this.responses.push(response);
    if (step) step(response, seen);
    else answer(status(599, "Unexpected"), 599)(response, seen);
    for (const one of this.waiting) if (this.seen.length >= one.count) one.resolve();
  }
}
