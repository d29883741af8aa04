/** Which profile the pods of this node have, and the making of those that are new. */
import { type Family, familyOf } from "../../addr/index.ts";
import {
  type Direction,
  type NamedPort,
  type Namespace,
  type Peer,
  policyKeyOf,
  type Rule,
} from "../semantics/types.ts";
import { type Atom, type AtomSpec, questionOf } from "./atoms.ts";
import { stretchOf } from "./axis.ts";
import type { Interval } from "./blocks.ts";
import { type ResolvedRule, stretchesOfNames } from "./decide.ts";
import type { Identity } from "./cluster/identities.ts";
import { directionOf, OutcomeChains, outcomeOf, Profile } from "./profile.ts";
import { type Place, PLACES, type Ruleset } from "./ruleset.ts";
import type { PolicyRecord, Subjects } from "./subjects.ts";

/** Where an address is judged. */
const mapOf = (place: Place, ip: string): string => `${place}${familyOf(ip)}`;
const slot = (place: Place, ip: string): string => `${place} ${ip}`;

const textOf = ({ name, protocol, port }: NamedPort): string => `${name} ${protocol} ${port}`;

export interface ProfilesOptions {
  /** So many profiles are kept that no pod has at present, as long as their policies are what they are. */
  kept: number;
  ruleset: Ruleset;
  subjects: Subjects;
  namespaceOf: (name: string) => Namespace | undefined;
  acquire: (spec: AtomSpec) => Atom;
  release: (atom: Atom) => void;
  /** Whether most pods that are known have addresses in these. */
  podsInside: (family: Family, intervals: readonly Interval[]) => boolean;
}

/** A pod's place that has other rules than before; undefined: none. */
export interface ProfileSwap {
  ip: string;
  place: Place;
  before: Profile | undefined;
  after: Profile | undefined;
}

export class Profiles {
  readonly #o: ProfilesOptions;
  readonly #byKey = new Map<string, Profile>();
  readonly #of = new Map<string, Profile>();
  readonly #outcomes: OutcomeChains;
  readonly #created = new Set<Profile>();
  readonly #overloaded = new Set<Profile>();
  /** Those that no pod has, which the next pod of the kind finds in the kernel; who was left last is the last. */
  readonly #unused = new Set<Profile>();
  /** Those of them that came to it since {@link retire}; and up to which change of policies the others are known to be current. */
  readonly #left = new Set<Profile>();
  #currentAt = 0;
  #numbers = 0;

  constructor(options: ProfilesOptions) {
    this.#o = options;
    this.#outcomes = new OutcomeChains(options.ruleset);
  }

