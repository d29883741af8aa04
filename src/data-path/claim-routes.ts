/**
 * The host ends of pods with a claim in a routed network. Where the claim's addresses are here, the routes to them lead to the
 * pod; with those the pod's packets are let in as well, since what it may send from is what leads back to it. Where another node has
 * them there are none, and the first frame that the pod sends from its MAC is listened for: by that it takes them over.
 */
import type { NetworkRecords } from "../config/index.ts";
import { FirstFrames } from "../endpoints/index.ts";
import type { Logger } from "../log/index.ts";
import { type Operation, type Rtnl } from "../netlink/index.ts";
import { hostRoute, hostSources, newNeighbour } from "../dataplane/pod-link/index.ts";
import { Task } from "../reconcile/index.ts";
import { type PodPort, portsOf } from "../workloads/index.ts";

const RETRY = { baseMs: 200, maxMs: 30_000 };
/** What the kernel answers about a route or a device that is gone, as with its pod. */
const GONE = new Set(["ESRCH", "ENOENT", "ENODEV", "ENXIO", "ENETDOWN"]);

export interface ClaimRoutesOptions {
  config: NetworkRecords;
  /** The network's namespace, and a conversation with it. */
  netns: number;
  rtnl: Rtnl;
  log: Logger;
  /** A pod sends from addresses that another node has; told again and again. */
  onSeen: (ifname: string) => void;
  /** Resolves when the routes to other nodes are in place: a route to a pod here goes after the one that replaces it has come. */
  replaced: () => Promise<void>;
}

/** Addresses of claims by the records of this node's pods, but for those with one of these MACs. @throws NetlinkError, IpamStorageError */
export function claimedAddresses(
  config: NetworkRecords,
  rtnl: Rtnl,
  without: ReadonlySet<string> = new Set(),
): Set<string> {
  const ports = [...portsOf(config, rtnl, "claimed").values()];
  return new Set(ports.filter(({ mac }) => !without.has(mac)).flatMap(({ ips }) => ips));
}

/** Keeps them from the first {@link set} to {@link stop}. What somebody changes of routes that are there is repaired elsewhere (host-ends/host-ends.ts). */
export class ClaimRoutes {
  readonly #options: ClaimRoutesOptions;
  readonly #first: FirstFrames;
  readonly #task: Task;
  #ports: ReadonlyMap<string, PodPort> = new Map();
  #held: ReadonlySet<string> = new Set();
  /** Host ends that have their routes, by name. */
  readonly #routed = new Set<string>();
  readonly #told = new Set<string>();

  constructor(options: ClaimRoutesOptions) {
    this.#options = options;
    this.#first = new FirstFrames(options.netns, options.onSeen);
    this.#task = new Task(
      () => this.#follow(),
      RETRY,
      (error, attempt) => {
        if (attempt === 1) options.log.error("routes to pods with claims cannot be changed; trying again", { error });
      },
    );
  }

  /** Takes which pods are here, and the MACs of those whose addresses are. */
  set(ports: ReadonlyMap<string, PodPort>, held: ReadonlySet<string>): void {
    this.#ports = ports;
    this.#held = held;
    for (const name of this.#routed) if (!ports.has(name)) this.#routed.delete(name);
    if (ports.size > 0 || this.#first.listens) this.#task.want();
  }

  /** Addresses of pods here that other nodes have, or may have. @throws NetlinkError, IpamStorageError */
  away(): ReadonlySet<string> {
    const { config, rtnl } = this.#options;
    return claimedAddresses(config, rtnl, this.#held);
  }

  async stop(): Promise<void> {
    await this.#task.stop();
    this.#first.close();
  }

  async #follow(): Promise<void> {
    const { rtnl, replaced } = this.#options;
    const indexes = new Map(rtnl.links().map(({ name, index }) => [name, index]));
    const here = [...this.#ports.values()].flatMap((port) => {
      const ifindex = indexes.get(port.ifname);
      return ifindex === undefined ? [] : [{ ...port, ifindex }];
    });
    const isHere = ({ mac }: PodPort): boolean => this.#held.has(mac);
    const come = here.filter((port) => isHere(port) && !this.#routed.has(port.ifname));
    this.#change("replace", come);
    for (const { ifname } of come) this.#routed.add(ifname);
    const away = here.filter((port) => !isHere(port));
    this.#listen(away);
    if (away.length === 0) return;
    await replaced();
    const gone = away.filter((port) => !isHere(port));
    this.#change("del", gone);
    for (const { ifname } of gone) this.#routed.delete(ifname);
  }

  #listen(ends: readonly (PodPort & { ifindex: number })[]): void {
    const unmonitored = this.#first.follow(ends.map(({ ifname, ifindex, mac }) => ({ ifname, ifindex, macs: [mac] })));
    for (const name of this.#told) if (!unmonitored.has(name)) this.#told.delete(name);
    for (const [ifname, reason] of unmonitored) {
      if (!this.#told.has(ifname))
        this.#options.log.warn("a workload that takes its addresses over would not be noticed", { ifname, reason });
      this.#told.add(ifname);
    }
  }

  /** @throws AggregateError of what the kernel refused */
  #change(op: "replace" | "del", ends: readonly (PodPort & { ifindex: number })[]): void {
    const { rtnl } = this.#options;
    const sources = op === "del" || ends.length === 0 ? {} : hostSources(rtnl.links(), rtnl.addresses());
    const operations = ends.flatMap(({ ips, ifindex }) =>
      ips.flatMap((ip): Operation[] => [
        { op, kind: "route", route: hostRoute(ip, ifindex, sources) },
        ...(op === "replace" ? [newNeighbour(ip, ifindex)] : []),
      ]),
    );
    if (operations.length === 0) return;
    const failures = rtnl.executeAll(operations).filter(({ error }) => !GONE.has(error.code));
    if (failures.length > 0) throw new AggregateError(failures.map(({ error }) => error));
  }
}
