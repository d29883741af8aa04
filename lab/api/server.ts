/**
 * The server: takes a request through authentication, routing, faults and authorization to its verb, and its
 * failures to Status objects.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Auth, User } from "./http/auth.ts";
import { decodeJson, readBody } from "./http/body.ts";
import { discovery, HEALTH_PATHS, OPENAPI_V2, OPENAPI_V2_PROTOBUF } from "./http/discovery.ts";
import { ApiError, badRequest, faultError, internalError } from "./errors.ts";
import { type Faults, type FaultSettings, parseSettings } from "./faults.ts";
import { type Call, HANDLERS } from "./http/handlers.ts";
import { parseListOptions } from "./store/list.ts";
import { encodeBody, jsonBytes, negotiate } from "./http/negotiate.ts";
import type { Registry } from "./registry.ts";
import { type RequestInfo, route } from "./http/router.ts";
import type { Stats } from "./http/stats.ts";
import type { Store } from "./store/store.ts";
import type { Json } from "./types.ts";
import { WatchStream } from "./store/watch.ts";
import type { Watches } from "./store/watches.ts";

/** What the server is made of. */
export interface ServerParts {
  store: Store;
  registry: Registry;
  auth: Auth;
  faults: Faults;
  watches: Watches;
  stats: Stats;
  /** Requests that a fault keeps without an answer. */
  stalled: Set<ServerResponse>;
  bookmarkIntervalMs: number;
  freshnessTimeoutMs: number;
  /** host:port, as discovery names it. */
  address(): string;
}

/** Answers one request; never throws. */
export async function handle(parts: ServerParts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    await dispatch(parts, request, response);
  } catch (error) {
    if (response.destroyed || response.headersSent) {
      response.destroy();
      return;
    }
    const refusal =
      error instanceof ApiError ? error : internalError(error instanceof Error ? error.message : String(error));
    if (refusal.retryAfterSeconds !== undefined) response.setHeader("Retry-After", String(refusal.retryAfterSeconds));
    if (refusal.code === 401) response.setHeader("WWW-Authenticate", 'Bearer realm="skylane-lab"');
    // Also to those who would rather have metadata in protobuf: a Status is no object with metadata.
    send(response, refusal.code, jsonBytes(refusal.status()));
  } finally {
    // What was not read of a body would be taken for the next request of the connection.
    request.resume();
  }
}

async function dispatch(parts: ServerParts, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? "/", "http://server");
  if (HEALTH_PATHS.includes(url.pathname)) return send(response, 200, Buffer.from("ok"), "text/plain; charset=utf-8");
  if (url.pathname === "/version") return plain(parts, request, response, url);
  const user = parts.auth.authenticate(request.headers.authorization);
  if (url.pathname.startsWith("/lab/")) return admin(parts, request, response, url, user);
  const info = route(parts.store.types(), request.method ?? "", url);
  const asked: RequestInfo = info ?? { verb: (request.method ?? "").toLowerCase(), resource: "", path: url.pathname };
  parts.stats.count(asked, user.name, response);
  const verdict = parts.faults.judge(asked, user.name);
  if (verdict.delayMs > 0) await delay(verdict.delayMs);
  if (verdict.end?.kind === "status") throw faultError(verdict.end.code, verdict.end.retryAfterSeconds);
  if (verdict.end?.kind === "reset") return void request.socket.destroy();
  if (verdict.end?.kind === "stall") return stall(parts, response);
  parts.auth.authorize(user, asked);
  if (info?.type === undefined) return plain(parts, request, response, url);
  const { store, registry, freshnessTimeoutMs, faults } = parts;
  const { watchList } = faults;
  const { narrow } = verdict;
  const call: Call = {
    request,
    info: { ...info, type: info.type },
    query: url.searchParams,
    store,
    registry,
    watchList,
    freshnessTimeoutMs,
    narrow,
  };
  if (info.verb === "watch") return watch(parts, call, response);
  const answer = await HANDLERS[info.verb]?.(call);
  if (answer === undefined) throw internalError(`no handler for ${info.verb}`);
  const { body, encoding } = await encodeBody(answer.body, request.headers["accept-encoding"]);
  if (encoding !== undefined) response.setHeader("Content-Encoding", encoding);
  send(response, answer.code, body, answer.type);
}

function watch(parts: ServerParts, call: Call, response: ServerResponse): Promise<void> {
  const { type } = call.info;
  const projection = negotiate(call.request.headers.accept, "watch", type.kind);
  const options = { ...parseListOptions(type, call.query, call, call.info), watch: true };
  const { store, faults, bookmarkIntervalMs, freshnessTimeoutMs } = parts;
  const { narrow } = call;
  const stream = new WatchStream(
    { store, type, scope: call.info, options, projection, bookmarkIntervalMs, freshnessTimeoutMs, faults, narrow },
    response,
  );
  response.on("close", parts.watches.add(stream));
  return stream.start();
}

/** Keeps a request without an answer until the rules change. */
function stall(parts: ServerParts, response: ServerResponse): void {
  parts.stalled.add(response);
  response.on("close", () => parts.stalled.delete(response));
}

/** Paths beside the resources: discovery, version. */
function plain(parts: ServerParts, request: IncomingMessage, response: ServerResponse, url: URL): void {
  const path = url.pathname.length > 1 ? url.pathname.replace(/\/$/, "") : url.pathname;
  if (path === "/openapi/v2") {
    if ((request.headers.accept ?? "").includes("proto-openapi")) {
      const type = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
      return send(response, 200, OPENAPI_V2_PROTOBUF, type);
    }
    return send(response, 200, jsonBytes(OPENAPI_V2));
  }
  const found = discovery(path, parts.store.types(), parts.address());
  if (found === undefined) return send(response, 404, Buffer.from("404 page not found\n"), "text/plain; charset=utf-8");
  negotiate(request.headers.accept, "plain");
  send(response, 200, jsonBytes(found));
}

/** The lab's own paths, for administrators: faults and statistics. */
async function admin(
  parts: ServerParts,
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  user: User,
): Promise<void> {
  parts.auth.requireAdmin(user, url.pathname);
  const key = `${request.method} ${url.pathname}`;
  if (key === "POST /lab/faults") {
    await setFaults(parts.faults, decodeJson(await readBody(request)), response);
  } else if (key === "DELETE /lab/faults") await parts.faults.clear();
  else if (key === "GET /lab/stats") return send(response, 200, jsonBytes(parts.stats.report()));
  else if (key !== "GET /lab/faults")
    return send(response, 404, Buffer.from("404 page not found\n"), "text/plain; charset=utf-8");
  send(response, 200, Buffer.from(`${JSON.stringify(parts.faults.state())}\n`));
}

/** Going away waits for the answer, which could not be sent any more afterwards. */
async function setFaults(faults: Faults, given: Json, response: ServerResponse): Promise<void> {
  let settings: FaultSettings;
  try {
    settings = parseSettings(given);
  } catch (error) {
    throw error instanceof TypeError ? badRequest(error.message) : error;
  }
  const { away, ...others } = settings;
  await faults.set(others);
  if (away === undefined) return;
  response.once("finish", () => void faults.set({ away }).catch((error: Error) => process.emitWarning(error)));
}

function send(response: ServerResponse, code: number, body: Buffer, type = "application/json"): void {
  if (response.destroyed) return;
  response.writeHead(code, {
    "Content-Type": type,
    "Content-Length": body.length,
    "Cache-Control": "no-cache, private",
  });
  response.end(response.req.method === "HEAD" ? undefined : body);
}
