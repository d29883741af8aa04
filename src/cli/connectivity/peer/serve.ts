/**
 * One end of the test as a server: answers requests over HTTP and datagrams in both families, and remembers which datagrams it has heard, so that a lost
 * answer can be told from a lost question. It runs in a pod for minutes; whoever else reaches it learns its name and its MTU.
 */
import { createSocket, type Socket } from "node:dgram";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { FAMILIES, type Family } from "../../../addr/index.ts";
import { openDatagrams, SysError } from "../../../sys/index.ts";
import { headOf, keyIn } from "./questions.ts";

/** Keys that are remembered: more than are ever asked of one end. */
const MOST_HEARD = 4096;
/** The pod's interface, by the name that every container runtime gives it, and its MTU. */
const MTU_FILE = "/sys/class/net/eth0/mtu";
const LOOPBACK = ["127.0.0.1", "::1", "::ffff:127.0.0.1"];
/** Bytes of the headers of IP and UDP. */
export const HEADERS: Readonly<Record<Family, number>> = { 4: 28, 6: 48 };

/** This pod's MTU in bytes; undefined where it has no interface of that name. */
export function podMtu(file = MTU_FILE): number | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return undefined; // not in a pod
  }
  const mtu = Number(text.trim());
  return Number.isInteger(mtu) && mtu > 0 ? mtu : undefined;
}

/** A running peer. */
export interface Peer extends AsyncDisposable {
  /** What it listens at, TCP and UDP. */
  port: number;
}

/** What a peer is. */
export interface PeerOptions {
  name: string;
  token: string;
  /** 0: any that is free. */
  port: number;
  mtu: number | undefined;
}

/** Starts to serve. @throws when no family can be listened at */
export async function serve({ name, token, port, mtu }: PeerOptions): Promise<Peer> {
  const heard = new Set<string>();
  const http = createServer(
    { keepAliveTimeout: 1, requestTimeout: 5000, headersTimeout: 5000 },
    (request, response) => {
      const own = LOOPBACK.includes(request.socket.remoteAddress ?? "");
      const answer = request.url === "/heard" && own ? [...heard] : { peer: name, ...(mtu !== undefined && { mtu }) };
      response.writeHead(200, { "content-type": "application/json", connection: "close" }).end(JSON.stringify(answer));
    },
  );
  http.maxConnections = 256;
  await listen(http, port);
  const bound = (http.address() as AddressInfo).port;
  const sockets: Socket[] = [];
  for (const family of FAMILIES) {
    const socket = datagrams(family, bound);
    if (!socket) continue;
    sockets.push(socket);
    socket.on("message", (data, from) => {
      const key = keyIn(data, token);
      if (key === undefined) return;
      if (heard.size < MOST_HEARD) heard.add(key);
      const head = Buffer.from(headOf(token, key, data.length));
      // As long as what came, where that fits into one packet; whoever sent more has its length in the first line.
      const fits = mtu === undefined || data.length + HEADERS[family] <= mtu;
      const room = Buffer.alloc(fits ? Math.max(data.length, head.length) : head.length);
      head.copy(room);
      socket.send(room, from.port, from.address, () => {
        // Whoever asked notices that no answer comes.
      });
    });
  }
  return {
    port: bound,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.close();
      http.close();
      http.closeAllConnections();
      await once(http, "close");
    },
  };
}

/** At all addresses of both families; of IPv4 alone where the kernel has no IPv6. */
async function listen(server: Server, port: number): Promise<void> {
  for (const host of ["::", "0.0.0.0"]) {
    server.listen(port, host);
    try {
      await once(server, "listening");
      return;
    } catch (error) {
      if (host !== "::" || !isNoFamily(error)) throw error;
    }
  }
}

const isNoFamily = (error: unknown): boolean =>
  ["EAFNOSUPPORT", "EADDRNOTAVAIL"].includes((error as NodeJS.ErrnoException).code ?? "");

/** A socket of a family that never cuts what it sends in pieces; undefined where the kernel lacks the family. */
function datagrams(family: Family, port: number): Socket | undefined {
  let fd: number;
  try {
    fd = openDatagrams(family, port);
  } catch (error) {
    if (error instanceof SysError && isNoFamily(error)) return undefined;
    throw error;
  }
  const socket = createSocket(`udp${family}`);
  socket.on("error", () => {
    // An ICMP error about an answer: whoever asked notices.
  });
  return socket.bind({ fd });
}
