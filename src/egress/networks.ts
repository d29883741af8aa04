/**
 * Gateways of pod networks, as one node has them. Pods of such a network are known to their own node alone: it has their packets leave the network's
 * namespace with a transit for their source (transits.ts), and other nodes hear of the transits. From there on a transit is led out as a pod of the
 * default network is.
 */
import { cidrContains, familyOf } from "../addr/index.ts";
import { NetworkEgress, type NetworkWay } from "../dataplane/egress/index.ts";
import type { Logger } from "../log/index.ts";
import type { EgressGatewayInfo, Labels } from "../crd/index.ts";
import { ComingPods } from "./coming-pods.ts";
import { type EgressPod, type Selected, type SelectedPod, selects } from "./selection.ts";
import { type Transit, type TransitWord, writeTransits } from "./transit-word.ts";
import type { Transits } from "./transits.ts";

/** A pod network in which this node has a part, as far as it matters here. */
export interface EgressNetwork {
  name: string;
  /** Its namespace, as attachments name it, and a descriptor of it. */
  path: string;
  netns: number;
  cidrs: readonly string[];
  log: Logger;
  /** Pods of this node in it, by their host ends. @throws NetlinkError */
  here: () => ReadonlyMap<string, { namespace: string; name: string; ips: readonly string[] }>;
  /** Its way to the host: which addresses of the node's are reached through it, and whether it is there. */
  uplink: { setTransits: (ips: readonly string[]) => void; readonly inOrder: boolean };
}

/** The gateways of a network on this node. */
export interface EgressOfNetwork {
  /** Its way to the host is otherwise. */
  changed: () => void;
  /** Stops, and leaves the kernel as it is. */
  stop: () => Promise<void>;
  /** This node has no part in the network any more. */
  leave: () => Promise<void>;
}

interface Joined {
  network: EgressNetwork;
  egress: NetworkEgress;
  coming: ComingPods;
}

export interface EgressNetworksOptions {
  nodeName: string;
  transits: Transits;
  word: Pick<TransitWord, "say" | "heard" | "stop">;
  /** Something that follows from this may be otherwise. */
  onChange: () => void;
  onRepair: () => void;
}

/** What other nodes say, and what is known of them. */
export interface Others {
  /** The transits that nodes say they have, by node. */
  said: ReadonlyMap<string, readonly Transit[]>;
  /** Prefixes that the API server gives a node's pods. */
  granted: (node: string) => readonly string[] | undefined;
  /** All pods of the cluster, and their namespaces' labels: a node has a part in a gateway with a pod that it selects. */
  pods: readonly EgressPod[];
  namespaces: ReadonlyMap<string, Labels>;
}

/** See the header. */
export class EgressNetworks {
  readonly #options: EgressNetworksOptions;
  readonly #joined = new Map<string, Joined>();
  /** Networks of which it is known that they are left when they are not joined. */
  readonly #met = new Set<string>();
  /** Pods that leave by gateways of networks, on all nodes, by egress address. */
  #counts: ReadonlyMap<string, number> = new Map();
  #faults: { entry: string; why: string }[] = [];

  constructor(options: EgressNetworksOptions) {
    this.#options = options;
  }

