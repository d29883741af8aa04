/** A peer as it is measured: by which paths it is asked, what they have shown so far, and what others have told of it. */
import { type Family, familyOf } from "../addr/index.ts";
import { tunnelOverhead } from "../dataplane/vxlan/index.ts";
import type { LocalNetwork, PathMtu, Peer } from "../peers/index.ts";
import { sockaddrOf } from "../sys/index.ts";
import type { Fault, Observation, Seen } from "./judge.ts";
import { faultOf } from "./judge.ts";
import type { Finding } from "./message.ts";
import { hash } from "./schedule.ts";
import type { PeerFigures, ProbeCount } from "./status.ts";

/** From so many packets on half of what was counted is forgotten. */
const WINDOW = 400;
/** Lost packets of a study from which on a path loses some, and packets in a row that are all answered after which it does no longer. */
const LOST = 2;
const CLEAN = 200;
/** How much of a new time an average takes over. */
const WEIGHT = 1 / 8;

/** One path to a peer: in the tunnel by one family, or beside it. */
export class Path {
  readonly inside: boolean;
  readonly ip: string;
  readonly family: Family;
  /** Bytes of the largest packet that should pass. */
  readonly full: number;
  /** Packets have the tunnel's header: not beside it, nor where pods' packets go without. */
  readonly tunnelled: boolean;
  #sockaddr: Buffer | undefined;
  /** As it was found to be; undefined before it was measured. */
  seen: Seen | undefined;
  /** Round trip, in milliseconds; undefined before the first answer. */
  rttMs: number | undefined;
  /** The largest size that was found to pass where the full one does not, in bytes. */
  passes: number | undefined;
  #sent = 0;
  #lost = 0;
  /** Packets in a row that were answered, visits' and studies'. */
  #answered = 0;
  /** A packet was lost since the last study. */
  #lostSince = false;

  constructor(inside: boolean, ip: string, full: number, tunnelled = inside) {
    this.inside = inside;
    this.tunnelled = tunnelled;
    this.ip = ip;
    this.family = familyOf(ip);
    this.full = full;
  }