  all(): Iterable<Profile> {
    return this.#byKey.values();
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** Those whose rules are too much. */
  overloaded(): Iterable<Profile> {
    return this.#overloaded;
  }

  /** The profile of a pod's address here. */
  at(place: Place, ip: string): Profile | undefined {
    return this.#of.get(slot(place, ip));
  }

  /** Gives an address here the profiles of an identity, or none. Returns which are other ones. */
  assign(ip: string, identity: Identity | undefined): ProfileSwap[] {
    const selecting = identity ? this.#o.subjects.selecting(identity, this.#o.namespaceOf) : [];
    const swaps: ProfileSwap[] = [];
    for (const place of PLACES) {
      const before = this.at(place, ip);
      const after = identity && this.#wanted(place, familyOf(ip), identity, selecting);
      if (before === after) continue;
      swaps.push({ ip, place, before, after });
      before?.addresses.delete(ip);
      after?.addresses.add(ip);
      if (before?.addresses.size === 0) this.#leave(before);
      if (after) this.#unused.delete(after);
      if (after) this.#of.set(slot(place, ip), after);
      else this.#of.delete(slot(place, ip));
      this.#o.ruleset.set(mapOf(place, ip), ip, after?.name);
    }
    if (swaps.length > 0) {
      this.#o.ruleset.set(`self${familyOf(ip)}`, ip, PLACES.some((place) => this.at(place, ip)) || undefined);
      const asks = PLACES.some((place) => this.at(place, ip)?.atoms.some(({ kind }) => kind === "names"));
      this.#o.ruleset.set(`asking${familyOf(ip)}`, ip, asks || undefined);
    }
    return swaps;
  }

  /** Makes the profiles that a pod of an identity will have once it has addresses of a family. */
  prepare(identity: Identity, family: Family): void {
    if (this.#o.kept === 0) return;
    const selecting = this.#o.subjects.selecting(identity, this.#o.namespaceOf);
    for (const place of PLACES) {
      const profile = this.#wanted(place, family, identity, selecting);
      if (profile?.addresses.size === 0) this.#leave(profile);
    }
  }

  #leave(profile: Profile): void {
    this.#unused.delete(profile);
    this.#unused.add(profile);
    this.#left.add(profile);
  }

  /** Leads pods to a profile by the name that it has now. */
  rename(profile: Profile): void {
    for (const ip of profile.addresses) this.#o.ruleset.set(mapOf(profile.place, ip), ip, profile.name);
  }

  /** Profiles that are new since the last call. */
  takeCreated(): Profile[] {
    const created = [...this.#created];
    this.#created.clear();
    return created;
  }

  /**
   * Lets go of what profiles ask that no pod has and that are not kept for the next one: those that were left last are, unless a policy of theirs is another one by now,
   * or they are large. Chains of the others stay until {@link Profile.remove}: what they said is still of interest.
   */
  retire(): Profile[] {
    const { changes } = this.#o.subjects;
    // Most changes are of pods elsewhere, and there may be thousands a second.
    const doubtful = changes === this.#currentAt ? this.#left : this.#unused;
    const gone = [...doubtful].filter((one) => this.#unused.has(one) && !(one.isSmall && this.#isCurrent(one)));
    this.#currentAt = changes;
    // How large one is that has just been made will be known next time.
    for (const one of this.#left) if (!this.#created.has(one)) this.#left.delete(one);
    for (const profile of gone) this.#unused.delete(profile);
    for (const profile of this.#unused) {
      if (this.#unused.size <= this.#o.kept) break;
      this.#unused.delete(profile);
      gone.push(profile);
    }
    return gone.filter((profile) => {
      this.#byKey.delete(profile.key);
      this.#overloaded.delete(profile);
      for (const atom of profile.atoms) this.#o.release(atom);
      // What has just been made is not among the rules yet.
      return !this.#created.delete(profile);
    });
  }

  /** Whether a profile's policies are in force as it knows them; one without its own only guards what those of the other direction end. */
  #isCurrent({ policies }: Profile): boolean {
    const { subjects } = this.#o;
    return subjects.size > 0 && policies.every((policy) => subjects.get(policyKeyOf(policy))?.policy === policy);
  }

  #wanted(place: Place, family: Family, identity: Identity, selecting: readonly PolicyRecord[]): Profile | undefined {
    const direction = directionOf(place);
    const records = selecting.filter(({ policy }) => policy[direction] !== undefined);
    // A connection that a policy for one direction has ended would begin again by a packet of the other one, which no policy is about.
    const other: Direction = direction === "ingress" ? "egress" : "ingress";
    const guarded = place !== "node" && selecting.some(({ policy }) => !policy.audit && policy[other] !== undefined);
    const concerned =
      place === "node" ? records.some(({ policy }) => policy.tier !== "NetworkPolicy") : records.length > 0 || guarded;
    if (!concerned) return undefined;
    const names = new Set(place === "ingress" ? records.flatMap(({ portNames }) => portNames.ingress) : []);
    const ports = identity.ports.filter(({ name }) => names.has(name));
    const ofFamily = records.some((record) => record.ofFamily[direction]);
    const key = [
      place,
      ofFamily ? family : "",
      records.map(({ version }) => version).join(),
      ports.map(textOf).sort().join(),
      guarded,
    ].join("|");
    let profile = this.#byKey.get(key);
    if (!profile) {
      profile = this.#make(key, place, family, records, ports, guarded);
      this.#byKey.set(key, profile);
      this.#created.add(profile);
    }
    return profile;
  }

  #make(
    key: string,
    place: Place,
    family: Family,
    records: readonly PolicyRecord[],
    ports: readonly NamedPort[],
    guarded: boolean,
  ): Profile {
    const direction = directionOf(place);
    const atoms: Atom[] = [];
    const ask = (spec: AtomSpec): Atom => {
      const atom = this.#o.acquire(spec);
      atoms.push(atom);
      return atom;
    };
    const deciding = records.filter(({ policy }) => place !== "node" || policy.tier !== "NetworkPolicy");
    const name = `${place}_${++this.#numbers}`;
    const selecting = records.map(({ policy }) => policy);
    const onOverloaded = (profile: Profile): void => void this.#overloaded.add(profile);
    const parts = { key, name, place, selecting, guarded, atoms, onOverloaded };
    if (rulesWithBlocks(deciding, direction) > MOST_RULES_WITH_BLOCKS)
      return new Profile({ ...parts, rules: [], overloaded: true }, this.#o.ruleset, this.#outcomes);
    const rules = deciding.flatMap(({ policy }) =>
      (policy[direction] ?? []).map(
        (rule, i): ResolvedRule => ({
          action: rule.action,
          policy,
          outcome: outcomeOf(policy, direction, i, rule.action === "Accept"),
          ...this.#peersOf(rule.peers, family, ask),
          ...portsOf(rule, place, ports, ask),
        }),
      ),
    );
    return new Profile({ ...parts, rules, overloaded: false }, this.#o.ruleset, this.#outcomes);
  }

  #peersOf(
    peers: readonly Peer[] | undefined,
    family: Family,
    ask: (spec: AtomSpec) => Atom,
  ): Pick<ResolvedRule, "everybody" | "inside" | "outside"> {
    if (peers === undefined) return { everybody: true, inside: [], outside: [] };
    const [inside, outside]: [Atom[], Atom[]] = [[], []];
    for (const peer of peers) {
      if (peer.kind === "pods") inside.push(ask({ kind: "pods", selection: peer.pods }));
      else if (peer.kind === "nodes") inside.push(ask({ kind: "nodes", nodes: peer.nodes }));
      else if (peer.kind === "names") inside.push(ask({ kind: "names", names: peer.names }));
    }
    const blocks = peers.flatMap((peer) =>
      peer.kind === "block" && familyOf(peer.block.cidr) === family ? peer.block : [],
    );
    if (blocks.length === 0) return { everybody: false, inside, outside };
    const question = questionOf(blocks, family, (intervals) => this.#o.podsInside(family, intervals));
    if (question.intervals.length === 0) return { everybody: !question.inside, inside, outside };
    (question.inside ? inside : outside).push(ask({ kind: "block", family, intervals: question.intervals }));
    return { everybody: false, inside, outside };
  }
}

/** Blocks of rules may all overlap: pieces of them, each with the rules that it is in, are as many as the square of this at worst. */
const MOST_RULES_WITH_BLOCKS = 1_000;

const rulesWithBlocks = (records: readonly PolicyRecord[], direction: Direction): number =>
  records
    .flatMap(({ policy }) => policy[direction] ?? [])
    .filter(({ peers }) => peers?.some(({ kind }) => kind === "block")).length;

/** Ports by name are the pod's own where traffic arrives at it, and the peer's where it leaves. */
function portsOf(
  { ports }: Rule,
  place: Place,
  own: readonly NamedPort[],
  ask: (spec: AtomSpec) => Atom,
): Pick<ResolvedRule, "stretches" | "names"> {
  if (ports === undefined) return { stretches: undefined, names: [] };
  const numbers = ports.flatMap((port) =>
    port.name === undefined ? [stretchOf(port.protocol, port.first, port.last)] : [],
  );
  const names = ports.flatMap(({ name, protocol }) => (name === undefined ? [] : [{ name, protocol }]));
  if (place === "ingress") return { stretches: [...numbers, ...stretchesOfNames(names, own)], names: [] };
  for (const { name } of names) ask({ kind: "port", name });
  return { stretches: numbers, names };
}
