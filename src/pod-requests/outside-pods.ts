/**
 * Pods of the default network whose addresses are in none of the node's pod CIDRs any more: a Node that was deleted and
 * registered again may get another CIDR, and pods that run keep what they have. The other nodes send such an address
 * to whoever has its CIDR now, so the pods have to be made again; here it is found out which.
 */
import { cidrContains, familyOf } from "../addr/index.ts";
import { ipamDir } from "../cni/index.ts";
import type { AgentConfig } from "../config/index.ts";
import { Ipam } from "../ipam/local/index.ts";
import { errorText, type Logger } from "../log/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import { hostIfname, listPodLinks, podAddresses } from "../dataplane/pod-link/index.ts";
import type { OutsidePod, PodAddress } from "../observe/index.ts";

/** Pods that an Event names at most. */
const MAX_NAMED = 10;

/** Those of the addresses that are in none of the pod CIDRs, in an order that depends on nothing else. */
export function podsOutside(pods: Iterable<PodAddress>, podCidrs: readonly string[]): OutsidePod[] {
  const outside: OutsidePod[] = [];
  for (const { pod, ip } of pods) {
    if (podCidrs.some((cidr) => cidrContains(cidr, ip))) continue;
    const family = familyOf(ip);
    const own = podCidrs.filter((cidr) => familyOf(cidr) === family);
    const why =
      own.length > 0
        ? `outside of the node's pod CIDR ${own.join(" and ")}`
        : `the node has no pod CIDR of IPv${family} any more`;
    outside.push({ pod, ip, why });
  }
  return outside.sort((a, b) => (`${a.pod} ${a.ip}` < `${b.pod} ${b.ip}` ? -1 : 1));
}

/** What an Event says of them: all reasons, and at most ten pods by name. */
export function outsideInWords(outside: readonly OutsidePod[]): string {
  const byPod = Map.groupBy(outside, ({ pod }) => pod);
  const shown = Array.from(byPod, ([pod, all]) => `${pod} (${all.map(({ ip }) => ip).join(", ")})`).slice(0, MAX_NAMED);
  const more = byPod.size > MAX_NAMED ? ` and ${byPod.size - MAX_NAMED} more` : "";
  const why = [...new Set(outside.map((one) => one.why))].join("; ");
  return `pods of this node have addresses that the other nodes no longer send here: ${why}. Delete these pods, so that they are made again: ${shown.join(", ")}${more}`;
}

/** What the host end of a pod says of it: NAMESPACE/NAME/INTERFACE, or CONTAINER/INTERFACE. */
export function podOfAlias(alias: string | undefined, name: string): string {
  const parts = (alias ?? "").split("/");
  if (parts.length === 1) return name;
  return parts.length === 2 ? `container ${parts[0]}` : parts.slice(0, 2).join("/");
}

export interface OutsidePodsOptions {
  config: AgentConfig;
  log: Logger;
  rtnl: Rtnl;
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
}

/** Keeps the list of them, and says when there are more of them. */
export class OutsidePods {
  readonly #options: OutsidePodsOptions;
  readonly #ipam: Ipam;
  #now: readonly OutsidePod[] = [];
  #complaint = "";

  constructor(options: OutsidePodsOptions) {
    this.#options = options;
    this.#ipam = new Ipam({ dir: ipamDir(options.config), warn: (message) => options.log.debug(message) });
  }

  /** As of the last look. */
  get now(): readonly OutsidePod[] {
    return this.#now;
  }

  /** Looks at all pods. @param podCidrs the node's own. Never throws: what cannot be read is said once. */
  look(podCidrs: readonly string[]): void {
    const { log, event } = this.#options;
    try {
      const before = new Set(this.#now.map(keyOf));
      this.#now = podsOutside(this.#addresses(), podCidrs);
      this.#complaint = "";
      if (!this.#now.every((one) => before.has(keyOf(one)))) {
        const message = outsideInWords(this.#now);
        log.warn(message);
        event("Warning", "SkylanePodsOutsideCidr", message);
      } else if (before.size > 0 && this.#now.length === 0)
        log.info("all pods of this node have addresses of its pod CIDRs again");
    } catch (error) {
      const text = errorText(error);
      if (text !== this.#complaint)
        log.warn("cannot see which pods have addresses outside of the pod CIDRs", { error });
      this.#complaint = text;
    }
  }

  /** Of pods whose links are there, by their reservations; where another IPAM plugin gave them, by their routes. */
  *#addresses(): Generator<PodAddress> {
    const { rtnl } = this.#options;
    const links = new Map(listPodLinks(rtnl).map((link) => [link.name, link]));
    const unknown = new Map(Array.from(links.values(), ({ index, name, alias }) => [index, podOfAlias(alias, name)]));
    for (const { ip, owner } of this.#ipam.list()) {
      const link = links.get(hostIfname(owner.containerId, owner.ifname));
      if (link === undefined) continue;
      unknown.delete(link.index);
      yield { pod: podOfAlias(link.alias, link.name), ip };
    }
    // The routes are those of all peers as well, so they are read only where they are needed.
    if (unknown.size === 0) return;
    for (const { ip, ifindex } of podAddresses(rtnl)) {
      const pod = unknown.get(ifindex);
      if (pod !== undefined) yield { pod, ip };
    }
  }
}

const keyOf = ({ pod, ip, why }: OutsidePod): string => `${pod} ${ip} ${why}`;
