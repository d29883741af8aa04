/**
 * The probes to the peers. Through the tunnel the agent's own self-test is used: a datagram that the peer's kernel
 * answers. Beside it ICMP echo, and where that is filtered a TCP connection to the kubelet's port, where a refusal is
 * an answer as well. Sizes are asked by ICMP echo that may not be fragmented.
 */
import { type Family, familyOf } from "../../../addr/index.ts";
import { type NetworkStatus } from "../../../observe/index.ts";
import { tunnelOverhead } from "../../../dataplane/vxlan/index.ts";
import { probe, probePaths } from "../../../network/index.ts";
import { type Link, NetlinkError, type Route, type Rtnl } from "../../../netlink/index.ts";
import { answersTcp } from "../../../probes/index.ts";
import { Echo, SysError } from "../../../sys/index.ts";
import { describeError } from "../../main.ts";
import type { PeerProbe, SizeProbe } from "../facts.ts";

/** Peers asked at once. */
const AT_ONCE = 256;
/** A lost packet is no verdict. */
const TRIES = 2;
/** Where the search for a size that passes begins: what IPv4 hosts must take (RFC 791), and what IPv6 links must carry (RFC 8200). */
const LEAST: Record<Family, number> = { 4: 576, 6: 1280 };

/** How to ask. */
export interface ProbeOptions {
  timeoutMs: number;
  /** This peer only. */
  only?: string | undefined;
}

/** Probes the peers of a network, in the order of the status. */
export async function probePeers(
  network: NetworkStatus,
  links: readonly Link[],
  rtnl: Pick<Rtnl, "routeTo">,
  options: ProbeOptions,
): Promise<PeerProbe[]> {
  const peers = network.peers.filter(({ node }) => options.only === undefined || node === options.only);
  await using echoes = new Echoes();
  const ask = async (peer: (typeof peers)[number]): Promise<PeerProbe | undefined> => {
    const [path] = probePaths(network.podCidrs, [peer]);
    if (!path) return undefined;
    const { timeoutMs } = options;
    const tunnel = await attempts(async () => {
      const { answered, error } = await probe(path, timeoutMs);
      return { done: answered, error };
    });
    const beside = await askBeside(echoes, peer.underlayIp, timeoutMs);
    const overhead = tunnelOverhead(network);
    const unknown = (wanted: number): SizeProbe => ({ wanted });
    const route = routeTo(rtnl, peer.underlayIp);
    return {
      node: peer.node,
      underlayIp: peer.underlayIp,
      vtep: path.to,
      tunnel: tunnel.done,
      ...(tunnel.error === undefined ? {} : { tunnelError: describeError(tunnel.error) }),
      beside,
      inside: tunnel.done ? await largest(echoes, path.to, network.mtu, timeoutMs) : unknown(network.mtu),
      outside:
        beside === "echo"
          ? await largest(echoes, peer.underlayIp, network.mtu + overhead, timeoutMs)
          : unknown(network.mtu + overhead),
      device: links.find(({ index }) => index === route?.ifindex)?.name,
      onLink: route !== undefined && route.gateway === undefined,
    };
  };
  const found: PeerProbe[] = [];
  for (let i = 0; i < peers.length; i += AT_ONCE) {
    const answers = await Promise.all(peers.slice(i, i + AT_ONCE).map(ask));
    found.push(...answers.filter((answer) => answer !== undefined));
  }
  return found;
}

async function attempts(
  once: () => Promise<{ done: boolean; error?: unknown }>,
): Promise<{ done: boolean; error?: unknown }> {
  let last: { done: boolean; error?: unknown } = { done: false };
  for (let i = 0; i < TRIES && !last.done; i++) last = await once();
  return last;
}

async function askBeside(echoes: Echoes, to: string, timeoutMs: number): Promise<PeerProbe["beside"]> {
  if (await echoes.answers(to, undefined, timeoutMs)) return "echo";
  return (await answersTcp(to, timeoutMs)) ? "tcp" : "no";
}

/** Whether a packet of a size passes, and if not, which does (to 8 bytes). */
async function largest(echoes: Echoes, to: string, wanted: number, timeoutMs: number): Promise<SizeProbe> {
  if (await echoes.answers(to, wanted, timeoutMs)) return { wanted, passes: true };
  if (!(await echoes.answers(to, undefined, timeoutMs))) return { wanted };
  let [low, high] = [LEAST[familyOf(to)], wanted];
  if (!(await echoes.answers(to, low, timeoutMs))) return { wanted, passes: false };
  while (high - low > 8) {
    const middle = Math.floor((low + high) / 2);
    if (await echoes.answers(to, middle, timeoutMs)) low = middle;
    else high = middle;
  }
  return { wanted, passes: false, largest: low };
}

function routeTo(rtnl: Pick<Rtnl, "routeTo">, ip: string): Route | undefined {
  try {
    return rtnl.routeTo(ip);
  } catch (error) {
    if (error instanceof NetlinkError) return undefined;
    throw error;
  }
}

/** One ICMP socket a family, opened when first needed. */
class Echoes {
  readonly #open = new Map<Family, Echo | undefined>();

  /** Whether a packet of a size is answered; false where there can be no ICMP socket (no CAP_NET_RAW). */
  async answers(to: string, size: number | undefined, timeoutMs: number): Promise<boolean> {
    const echo = this.#of(familyOf(to));
    if (!echo) return false;
    const { done } = await attempts(async () => {
      const answer = await echo.ask({ to, timeoutMs, ...(size === undefined ? {} : { size }) });
      return { done: answer.answered };
    });
    return done;
  }

  #of(family: Family): Echo | undefined {
    if (!this.#open.has(family)) {
      try {
        this.#open.set(family, Echo.open(family));
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        this.#open.set(family, undefined);
      }
    }
    return this.#open.get(family);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const echo of this.#open.values()) await echo?.close();
  }
}
