/**
 * Which pods of the cluster have which addresses in a routed network. A node publishes it on its own NetworkBlocks, where the admission policy lets
 * no other agent write, and counts for addresses in these blocks alone; whose an address of an IPClaim is, the claim's block and status say.
 * What is said here of a pod counts for a pod of that node: who reads it holds it against the Pod object.
 */
import type { NetworkView } from "../../ipam/blocks/index.ts";
import type { ClaimPlaces } from "../../ipam/claims/index.ts";

/** Addresses by the pods that have them, namespace/name. */
export type PodAddresses = ReadonlyMap<string, readonly string[]>;

export interface NetworkAddressesOptions {
  network: string;
  /** The blocks of all nodes in the network. */
  view: Pick<NetworkView, "synced" | "podsOf" | "nodes" | "blockWith">;
  places: Pick<ClaimPlaces, "start" | "whenSynced" | "follow" | "in">;
  /** Nodes whose pods may have other addresses; all where undefined. */
  onChange: (nodes?: Iterable<string>) => void;
}

/** See the header. */
export class NetworkAddresses {
  readonly #options: NetworkAddressesOptions;
  /** By node; undefined when they are to be read again. */
  #claims: Map<string, Map<string, string[]>> | undefined;
  #unfollow: (() => void) | undefined;
  #claimsKnown = false;

  constructor(options: NetworkAddressesOptions) {
    this.#options = options;
  }

  /** Follows claims from now on: only where there are policies is it asked who has them. */
  start(): void {
    if (this.#unfollow) return;
    const { places, network, onChange } = this.#options;
    this.#unfollow = places.follow(network, () => {
      this.#claims = undefined;
      onChange();
    });
    places.start();
    void places.whenSynced().then(() => {
      if (this.#claimsKnown || !this.#unfollow) return;
      this.#claimsKnown = true;
      this.#claims = undefined;
      onChange();
    });
  }

  /** All blocks and claims have been heard of. */
  get known(): boolean {
    return this.#claimsKnown && this.#options.view.synced;
  }

  stop(): void {
    this.#unfollow?.();
    this.#unfollow = undefined;
  }

  /** Nodes have other blocks, or other pods in them; "" where claims' blocks have changed. */
  blocksChanged(nodes: ReadonlySet<string>): void {
    const { onChange } = this.#options;
    if (!this.#unfollow) return;
    this.#claims = undefined;
    onChange(nodes.has("") ? undefined : nodes);
  }

  /** Nodes that have pods in the network. */
  nodes(): Set<string> {
    return new Set([...this.#options.view.nodes(), ...this.#claimed().keys()]);
  }

  /** Addresses of a node's pods. */
  of(node: string): PodAddresses {
    const pods = this.#options.view.podsOf(node);
    for (const [pod, ips] of this.#claimed().get(node) ?? []) pods.set(pod, [...(pods.get(pod) ?? []), ...ips]);
    return pods;
  }

  #claimed(): Map<string, Map<string, string[]>> {
    if (this.#claims) return this.#claims;
    const { places, network, view } = this.#options;
    const claims = new Map<string, Map<string, string[]>>();
    for (const { node, pod, holder, ips } of places.in(network)) {
      if (pod === undefined) continue;
      // A status is any agent's to write; the entry in the block is the claim's own.
      const held = ips.filter((ip) => view.blockWith(ip)?.addresses[ip] === holder);
      const pods = claims.get(node) ?? new Map<string, string[]>();
      if (held.length > 0) claims.set(node, pods.set(pod, [...(pods.get(pod) ?? []), ...held]));
    }
    return (this.#claims = claims);
  }
}
