/**
 * A profile: the rules that pods of this node have in one place (ingress, egress, to the node), which those share that the same policies
 * select. It has a chain, and maps from classes and ports to outcomes; what it says of a class never changes as long as it is there.
 */
import { sha256Hex } from "../../addr/index.ts";
import type { Direction, Policy } from "../semantics/types.ts";
import { policyKeyOf } from "../semantics/types.ts";
import type { Atom } from "./atoms.ts";
import { WHOLE_LINE } from "./axis.ts";
import { type AddressClass, NOBODY } from "./classes.ts";
import {
  concerns,
  type DecidedPorts,
  decidePorts,
  type ResolvedRule,
  type Entries,
  entriesOf,
  type Surroundings,
} from "./decide.ts";
import type { Outcome, Place, ProfileChain, RuleRef, Ruleset } from "./ruleset.ts";

export const directionOf = (place: Place): Direction => (place === "ingress" ? "ingress" : "egress");

/** Digits enough that no two rules of a cluster share a name. */
const ID_DIGITS = 12;

/** The outcome of a policy's rule. */
export function outcomeOf(policy: Policy, direction: Direction, index: number, accepts: boolean): Outcome {
  const id = sha256Hex(`${policyKeyOf(policy)} ${direction} ${index}`).slice(0, ID_DIGITS);
  const rule: RuleRef = { id, policy, direction, index };
  const kind = accepts ? "allow" : "deny";
  return { chain: `${kind}_${id}`, kind, rule, direction };
}

/** The outcome where policies isolate a pod and none allows a packet. */
export const isolatedIn = (direction: Direction): Outcome => ({
  chain: `isolated_${direction}`,
  kind: "deny",
  rule: undefined,
  direction,
});

const openIn = (direction: Direction): Outcome => ({ chain: "", kind: "open", rule: undefined, direction });

function auditOf(would: Outcome, does: Outcome): Outcome {
  const by = would.rule?.id ?? "isolated";
  const chain = `audit_${would.direction}_${by}_${does.rule?.id ?? "open"}`;
  return { chain, kind: "audit", rule: would.rule, direction: would.direction, does };
}

/** Chains of outcomes, kept as long as a profile may lead to them. */
export class OutcomeChains {
  readonly #ruleset: Ruleset;
  readonly #uses = new Map<string, number>();

  constructor(ruleset: Ruleset) {
    this.#ruleset = ruleset;
  }

  use(outcome: Outcome): void {
    const uses = this.#uses.get(outcome.chain) ?? 0;
    this.#uses.set(outcome.chain, uses + 1);
    // A policy that was written anew has the same chains, and people are told of what it is now.
    if (uses === 0) this.#ruleset.addChain(outcome.chain, { kind: "outcome", outcome });
    else this.#ruleset.chains.set(outcome.chain, { kind: "outcome", outcome });
  }

  leave(chain: string): void {
    const uses = (this.#uses.get(chain) as number) - 1;
    if (uses > 0) this.#uses.set(chain, uses);
    else {
      this.#uses.delete(chain);
      this.#ruleset.removeChain(chain);
    }
  }
}

export interface ProfileParts {
  key: string;
  /** Of its chain, and the beginning of its maps' names. */
  name: string;
  place: Place;
  /** In the order in which they are asked. */
  rules: readonly ResolvedRule[];
  /** Policies that select the pods in this direction. */
  selecting: readonly Policy[];
  /** Policies that select the pods in the other direction deny something. */
  guarded: boolean;
  /** What was acquired for the rules, each as often. */
  atoms: readonly Atom[];
  /** The rules are too much to be worked out. */
  overloaded: boolean;
  /** They have become, or are, too much. */
  onOverloaded: (profile: Profile) => void;
}

/**
 * What the rules of one profile may cost, in rules looked at and elements: many times what people write, and a second's work. Who writes more
 * closes the pods that it is about, and nobody else's.
 */
const MOST_WORK = 5_000_000;
const MOST_ELEMENTS = 50_000;
const FEW_ELEMENTS = 1_000;

export class Profile {
  readonly key: string;
  readonly place: Place;
  readonly atoms: readonly Atom[];
  /** Atoms that tell this profile something. */
  readonly asks: ReadonlySet<Atom>;
  /** Pods' addresses here that have it. */
  readonly addresses = new Set<string>();
  readonly enforces: boolean;
  /** TCP that belongs to no connection is dropped: a policy, of whichever direction, may have ended the connection. */
  readonly guards: boolean;
  /** Rules only ever allow, and only whom something holds for: who answers more of what is asked with yes, and loses no port by name, loses nothing. */
  readonly onlyAllows: boolean;
  readonly #ruleset: Ruleset;
  readonly #outcomes: OutcomeChains;
  readonly #rules: readonly ResolvedRule[];
  readonly #selecting: readonly Policy[];
  readonly #around: Surroundings;
  /** Numbers of rules by the atom that they want, and of those that everybody has to be held against. */
  readonly #byAtom = new Map<Atom, number[]>();
  readonly #always: number[] = [];
  readonly #names: ReadonlySet<string>;
  readonly #decided = new Map<string, DecidedPorts>();
  /** What is said of classes for which it is decided so. */
  readonly #entries = new Map<DecidedPorts, Entries>();
  readonly #audits = new Map<string, Outcome>();
  #fallback: DecidedPorts | undefined;
  readonly #chains = new Set<string>();
  #shape: Pick<ProfileChain, "byPort" | "byClass" | "byPortAlone">;
  #name: string;
  #work = 0;
  #elements = 0;
  #overloaded = false;
  readonly #onOverloaded: (profile: Profile) => void;

