/**
 * Pods with a primary network that started before a range of Services was there: their routes to Services are those of their ADD, so
 * what they send to the new range leaves through their primary network and is lost. They have to be made again; here it is found out which.
 */
import { cidrCovers, familyOf } from "../addr/index.ts";
import { newAttachments } from "../cni/index.ts";
import type { AgentConfig } from "../config/index.ts";
import { errorText, type Logger } from "../log/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import { hostIfname, listPodLinks } from "../dataplane/pod-link/index.ts";
import { podOfAlias } from "./outside-pods.ts";

/** Pods that an Event names at most. */
const MAX_NAMED = 10;

/** What a pod reaches through the default network, as its ADD was told; absent: everything. */
export interface PodReach {
  /** NAMESPACE/NAME; that of its container where no pod is known. */
  pod: string;
  destinations?: readonly string[];
}

/** Ranges of Services that some pods do not reach, and the pods. */
export interface Unserved {
  pods: string[];
  cidrs: string[];
}

/** In an order that depends on nothing else. A family in which a pod has no way into the default network is none of its business. */
export function podsUnserved(reaches: Iterable<PodReach>, services: readonly string[]): Unserved {
  const pods = new Set<string>();
  const cidrs = new Set<string>();
  for (const { pod, destinations = [] } of reaches) {
    for (const cidr of services) {
      const own = destinations.filter((one) => familyOf(one) === familyOf(cidr));
      if (own.length === 0 || own.some((one) => cidrCovers(one, cidr))) continue;
      pods.add(pod);
      cidrs.add(cidr);
    }
  }
  return { pods: [...pods].sort(), cidrs: [...cidrs].sort() };
}

/** What an Event says of them: all ranges, and at most ten pods by name. */
export function unservedInWords({ pods, cidrs }: Unserved): string {
  const more = pods.length > MAX_NAMED ? ` and ${pods.length - MAX_NAMED} more` : "";
  return `pods of this node with a primary network do not reach Services in ${cidrs.join(", ")}: they started before the cluster had that range. Delete these pods, so that they are made again: ${pods.slice(0, MAX_NAMED).join(", ")}${more}`;
}

export interface UnservedPodsOptions {
  config: AgentConfig;
  log: Logger;
  rtnl: Rtnl;
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
}

/** Says which they are, when other ranges of Services are known. */
export class UnservedPods {
  readonly #options: UnservedPodsOptions;

  constructor(options: UnservedPodsOptions) {
    this.#options = options;
  }

  /** Never throws: what cannot be read is said. @param services all ranges of Services */
  look(services: readonly string[]): void {
    const { log, event } = this.#options;
    if (services.length === 0) return;
    try {
      const unserved = podsUnserved(this.#reaches(), services);
      if (unserved.pods.length === 0) return;
      const message = unservedInWords(unserved);
      log.warn(message);
      event("Warning", "SkylanePodsWithoutServices", message);
    } catch (error) {
      log.warn(`cannot see which pods do not reach all Services: ${errorText(error)}`);
    }
  }

  /** Of pods whose links are there. */
  *#reaches(): Generator<PodReach> {
    const { config, rtnl } = this.#options;
    const links = new Map(listPodLinks(rtnl).map((link) => [link.name, link]));
    for (const { owner, destinations } of newAttachments(config).list()) {
      const link = links.get(hostIfname(owner.containerId, owner.ifname));
      if (link !== undefined && destinations) yield { pod: podOfAlias(link.alias, link.name), destinations };
    }
  }
}
