/**
 * The compiled rules as data: maps with elements, and chains that say what they are for. Nothing here knows nftables' language; `nft/` does.
 * What changes is written down as it happens, so that a change costs what it is and not what the rules are.
 */
import type { Family } from "../../addr/index.ts";
import type { Direction, Policy } from "../semantics/types.ts";

/** Where a pod's packet is judged: on its way to the pod, out of it, and out of it to the very node. */
export const PLACES = ["ingress", "egress", "node"] as const;
export type Place = (typeof PLACES)[number];

/** A rule of a policy, by a name of its own that is the same on every node and after a restart. */
export interface RuleRef {
  id: string;
  policy: Policy;
  direction: Direction;
  /** Index among the policy's rules of the direction. */
  index: number;
}

/** What comes of a packet. */
export interface Outcome {
  /** Name of the chain; "" where nothing decides and the packet passes. */
  readonly chain: string;
  readonly kind: "open" | "allow" | "deny" | "audit";
  /** Who decides; undefined for isolation by policies of which none allows it. */
  readonly rule: RuleRef | undefined;
  readonly direction: Direction;
  /** Of `audit`: what is done with the packet. */
  readonly does?: Outcome;
}

/** The rules of pods of one profile in one place. */
export interface ProfileChain {
  kind: "profile";
  place: Place;
  /** Whether verdicts depend on a peer's class and port, on the class, and on the port alone: each is one look-up. */
  byPort: boolean;
  byClass: boolean;
  byPortAlone: boolean;
  /** What comes of all other packets. */
  fallback: Outcome;
  /** False where all is in audit mode. */
  enforces: boolean;
  /** TCP that belongs to no connection, and begins none, is dropped. */
  guards: boolean;
}

export type Chain =
  | ProfileChain
  | { kind: "outcome"; outcome: Outcome }
  /** Where answers of DNS servers to pods pass that have rules with domain names: on their way through the node, or from the node itself. */
  | { kind: "answers"; hook: "forward" | "output" }
  /** Where they are held until the rules know the addresses that they tell. */
  | { kind: "held" };

/** The chain in which answers are held. */
export const HELD_CHAIN = "held_answers";

/** Chains that are there as long as pods here have rules with domain names. */
export const NAME_CHAINS: readonly [string, Chain][] = [
  [HELD_CHAIN, { kind: "held" }],
  ["answers_forward", { kind: "answers", hook: "forward" }],
  ["answers_output", { kind: "answers", hook: "output" }],
];

/** What a map is from and to. Keys and values are texts and numbers as below; `nft/` writes them as nftables has them. */
export type MapSpec =
  /** Address → class. */
  | { kind: "peers"; family: Family }
  /** "first-last" → class. */
  | { kind: "blocks"; family: Family }
  /** Address of a pod here → its profile's chain. */
  | { kind: "pods"; family: Family; place: Place }
  /** Address that domain names have → "class until", until then in milliseconds since the epoch; another one than without the names. */
  | { kind: "named"; family: Family }
  /** Address of a pod here that has rules with domain names → true. */
  | { kind: "asking"; family: Family }
  /** Address of a DNS server whose answers are believed → true. */
  | { kind: "servers"; family: Family }
  /** Address of a pod here, which reaches itself → true. */
  | { kind: "self"; family: Family }
  /** "class protocol first last" → outcome's chain. */
  | { kind: "ports" }
  /** "class" → outcome's chain. */
  | { kind: "classes" }
  /** "protocol first last" → outcome's chain. */
  | { kind: "all" };

export type Value = string | number | true;

/** Elements of a map by their keys. */
export interface Elements extends Iterable<[string, Value]> {
  readonly size: number;
  get: (key: string) => Value | undefined;
  set: (key: string, value: Value) => unknown;
  delete: (key: string) => unknown;
  keys: () => Iterable<string>;
  values: () => Iterable<Value>;
}

export interface ElementsOfMap {
  spec: MapSpec;
  elements: Elements;
}

/** What is different in one map. */
export interface MapChange {
  map: string;
  spec: MapSpec;
  come: [key: string, value: Value][];
  gone: [key: string, value: Value][];
}

/** What is different between two states of the rules. */
export interface RulesetChange {
  /** So much differs that it was not written down: the table is put in place whole. */
  whole: boolean;
  /** Nothing but elements of maps that are there differs. */
  elementsOnly: boolean;
  newMaps: [name: string, MapSpec][];
  newChains: [name: string, Chain][];
  maps: MapChange[];
  goneMaps: string[];
  goneChains: [name: string, Chain][];
}