  constructor(
    { key, name, place, rules, selecting, guarded, atoms, overloaded, onOverloaded }: ProfileParts,
    ruleset: Ruleset,
    outcomes: OutcomeChains,
  ) {
    this.key = key;
    this.#name = name;
    this.#onOverloaded = onOverloaded;
    this.place = place;
    this.atoms = atoms;
    this.asks = new Set(atoms);
    this.enforces = selecting.some(({ audit }) => !audit);
    this.guards = guarded || this.enforces;
    this.onlyAllows = rules.every(({ action, outside }) => action === "Accept" && outside.length === 0);
    this.#ruleset = ruleset;
    this.#outcomes = outcomes;
    this.#rules = rules;
    this.#selecting = selecting;
    this.#names = new Set(rules.flatMap(({ names }) => names.map((one) => one.name)));
    const direction = directionOf(place);
    this.#around = {
      toNode: place === "node",
      open: openIn(direction),
      isolated: isolatedIn(direction),
      audit: (would, does) => this.#audit(auditOf(would, does)),
    };
    rules.forEach(({ everybody, inside, outside }, i) => {
      if (everybody || outside.length > 0) this.#always.push(i);
      else
        for (const atom of inside) {
          const those = this.#byAtom.get(atom);
          if (those) those.push(i);
          else this.#byAtom.set(atom, [i]);
        }
    });
    const withPorts = rules.some(({ stretches }) => stretches !== undefined);
    this.#shape = { byPort: withPorts && this.asks.size > 0, byClass: this.asks.size > 0, byPortAlone: withPorts };
    if (overloaded) this.#overload();
  }