  /** The address as the kernel takes it: made once, when it is first asked. */
  get sockaddr(): Buffer {
    return (this.#sockaddr ??= sockaddrOf(this.ip));
  }

  /** What came of a packet. @param rttMs undefined for a lost one */
  record(rttMs: number | undefined): void {
    if (this.#sent >= WINDOW) [this.#sent, this.#lost] = [this.#sent / 2, this.#lost / 2];
    this.#sent++;
    this.#answered = rttMs === undefined ? 0 : this.#answered + 1;
    if (rttMs === undefined) {
      this.#lost++;
      this.#lostSince = true;
    } else this.rttMs = this.rttMs === undefined ? rttMs : this.rttMs + (rttMs - this.rttMs) * WEIGHT;
  }

  /** Takes over how the path is; what was lost for another reason than chance counts no longer. */
  become(seen: Seen): void {
    if (seen !== this.seen && (seen === "narrow" || this.seen === "silent" || this.seen === "narrow"))
      [this.#sent, this.#lost, this.#lostSince] = [0, 0, false];
    if (seen !== "narrow") this.passes = undefined;
    this.seen = seen;
  }

  /** Share of packets that were lost of late, 0 to 1; undefined before there were any. */
  get loss(): number | undefined {
    return this.#sent === 0 ? undefined : this.#lost / this.#sent;
  }

  /** Whether only a study can tell if it loses packets by more than chance: one was lost, or some were. */
  get questionable(): boolean {
    return (this.seen === "answers" && this.#lostSince) || (this.seen === "lossy" && !this.clean);
  }

  /** Whether so many packets were answered in a row that none are lost any more. */
  get clean(): boolean {
    return this.#answered >= CLEAN;
  }

  /** Takes over what became of a study. @param lost how many packets of it were */
  studied(lost: number): void {
    this.#lostSince = false;
    this.become(lost >= LOST || (this.seen === "lossy" && !this.clean) ? "lossy" : "answers");
  }
}

/** What another node has told. */
export interface Told {
  observation: Observation;
  at: number;
}

/** A question that was put to other nodes. */
export interface Question {
  nonce: bigint;
  at: number;
  /** Whom it was put to, and has not answered yet. */
  asked: Set<string>;
  /** All have answered. */
  settled: () => void;
}

/** One peer. */
export class Target {
  readonly node: string;
  readonly hash: number;
  readonly underlayIp: string;
  readonly paths: readonly Path[];
  /** What was found at the last look; undefined before the first. */
  finding: Finding | undefined;
  /** When somebody last heard it through the tunnel, on the monotonic clock, in milliseconds. */
  heardAt = Number.NEGATIVE_INFINITY;
  /** When it was looked at last, because something was wrong. */
  lookedAt = Number.NEGATIVE_INFINITY;
  /** A look at it that is under way. */
  look: Promise<void> | undefined;
  /** What was last asked about it, and what came of it. */
  question: Question | undefined;
  /** Others are being asked about it. */
  asking = false;
  readonly told = new Map<string, Told>();

  constructor(local: LocalNetwork, peer: Peer) {
    this.node = peer.node;
    this.hash = hash(peer.node);
    this.underlayIp = peer.underlayIp;
    const families = new Set(
      local.podCidrs.map(familyOf).filter((family) => family === 4 || local.narrow === undefined),
    );
    const direct = new Set(peer.direct?.map(({ gateway }) => familyOf(gateway)));
    const vteps = new Map<Family, string>();
    for (const cidr of peer.podCidrs) {
      const family = familyOf(cidr);
      // Canonical, so that what is before the length is the first address of it, which is the VTEP's.
      if (families.has(family) && !vteps.has(family)) vteps.set(family, cidr.slice(0, cidr.indexOf("/")));
    }
    this.paths = [
      ...Array.from(vteps, ([family, ip]) => new Path(true, ip, local.mtu, !direct.has(family))),
      new Path(false, peer.underlayIp, local.mtu + tunnelOverhead(local)),
    ];
  }

  /** Whether another peer would be measured in the same way. */
  same(other: Target): boolean {
    return (
      this.paths.length === other.paths.length &&
      this.paths.every((path, n) => {
        const { ip, full, tunnelled } = other.paths[n] as Path;
        return path.ip === ip && path.full === full && path.tunnelled === tunnelled;
      })
    );
  }

  get beside(): Path {
    return this.paths.at(-1) as Path;
  }

  /** Whether something comes back through the tunnel, as far as it was measured. */
  get reached(): boolean {
    return this.paths.some(({ inside, seen }) => inside && seen !== undefined && seen !== "silent");
  }

  get fault(): Fault | undefined {
    return this.finding && faultOf(this.finding);
  }

  /** A path on which it answers, the tunnel's first; undefined where there is none. */
  get open(): Path | undefined {
    return this.paths.find(({ seen }) => seen !== undefined && seen !== "silent");
  }

  /** All is well: what is so on all paths that answer beside the tunnel or in it. */
  wellNow(): void {
    for (const path of this.paths) if (path.seen === undefined) path.become("answers");
    this.finding = this.#sum();
  }

  /** Works the finding out from the paths. @param beside false where nothing can be said of beside the tunnel */
  conclude(beside: boolean): void {
    this.finding = this.#sum(beside);
  }

  #sum(beside = true): Finding {
    const inside: Finding["inside"] = {};
    for (const path of this.paths) if (path.inside && path.seen) inside[path.family] = path.seen;
    const { seen } = this.beside;
    return { inside, ...(beside && seen && { beside: seen }) };
  }
}

/** A path in the words of others. */
export const pathOf = ({ inside }: Path): ProbeCount["path"] => (inside ? "tunnel" : "underlay");

/** What was measured of a peer. */
export const figuresOf = ({ node, fault, paths }: Target, narrow: PathMtu = {}): PeerFigures => ({
  node,
  ...(fault && { fault }),
  paths: paths.map((path) => {
    const { ip, seen, rttMs, loss, full, passes } = path;
    const mtu = seen === "narrow" ? passes : seen === "answers" || seen === "lossy" ? full : undefined;
    return {
      path: pathOf(path),
      ip,
      ...(seen && { seen }),
      ...(rttMs !== undefined && { rttMs }),
      ...(loss !== undefined && { loss }),
      ...(mtu !== undefined && { mtu }),
      ...(path.inside && narrow[path.family] !== undefined && { routes: narrow[path.family] }),
    };
  }),
});