export const FIXED_MAPS: readonly [string, MapSpec][] = ([4, 6] as const).flatMap((family): [string, MapSpec][] => [
  [`peers${family}`, { kind: "peers", family }],
  [`blocks${family}`, { kind: "blocks", family }],
  [`self${family}`, { kind: "self", family }],
  [`named${family}`, { kind: "named", family }],
  [`asking${family}`, { kind: "asking", family }],
  [`servers${family}`, { kind: "servers", family }],
  ...PLACES.map((place): [string, MapSpec] => [`${place}${family}`, { kind: "pods", family, place }]),
]);

/** Changes of elements that are worth being told of one by one; what is more is quicker written whole. */
const MOST_CHANGES = 50_000;

/** All maps and chains, and what has changed since it was last asked. */
export class Ruleset {
  readonly maps = new Map<string, ElementsOfMap>();
  readonly chains = new Map<string, Chain>();
  /** Of keys that changed, what they had before; undefined: nothing. */
  readonly #before = new Map<string, Map<string, Value | undefined>>();
  /** Elements written down, and whether they were too many. */
  #written = 0;
  overflown = false;
  readonly #newMaps = new Set<string>();
  readonly #newChains = new Set<string>();
  readonly #goneMaps: string[] = [];
  readonly #goneChains = new Map<string, Chain>();

  /** @param peers where classes of addresses are kept, by family */
  constructor(peers: Readonly<Record<Family, Elements>>) {
    for (const [name, spec] of FIXED_MAPS)
      this.maps.set(name, { spec, elements: spec.kind === "peers" ? peers[spec.family] : new Map<string, Value>() });
  }

  addMap(name: string, spec: MapSpec): void {
    this.maps.set(name, { spec, elements: new Map() });
    this.#newMaps.add(name);
  }

  removeMap(name: string): void {
    this.maps.delete(name);
    this.#before.delete(name);
    if (!this.#newMaps.delete(name)) this.#goneMaps.push(name);
  }

  /** A chain of a name that has just gone is the same one again: what is called otherwise is another one. */
  addChain(name: string, chain: Chain): void {
    this.chains.set(name, chain);
    if (!this.#goneChains.delete(name)) this.#newChains.add(name);
  }

  removeChain(name: string): void {
    const chain = this.chains.get(name) as Chain;
    this.chains.delete(name);
    if (!this.#newChains.delete(name)) this.#goneChains.set(name, chain);
  }

  /** Gives an element a value, or takes it out. */
  set(map: string, key: string, value: Value | undefined): void {
    const { elements } = this.maps.get(map) as ElementsOfMap;
    const had = elements.get(key);
    if (had === value) return;
    if (value === undefined) elements.delete(key);
    else elements.set(key, value);
    if (this.overflown) return;
    let before = this.#before.get(map);
    if (!before) this.#before.set(map, (before = new Map()));
    if (!before.has(key)) {
      before.set(key, had);
      if (++this.#written > MOST_CHANGES) this.#overflow();
    }
  }

  #overflow(): void {
    this.overflown = true;
    this.#before.clear();
  }

  get(map: string, key: string): Value | undefined {
    return this.maps.get(map)?.elements.get(key);
  }

  /** The elements of a map that changed since the last change was taken, with what they had before. */
  changed(map: string): Iterable<[key: string, before: Value | undefined]> {
    return this.#before.get(map) ?? [];
  }

  /** What has changed, which is asked once. */
  take(): RulesetChange {
    const maps: MapChange[] = [];
    for (const [map, before] of this.#before) {
      const { spec, elements } = this.maps.get(map) as ElementsOfMap;
      const change: MapChange = { map, spec, come: [], gone: [] };
      for (const [key, had] of before) {
        const has = elements.get(key);
        if (has === had) continue;
        if (had !== undefined) change.gone.push([key, had]);
        if (has !== undefined) change.come.push([key, has]);
      }
      if (change.come.length + change.gone.length > 0) maps.push(change);
    }
    const change: RulesetChange = {
      whole: this.overflown,
      elementsOnly: false,
      newMaps: [...this.#newMaps].map((name) => [name, (this.maps.get(name) as ElementsOfMap).spec]),
      newChains: [...this.#newChains].map((name) => [name, this.chains.get(name) as Chain]),
      maps,
      goneMaps: this.#goneMaps.splice(0),
      goneChains: [...this.#goneChains],
    };
    const { newMaps, newChains, goneMaps, goneChains } = change;
    change.elementsOnly =
      !change.whole && [newMaps, newChains, goneMaps, goneChains].every(({ length }) => length === 0);
    this.#before.clear();
    this.#written = 0;
    this.overflown = false;
    this.#newMaps.clear();
    this.#newChains.clear();
    this.#goneChains.clear();
    return change;
  }
}