  #overload(): void {
    this.#overloaded = true;
    this.#onOverloaded(this);
  }

  /** Of its chain. */
  get name(): string {
    return this.#name;
  }

  /** Its rules are too much: nothing passes, or everything where all is in audit mode. */
  get overloaded(): boolean {
    return this.#overloaded;
  }

  /** So few elements that it costs next to nothing to keep it. */
  get isSmall(): boolean {
    return !this.#overloaded && this.#elements <= FEW_ELEMENTS;
  }

  /** Policies of its rules. */
  get policies(): readonly Policy[] {
    return this.#selecting;
  }

  /** Whether it may say something else of one class than of another. */
  tells(a: AddressClass, b: AddressClass): boolean {
    for (const atom of a.atoms) if (!b.atoms.has(atom) && this.asks.has(atom)) return true;
    for (const atom of b.atoms) if (!a.atoms.has(atom) && this.asks.has(atom)) return true;
    return this.#names.size > 0 && a.ports !== b.ports;
  }

  /** What it says of a class. */
  decide(one: AddressClass): DecidedPorts {
    if (this.#overloaded) return this.#closed();
    const numbers = new Set(this.#always.filter((i) => concerns(this.#rules[i] as ResolvedRule, one)));
    const [few, many] =
      one.atoms.size < this.#byAtom.size ? [one.atoms, this.#byAtom] : [this.#byAtom.keys(), one.atoms];
    for (const atom of few) if (many.has(atom)) for (const i of this.#byAtom.get(atom) ?? []) numbers.add(i);
    const asked = [...numbers].sort((a, b) => a - b);
    const ports = this.#names.size === 0 ? [] : one.ports.filter(({ name }) => this.#names.has(name));
    const key = `${asked.join()}|${ports
      .map(({ name, protocol, port }) => `${name} ${protocol} ${port}`)
      .sort()
      .join()}`;
    let decided = this.#decided.get(key);
    if (!decided) {
      const rules = asked.map((i) => this.#rules[i] as ResolvedRule);
      decided = decidePorts(rules, ports, this.#selecting, this.#around);
      this.#decided.set(key, decided);
      this.#work += rules.length + decided.line.length;
    }
    this.#work += this.#always.length + asked.length;
    if (this.#work > MOST_WORK) this.#overload();
    return decided;
  }

  #closed(): DecidedPorts {
    const rest = this.enforces ? this.#around.isolated : this.#around.open;
    let closed = this.#decided.get("");
    if (!closed) this.#decided.set("", (closed = { rest, ranges: [], line: [{ ...WHOLE_LINE, value: rest }] }));
    return closed;
  }

  /**
   * Its chain and maps come. What it says of most classes it says of everybody who is not in its maps: where all pods may come in, each of
   * some hundreds of classes of pods would have an element for it otherwise.
   */
  install(classes: readonly AddressClass[]): void {
    this.#fallback = this.#most(classes);
    const { rest, ranges } = this.#fallback;
    if (this.#overloaded) this.#shape = { byPort: false, byClass: false, byPortAlone: false };
    const { byPort, byClass, byPortAlone } = this.#shape;
    for (const { outcome, action } of this.#rules) if (action !== "Pass") this.#lead(outcome);
    this.#lead(this.#around.isolated);
    if (byPort) this.#ruleset.addMap(`${this.#name}_port`, { kind: "ports" });
    if (byClass) this.#ruleset.addMap(`${this.#name}_class`, { kind: "classes" });
    if (byPortAlone) this.#ruleset.addMap(`${this.#name}_all`, { kind: "all" });
    for (const { protocol, first, last, outcome } of ranges)
      this.#ruleset.set(`${this.#name}_all`, `${protocol} ${first} ${last}`, outcome.chain);
    const chain = { place: this.place, ...this.#shape, fallback: rest, enforces: this.enforces, guards: this.guards };
    this.#ruleset.addChain(this.#name, { kind: "profile", ...chain });
    for (const one of [NOBODY, ...classes]) this.enter(one, true);
    if (this.overflows) this.collapse();
  }

  #most(classes: readonly AddressClass[]): DecidedPorts {
    const votes = new Map<DecidedPorts, number>();
    for (const one of [NOBODY, ...classes]) {
      const decided = this.decide(one);
      votes.set(decided, (votes.get(decided) ?? 0) + 1);
    }
    // What was decided before it came out that there is too much to be decided counts no more.
    if (this.#overloaded) return this.#closed();
    const [most] = [...votes].reduce((best, one) => (one[1] > best[1] ? one : best));
    return most;
  }

  /** It has become too much for the chain that is there: another one takes its place, to which pods have to be led. */
  collapse(): void {
    this.remove();
    this.#chains.clear();
    this.#name = `${this.#name}_closed`;
    this.#overload();
    this.install([]);
  }

  /** Whether {@link collapse} is due. */
  get overflows(): boolean {
    return this.#overloaded && this.#shape.byClass;
  }

  /** Puts a class that came, or takes one that went, into or out of the maps. */
  enter(one: AddressClass, there: boolean): void {
    const decided = this.decide(one);
    if (this.#overloaded) return;
    let entries = this.#entries.get(decided);
    if (!entries) this.#entries.set(decided, (entries = entriesOf(decided, this.#fallback as DecidedPorts)));
    const { rest, ranges } = entries;
    this.#elements += ((rest ? 1 : 0) + ranges.length) * (there ? 1 : -1);
    if (this.#elements > MOST_ELEMENTS) return this.#overload();
    if (rest) this.#ruleset.set(`${this.#name}_class`, String(one.id), there ? rest.chain : undefined);
    for (const { protocol, first, last, outcome } of ranges)
      this.#ruleset.set(
        `${this.#name}_port`,
        `${one.id} ${protocol} ${first} ${last}`,
        there ? outcome.chain : undefined,
      );
  }

  /** Its chain and maps go; pods must not lead here any more. */
  remove(): void {
    this.#ruleset.removeChain(this.#name);
    const { byPort, byClass, byPortAlone } = this.#shape;
    if (byPort) this.#ruleset.removeMap(`${this.#name}_port`);
    if (byClass) this.#ruleset.removeMap(`${this.#name}_class`);
    if (byPortAlone) this.#ruleset.removeMap(`${this.#name}_all`);
    for (const chain of this.#chains) this.#outcomes.leave(chain);
  }

  /** Has an outcome's chain there, once. */
  #lead(outcome: Outcome): void {
    if (outcome.chain === "" || this.#chains.has(outcome.chain)) return;
    this.#chains.add(outcome.chain);
    this.#outcomes.use(outcome);
  }

  /** What comes of a class of addresses with policies in audit mode: its chain comes with the first such class, and stays as long as the profile. */
  #audit(outcome: Outcome): Outcome {
    const known = this.#audits.get(outcome.chain);
    if (known) return known;
    this.#audits.set(outcome.chain, outcome);
    this.#lead(outcome);
    return outcome;
  }
}