  /** This node takes part in a network. */
  join(network: EgressNetwork): EgressOfNetwork {
    const { onChange, onRepair } = this.#options;
    const { name, netns, log } = network;
    const egress = new NetworkEgress({ netns, log, onRepair });
    const joined: Joined = { network, egress, coming: new ComingPods() };
    this.#joined.set(name, joined);
    this.#met.add(name);
    onChange();
    const stop = async (): Promise<void> => {
      if (this.#joined.get(name) === joined) this.#joined.delete(name);
      await egress.stop();
    };
    return {
      changed: onChange,
      stop,
      leave: async () => {
        await stop();
        onChange();
      },
    };
  }

  /** The network in whose namespace an attachment is. */
  at(path: string): { name: string; coming: ComingPods } | undefined {
    for (const { network, coming } of this.#joined.values())
      if (network.path === path) return { name: network.name, coming };
    return undefined;
  }

  /**
   * Pods of this node in networks that gateways name.
   * @param known a pod as the API server has it @throws NetlinkError
   */
  *pods(gateways: readonly EgressGatewayInfo[], known: (key: string) => EgressPod | undefined): Generator<EgressPod> {
    const named = new Set(gateways.map(({ network }) => network));
    for (const { network, coming } of this.#joined.values()) {
      if (!named.has(network.name)) continue;
      const here = new Map<string, EgressPod>();
      for (const { namespace, name, ips } of network.here().values()) {
        const key = `${namespace}/${name}`;
        const pod = known(key);
        if (!pod) continue;
        // A pod may have several interfaces in the network. Its links are known by their link-local addresses, too.
        const own = ips.filter((ip) => network.cidrs.some((cidr) => cidrContains(cidr, ip)));
        here.set(key, { ...pod, network: network.name, ips: [...(here.get(key)?.ips ?? []), ...own] });
      }
      yield* coming.together(here.values());
    }
  }

  /**
   * The gateways with transits in place of the pods of networks, this node's and the others': as a node knows who leaves by it.
   * @param podCidrs of this node @throws IpamStorageError
   */
  wired(selected: readonly Selected[], podCidrs: readonly string[], others: Others): Selected[] {
    const { nodeName, transits, word } = this.#options;
    const kept = new Set<string>();
    const counts = new Map<string, number>();
    const own: Transit[] = [];
    const wired = selected.map((one): Selected => {
      const { network } = one.gateway;
      if (network === undefined) return one;
      const pods: SelectedPod[] = [];
      for (const address of one.usable) {
        const here = new Set(one.pods.filter((pod) => pod.address === address).map(({ key }) => key)).size;
        const may = this.#joined.has(network) || !this.#met.has(network);
        const via = here > 0 ? transits.take(address, podCidrs) : may ? transits.all.get(address) : undefined;
        if (via === undefined) continue;
        kept.add(address);
        own.push({ address, via, pods: here });
        pods.push({ key: `${network}@${nodeName}`, node: nodeName, ip: via, address });
        counts.set(address, here);
      }
      for (const { node, address, via, pods: count } of transitsOf(one, nodeName, others)) {
        pods.push({ key: `${network}@${node}`, node, ip: via, address });
        counts.set(address, (counts.get(address) ?? 0) + count);
      }
      return { ...one, pods };
    });
    // Without gateways nobody hears what Nodes say; what had transits has said so.
    if (selected.length > 0) word.heard(writeTransits(others.said.get(nodeName) ?? []));
    else if (transits.all.size > 0) word.heard("[]");
    for (const address of transits.all.keys()) if (!kept.has(address)) transits.free(address);
    this.#counts = counts;
    word.say(own);
    return wired;
  }

  /** Has each network's pods leave with their transits. @throws RangeError */
  set(selected: readonly Selected[], inside: readonly string[]): void {
    const { transits } = this.#options;
    const faults = Array.from(transits.faults, ([address, why]) => ({ entry: `transit of ${address}`, why }));
    for (const { network, egress } of this.#joined.values()) {
      const ways = selected
        .filter(({ gateway }) => gateway.network === network.name)
        .flatMap((one) => waysOf(one, transits.all));
      network.uplink.setTransits(ways.flatMap(({ transit }) => transit ?? []));
      egress.set({ ways, inside });
      if (ways.length > 0 && !network.uplink.inOrder)
        faults.push({ entry: `way of pod network ${network.name}`, why: "the network has none to the outside here" });
    }
    this.#faults = faults;
  }

  /** Resolves when a network's part is in the kernel, or could not be put there. @returns why not, undefined where it is */
  async put(name: string): Promise<string | undefined> {
    const joined = this.#joined.get(name);
    return joined ? await joined.egress.put() : `this node has no part in pod network ${name}`;
  }

  /** How many pods leave behind an egress address. */
  count(address: string): number {
    return this.#counts.get(address) ?? 0;
  }

  /** What is not in place, and why. */
  get faults(): { entry: string; why: string }[] {
    const tables = Array.from(this.#joined.values()).flatMap(({ network, egress: { fault } }) =>
      fault === undefined ? [] : [{ entry: `table of pod network ${network.name}`, why: fault }],
    );
    return [...this.#faults, ...tables];
  }

  async stop(): Promise<void> {
    await this.#options.word.stop();
  }
}

/** Transits of other nodes that count: of the addresses that are the gateway's, and of those that are the node's; and it has a pod that the gateway selects. */
function transitsOf(
  { gateway, usable }: Selected,
  own: string,
  { said, granted, pods, namespaces }: Others,
): (Transit & { node: string })[] {
  if (said.size === 0) return [];
  const having = new Set(
    pods.flatMap(({ node, labels, namespace }) =>
      node !== own && said.has(node) && selects(gateway, labels, namespaces.get(namespace) ?? {}) ? [node] : [],
    ),
  );
  return Array.from(having).flatMap((node) =>
    (said.get(node) ?? [])
      .filter(({ address, via }) => usable.includes(address) && granted(node)?.some((cidr) => cidrContains(cidr, via)))
      .map((one) => ({ ...one, node })),
  );
}

/** Pods of a network here by the address that they leave behind; those that have none are dropped. */
function waysOf({ gateway, pods }: Selected, transits: ReadonlyMap<string, string>): NetworkWay[] {
  const groups = Map.groupBy(pods, ({ ip, address }) => address ?? `no IPv${familyOf(ip)} address`);
  return Array.from(groups.values(), (those): NetworkWay => {
    const { ip, address } = those[0] as SelectedPod;
    const family = familyOf(ip);
    const transit = address === undefined ? undefined : transits.get(address);
    const to = gateway.destinations?.filter((cidr) => familyOf(cidr) === family);
    return {
      family,
      pods: those.map((pod) => pod.ip),
      ...(to && { to }),
      ...(transit !== undefined && { transit }),
    };
  });
}
