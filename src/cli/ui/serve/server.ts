/** The map over HTTP, on this machine's loopback address alone: the page, its program and style, and the stream of what it shows. */
import { randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { CommandError } from "../../command.ts";
import type { World } from "../model/world.ts";
import { type Asset, readAssets } from "./assets.ts";
import { admit } from "./guard.ts";
import { Streams } from "./streams.ts";
import type { Traces } from "./trace.ts";

const HOST = "127.0.0.1";
const MOST_CONNECTIONS = 64;

/** With every answer. The page gets all it needs from here, and nobody else may show it within a page of theirs. */
const HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
};

/** A map that is served. */
export interface MapServer {
  /** Address of the page, with its token. */
  readonly url: string;
  /** Cuts off who looks. */
  close(): Promise<void>;
}

/**
 * Serves a world. @param traces made on demand. @param port 0 for any that is free. @param assets the page's files by name; as the build has made them by default
 * @throws CommandError when it cannot listen, or there is no page
 */
export async function serveMap(
  world: World,
  traces: Pick<Traces, "answer">,
  port = 0,
  assets = readAssets(),
): Promise<MapServer> {
  const token = randomBytes(24).toString("base64url");
  const streams = new Streams(world);
  const server = createServer({ maxHeaderSize: 8 * 1024, requestTimeout: 10_000, headersTimeout: 5_000 });
  server.maxConnections = MOST_CONNECTIONS;
  server.on("request", (request, response) => void answer(request, response, { token, assets, streams, traces }));
  server.on("clientError", (_error, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause) => reject(new CommandError(`cannot listen on ${HOST} port ${port}`, { cause })));
    server.listen(port, HOST, resolve);
  }).catch((error: unknown) => {
    streams.close();
    throw error;
  });
  return {
    url: `http://${HOST}:${(server.address() as AddressInfo).port}/${token}/`,
    close: () => {
      streams.close();
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

interface Served {
  token: string;
  assets: ReadonlyMap<string, Asset>;
  streams: Streams;
  traces: Pick<Traces, "answer">;
}

/** Never rejects. */
async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { token, assets, streams, traces }: Served,
): Promise<void> {
  for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
  const admitted = admit(request, token);
  // A body is never read, so the connection cannot be used again after one.
  if (!("path" in admitted) && request.method !== "GET") response.setHeader("connection", "close");
  if (!("path" in admitted)) refuse(response, admitted.status, admitted.why);
  else if (admitted.path === "stream") {
    if (!streams.add(response)) refuse(response, 503, "too many look at this map already");
  } else if (admitted.path === "trace") {
    const body = JSON.stringify(await traces.answer(admitted.query));
    response.writeHead(200, { "content-type": "application/json; charset=utf-8" }).end(body);
  } else {
    const asset = assets.get(admitted.path);
    if (!asset) refuse(response, 404, "there is nothing by this name");
    else response.writeHead(200, { "content-type": asset.type, "content-length": asset.body.length }).end(asset.body);
  }
}

const refuse = (response: ServerResponse, status: number, why: string): unknown =>
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(`${why}\n`);
