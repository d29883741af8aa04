/**
 * The agent's answers over HTTP: a handful of GET routes on TCP addresses for the kubelet and Prometheus,
 * and on a Unix socket for the operator's command line. Nothing is ever read from a request but its path and its token,
 * headers are small, every phase has a limit and so does the number of connections, of each source and of all: a slow or
 * hostile client costs the agent nothing that the data path needs, and keeps nobody else out.
 */
import { socketAddress } from "../addr/index.ts";
import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { ListenAddress } from "../config/index.ts";
import { ConnectionLimits } from "./connection-limits.ts";
import { KeptSocket } from "./kept-socket.ts";
import { listening } from "./private-socket.ts";

/** What a route answers. */
export interface Answer {
  status: number;
  /** MIME type. */
  type: string;
  body: string;
}

/** Routes by exact path; those that change something by "PUT" and the path, which have what follows a "?" in the request. */
export type Routes = Readonly<Record<string, (query: URLSearchParams) => Answer | Promise<Answer>>>;

/** JSON as an answer. */
export const json = (status: number, value: unknown): Answer => ({
  status,
  type: "application/json; charset=utf-8",
  body: `${JSON.stringify(value)}\n`,
});

/** Plain text as an answer. */
export const text = (status: number, body: string): Answer => ({ status, type: "text/plain; charset=utf-8", body });

/** A server that is listening. */
export interface Listener {
  /** "127.0.0.1:9473", "[::]:9473" or the socket's path. */
  readonly address: string;
  /** Stops at once, cutting connections that are open. */
  close(): Promise<void>;
}

/** Whom a TCP address serves. */
export interface Access {
  /** Addresses that may connect; all by default. A Unix socket's peer has none. */
  admits?: (address: string) => boolean;
  /** What a request must carry as `Authorization: Bearer`; undefined for nothing. */
  token?: () => string | undefined;
}

/** Serves `routes` on a TCP address. @throws Error with `code` (EADDRINUSE, EADDRNOTAVAIL) when it cannot listen. */
export async function listenTcp(listen: ListenAddress, routes: Routes, access: Access = {}): Promise<Listener> {
  const { host = "::", port } = listen;
  const server = serve(routes, access);
  await listening(server, { host, port });
  const bound = server.address();
  const actual = bound && typeof bound === "object" ? bound.port : port;
  return { address: socketAddress({ ip: host, port: actual }), close: () => closed(server) };
}

/** Serves `routes` on a Unix socket that only its owner may use. @throws Error with `code` when it cannot listen. */
export const listenUnix = (path: string, routes: Routes): Promise<KeptSocket> =>
  KeptSocket.open(path, () => serve(routes));

function serve(routes: Routes, { admits = () => true, token = () => undefined }: Access = {}): Server {
  const server = createServer({ maxHeaderSize: 8 * 1024, requestTimeout: 10_000, headersTimeout: 5_000 });
  server.keepAliveTimeout = 5_000;
  server.timeout = 15_000;
  server.maxRequestsPerSocket = 1_000;
  const limits = new ConnectionLimits();
  limits.watch(server, admits);
  server.on("request", (request, response) => {
    response.once("close", limits.asked(request.socket));
    void respond(routes, token(), request, response);
  });
  server.on("clientError", (_error, socket) => socket.destroy());
  return server;
}

async function respond(
  routes: Routes,
  token: string | undefined,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const answer = mayAsk(request, token)
    ? await answerTo(routes, request)
    : text(401, "this takes the bearer token that the operator has set\n");
  const body = Buffer.from(answer.body);
  // A body is never read, so the connection cannot be used again after one.
  const hasBody =
    request.headers["transfer-encoding"] !== undefined || Number(request.headers["content-length"] ?? 0) > 0;
  response.writeHead(answer.status, {
    "content-type": answer.type,
    "content-length": body.length,
    "cache-control": "no-store",
    ...(answer.status === 401 ? { "www-authenticate": "Bearer" } : {}),
    ...(hasBody ? { connection: "close" } : {}),
  });
  response.end(request.method === "HEAD" ? undefined : body, () => {
    if (hasBody) request.destroy();
  });
}

/** Compared by digests, which takes as long whatever the two have in common. */
function mayAsk({ headers }: IncomingMessage, token: string | undefined): boolean {
  if (token === undefined) return true;
  const [, given] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "") ?? [];
  const digest = (of: string): Buffer => createHash("sha256").update(of).digest();
  return given !== undefined && timingSafeEqual(digest(given), digest(token));
}

async function answerTo(routes: Routes, request: IncomingMessage): Promise<Answer> {
  const [path = "/", query = ""] = (request.url ?? "/").split("?");
  const put = `PUT ${path}`;
  const puts = request.method === "PUT" && Object.hasOwn(routes, put);
  if (!puts && request.method !== "GET" && request.method !== "HEAD") return text(405, "only GET is served here\n");
  const route = puts ? put : path;
  if (!Object.hasOwn(routes, route) || (!puts && route.startsWith("PUT ")))
    return text(404, `there is ${Object.keys(routes).join(", ")}\n`);
  try {
    return await (routes[route] as Routes[string])(new URLSearchParams(query));
  } catch (error) {
    return text(500, `${error instanceof Error ? error.message : String(error)}\n`);
  }
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
