/** Whose an address is: pods and nodes of the cluster by their addresses. */
import type { Labels } from "../semantics/selector.ts";
import type { Atom } from "./atoms.ts";
import type { Identity } from "./identities.ts";

/** A pod that policies can select, as the compiler keeps it: what it is, is its identity's to say. */
export interface PodRecord {
  readonly kind: "pod";
  /** namespace/name */
  readonly key: string;
  readonly ips: readonly string[];
  /** It is on this node. */
  readonly local: boolean;
  readonly identity: Identity;
}

export interface NodeRecord {
  readonly kind: "node";
  readonly name: string;
  readonly labels: Labels;
  readonly ips: readonly string[];
  atoms: ReadonlySet<Atom>;
}

/** An address that domain names have. */
export interface NamedRecord {
  readonly kind: "named";
  readonly ips: readonly [string];
  /** Names, each with when it ceases to have the address, in milliseconds since the epoch; 0 where it has ceased to. */
  readonly names: Map<string, number>;
  /** What asks for a name that has the address. */
  atoms: ReadonlySet<Atom>;
}

export type Owner = PodRecord | NodeRecord;

/** Owners by address. One address may be claimed by several for a while: a pod that came, and the object of one that is gone. */
export class Addresses {
  readonly #owners = new Map<string, Owner | Owner[]>();

  keys(): Iterable<string> {
    return this.#owners.keys();
  }

  add(owner: Owner): void {
    for (const ip of owner.ips) {
      const there = this.#owners.get(ip);
      this.#owners.set(ip, there === undefined ? owner : [...(Array.isArray(there) ? there : [there]), owner]);
    }
  }

  remove(owner: Owner): void {
    for (const ip of owner.ips) {
      const there = this.#owners.get(ip);
      const left = Array.isArray(there) ? there.filter((one) => one !== owner) : there === owner ? [] : [there];
      if (left.length === 0) this.#owners.delete(ip);
      else this.#owners.set(ip, left.length === 1 ? (left[0] as Owner) : (left as Owner[]));
    }
  }

  /** The pod that has an address: of several the one on this node, which nobody elsewhere can be, or the one that came last. */
  podAt(ip: string): PodRecord | undefined {
    const there = this.#owners.get(ip);
    if (there === undefined) return undefined;
    if (!Array.isArray(there)) return there.kind === "pod" ? there : undefined;
    const pods = there.filter((one) => one.kind === "pod");
    return pods.findLast(({ local }) => local) ?? pods.at(-1);
  }

  nodesAt(ip: string): readonly NodeRecord[] {
    const there = this.#owners.get(ip);
    if (there === undefined) return NONE;
    return (Array.isArray(there) ? there : [there]).filter((one) => one.kind === "node");
  }
}

const NONE: readonly NodeRecord[] = [];
