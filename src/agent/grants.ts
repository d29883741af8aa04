/** What the API server says nodes have, for who judges pods and nodes by their addresses. */
import { hostPrefix, networkAddress } from "../addr/index.ts";
import { PrefixIndex, prefixOf } from "../peers/index.ts";
import type { Inputs, NodeChanges, NodeFacts } from "../nodes/index.ts";

/** See {@link NodeFacts}; whether its kubelet is heard does not matter here. */
type Granted = Pick<NonNullable<NodeFacts["granted"]>, "podCidrs" | "addresses">;

const same = (a: Granted | undefined, b: Granted | undefined): boolean =>
  a === b || (a?.podCidrs.join() === b?.podCidrs.join() && a?.addresses.join() === b?.addresses.join());

const prefixesOf = (granted: Granted | undefined): ReturnType<typeof prefixOf>[] =>
  granted ? [...granted.podCidrs, ...granted.addresses].map(prefixOf) : [];

/** See the header. */
export class Grants {
  readonly #granted = new Map<string, Granted>();
  #own: Inputs["own"] | undefined;
  /** Prefixes and addresses by node; from when somebody first asks on. */
  #index: PrefixIndex<string> | undefined;

  /** Takes in what has changed. @returns nodes of which something else is known now */
  update({ own, nodes }: Inputs, changes: NodeChanges): string[] {
    const come = this.#own ? changes : Array.from(nodes, (node) => [node.name, node] as const);
    const changed: string[] = [];
    for (const [name, node] of come) if (name !== own.name && this.#set(name, node?.granted)) changed.push(name);
    // Our own Node is watched by itself.
    const { podCidrs, internalIps, externalIps = [] } = own;
    if (own !== this.#own && this.#set(own.name, { podCidrs, addresses: [...internalIps, ...externalIps] }))
      changed.push(own.name);
    this.#own = own;
    return changed;
  }

  /** Prefixes of a node's pods; undefined while nobody knows. */
  podCidrs(node: string): readonly string[] | undefined {
    return this.#granted.get(node)?.podCidrs;
  }

  /** Addresses of a node itself, those of its overlay's device included; undefined while nobody knows. */
  ips(node: string): readonly string[] | undefined {
    const granted = this.#granted.get(node);
    return granted && [...granted.addresses, ...granted.podCidrs.map(networkAddress)];
  }

  /** The node that has an address, or whose pods have it; undefined where none that is known. */
  nodeOf(ip: string): string | undefined {
    if (!this.#index) {
      this.#index = new PrefixIndex();
      for (const [name, granted] of this.#granted)
        for (const prefix of prefixesOf(granted)) this.#index.add(prefix, name);
    }
    let found: string | undefined;
    this.#index.overlapping(prefixOf(ip), (name) => (found = name));
    return found;
  }

  /** All prefixes of pods and addresses of nodes that are known. */
  *all(): Generator<string> {
    for (const { podCidrs, addresses } of this.#granted.values()) {
      yield* podCidrs;
      yield* addresses.map(hostPrefix);
    }
  }

  /** @returns whether it is something else */
  #set(name: string, granted: Granted | undefined): boolean {
    const before = this.#granted.get(name);
    for (const prefix of prefixesOf(before)) this.#index?.remove(prefix, name);
    for (const prefix of prefixesOf(granted)) this.#index?.add(prefix, name);
    if (granted) this.#granted.set(name, granted);
    else this.#granted.delete(name);
    return !same(before, granted);
  }
}
