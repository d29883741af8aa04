/**
 * Runs the self-test (probes.ts) against the live kernel and remembers what came of it, for readiness.
 */
import { familyOf } from "../addr/index.ts";
import { NetlinkError, type Rtnl } from "../netlink/index.ts";
import type { LocalNetwork, Peer } from "../peers/index.ts";
import type { Metrics } from "../observe/index.ts";
import { pathComplaint, probePaths, probeSome, type ProbePath, udpPortBound } from "./probes.ts";

/** Peers that one run looks at; each run takes the next ones. */
const SAMPLE = 16;
/** An answer of a peer is worth this long, in milliseconds; until then nobody is asked again. */
const ANSWER_LASTS_MS = 60_000;

/** Peers of which some are looked at; there may be thousands, and a look is for a few. */
export interface TestedPeers {
  readonly size: number;
  has: (node: string) => boolean;
  /** So many from the one with a number on, and from the first again after the last; all where there are fewer. */
  sample: (start: number, count: number) => Peer[];
}

/** The self-test of one network. */
export class SelfTest {
  readonly #rtnl: Pick<Rtnl, "link" | "routeTo">;
  readonly #metrics: Metrics;
  #offset = 0;
  #verdict = { ok: false, message: "not run yet" };
  #answered: { node: string; at: number } | undefined;

  constructor(rtnl: Pick<Rtnl, "link" | "routeTo">, metrics: Metrics) {
    this.#rtnl = rtnl;
    this.#metrics = metrics;
  }

  /** What the last run found. */
  get verdict(): { ok: boolean; message: string } {
    return this.#verdict;
  }

  /** Runs the local half alone, which is what decides. Never throws: what goes wrong is the verdict. */
  check(local: LocalNetwork, peers: TestedPeers): { ok: boolean; message: string } {
    const paths = this.#paths(local, peers);
    const complaint = this.#complaint(local, paths);
    if (complaint !== undefined) {
      this.#answered = undefined;
      this.#metrics.selfTests.inc({ outcome: "failed" });
      this.#verdict = { ok: false, message: complaint };
    } else if (!this.#verdict.ok || paths.length === 0) {
      const peers = paths.length === 0 ? "there is no peer to ask" : "no peer has been asked yet";
      this.#verdict = { ok: true, message: `device, port and routes are right; ${peers}` };
    }
    return this.#verdict;
  }

  /** Runs both halves. Never throws. */
  async run(local: LocalNetwork, peers: TestedPeers): Promise<{ ok: boolean; message: string }> {
    if (!this.check(local, peers).ok || peers.size === 0) return this.#verdict;
    const message = await this.#remote(local, peers);
    if (this.#verdict.ok) this.#verdict = { ok: true, message };
    return this.#verdict;
  }

  #complaint(local: LocalNetwork, paths: readonly ProbePath[]): string | undefined {
    try {
      return this.#local(local, paths);
    } catch (error) {
      return `the kernel cannot be asked: ${(error as Error).message}`;
    }
  }

  #local({ device, port, underlayIp }: LocalNetwork, paths: readonly ProbePath[]): string | undefined {
    const link = this.#rtnl.link(device);
    if (!link?.up) return `device ${device} is ${link ? "down" : "missing"}`;
    if (!udpPortBound(port, familyOf(underlayIp))) return `nothing receives VXLAN on UDP port ${port}`;
    for (const path of paths) {
      const complaint = pathComplaint(path, { ifindex: link.index, name: device }, (ip) => this.#routeTo(ip));
      if (complaint !== undefined) return complaint;
    }
    return undefined;
  }

  #routeTo(ip: string): ReturnType<Rtnl["routeTo"]> | undefined {
    try {
      return this.#rtnl.routeTo(ip);
    } catch (error) {
      if (error instanceof NetlinkError) return undefined;
      throw error;
    }
  }

  /** Paths to the peers whose turn it is. */
  #paths({ podCidrs }: LocalNetwork, peers: TestedPeers): ProbePath[] {
    return peers.size === 0 ? [] : probePaths(podCidrs, peers.sample(this.#offset % peers.size, SAMPLE));
  }

  async #remote(local: LocalNetwork, peers: TestedPeers): Promise<string> {
    const last = this.#answered;
    if (last && Date.now() - last.at < ANSWER_LASTS_MS && peers.has(last.node))
      return `${last.node} answered through the tunnel`;
    const { asked, answered } = await probeSome(this.#paths(local, peers));
    this.#offset = (this.#offset + asked) % peers.size;
    this.#metrics.selfTests.inc({ outcome: answered === undefined ? "unanswered" : "answered" });
    this.#answered = answered === undefined ? undefined : { node: answered, at: Date.now() };
    return answered === undefined
      ? `device, port and routes are right; none of ${asked} peers asked through the tunnel has answered`
      : `${answered} answered through the tunnel`;
  }
}
