/**
 * What the self-test behind "ready means that the data path works" asks. Two halves:
 *
 * - Local: the kernel's own view. The VXLAN port is bound, and for some peers a route lookup to their VTEP
 *   address leads over our device with our VTEP address as its source. A failure here is ours and makes the
 *   node unready.
 * - Remote: a UDP datagram from our VTEP address to a peer's, to a port that nobody listens on. The peer's
 *   kernel answers "port unreachable" through its own tunnel, which we see as ECONNREFUSED: encapsulation, underlay,
 *   decapsulation, addresses and routes are right in both directions, with no process involved on the peer.
 *   One answering peer proves our half of the mesh. Silence proves nothing (peers may be down, or drop
 *   what they do not expect), so it is reported and does not make the node unready.
 */
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { type Family, familyOf, networkAddress } from "../addr/index.ts";
import type { Peer } from "../peers/index.ts";

/** A peer's VTEP address and ours of the same family. */
export interface ProbePath {
  node: string;
  from: string;
  to: string;
  /** The interface over which the peer is reached without the tunnel, as far as the kernel has that route already. */
  direct?: number;
}

/** Outcome of the remote half. */
export interface ProbeResult {
  /** The first peer that answered. */
  answered?: string;
  /** How many were asked. */
  asked: number;
}

/** The "discard" port less one: assigned to nobody (IANA, 10/udp is unassigned). */
const PROBE_PORT = 10;

/** The paths to every peer: one per peer, in the first family that both sides have. */
export function probePaths(
  own: readonly string[],
  peers: readonly Pick<Peer, "node" | "podCidrs" | "direct">[],
): ProbePath[] {
  const paths: ProbePath[] = [];
  for (const peer of peers) {
    for (const cidr of own) {
      const theirs = peer.podCidrs.find((other) => familyOf(other) === familyOf(cidr));
      if (!theirs) continue;
      const hop = peer.direct?.find(({ gateway }) => familyOf(gateway) === familyOf(cidr));
      const direct = hop ? { direct: hop.ifindex } : {};
      paths.push({ node: peer.node, from: networkAddress(cidr), to: networkAddress(theirs), ...direct });
      break;
    }
  }
  return paths;
}

/** The datagram is sent again after this long, in milliseconds: a peer may be about to learn of us. */
const RESEND_MS = 150;

/** Asks one peer and tells whether anything came back. Never throws; what fails locally is silence with a reason. */
export function probe(
  path: ProbePath,
  timeoutMs: number,
  port = PROBE_PORT,
): Promise<{ answered: boolean; error?: Error }> {
  return new Promise((resolve) => {
    const socket = createSocket(familyOf(path.to) === 4 ? "udp4" : "udp6");
    let again: NodeJS.Timeout | undefined;
    let done = false;
    const finish = (answered: boolean, error?: Error): void => {
      if (done) return; // a datagram's own callback may come after the verdict
      done = true;
      clearTimeout(timer);
      clearInterval(again);
      socket.removeAllListeners();
      socket.on("error", () => undefined); // one that comes after the verdict changes nothing
      socket.close();
      resolve(error ? { answered, error } : { answered });
    };
    const verdict = (error: NodeJS.ErrnoException | null): void => {
      if (error?.code === "ECONNREFUSED") finish(true);
      else if (error) finish(false, error);
    };
    const timer = setTimeout(() => finish(false), timeoutMs);
    socket.on("error", verdict);
    socket.on("message", () => finish(true));
    socket.bind({ address: path.from, port: 0 }, () => {
      // Its types do not say it: where the kernel has no way there, the callback is told so and no event is.
      socket.connect(port, path.to, (error?: NodeJS.ErrnoException) => {
        if (done) return;
        if (error) return verdict(error);
        const ask = (): void => socket.send(Buffer.from("skylane self-test"), verdict);
        again = setInterval(ask, RESEND_MS);
        ask();
      });
    });
  });
}

/** Asks the first `count` peers at once. */
export async function probeSome(paths: readonly ProbePath[], count = 3, timeoutMs = 1_000): Promise<ProbeResult> {
  const some = paths.slice(0, count);
  const results = await Promise.all(some.map(async (path) => ({ path, ...(await probe(path, timeoutMs)) })));
  const first = results.find(({ answered }) => answered)?.path;
  return { asked: some.length, ...(first ? { answered: first.node } : {}) };
}

/** Whether the kernel's VXLAN socket is bound: /proc/net/udp lists kernel sockets too, ports in hexadecimal. */
export function udpPortBound(port: number, family: Family, read = readProc): boolean {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return read(family === 4 ? "/proc/self/net/udp" : "/proc/self/net/udp6")
    .split("\n")
    .slice(1)
    .some((line) => line.trimStart().split(/\s+/)[1]?.endsWith(wanted));
}

const readProc = (path: string): string => readFileSync(path, "utf8");

/** What the kernel's route lookup must say about a peer's VTEP address; the complaint where it says something else. */
export function pathComplaint(
  path: ProbePath,
  device: { ifindex: number; name: string },
  routeTo: (ip: string) => { ifindex?: number; prefSrc?: string } | undefined,
): string | undefined {
  const route = routeTo(path.to);
  if (route?.ifindex === undefined) return `the kernel has no route to ${path.to}, the VTEP of ${path.node}`;
  if (route.ifindex !== device.ifindex && route.ifindex !== path.direct)
    return `the kernel sends packets for ${path.to}, the VTEP of ${path.node}, to another device than ${device.name}`;
  if (route.prefSrc && route.prefSrc !== path.from)
    return `the kernel would use ${route.prefSrc} instead of ${path.from} as its source to ${path.to}, the VTEP of ${path.node}`;
  return undefined;
}
