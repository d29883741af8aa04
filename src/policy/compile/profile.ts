/**
 * A profile: the rules that pods of this node have in one place (ingress, egress, to the node), which those share that the same policies
 * select. It has a chain, and maps from classes and ports to outcomes; what it says of a class never changes as long as it is there.
 */
import { sha256Hex } from "../../addr/index.ts";
import type { Direction, Policy } from "../semantics/types.ts";
import { policyKeyOf } from "../semantics/types.ts";
import type { Atom } from "./atoms.ts";
import { type AddressClass, NOBODY } from "./classes.ts";
import {
  concerns,
  type DecidedPorts,
  decidePorts,
  type ResolvedRule,
  sameDecision,
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

const isolatedIn = (direction: Direction): Outcome => ({
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
  /** What was acquired for the rules, each as often. */
  atoms: readonly Atom[];
}

export class Profile {
  readonly key: string;
  readonly name: string;
  readonly place: Place;
  readonly atoms: readonly Atom[];
  /** Atoms that tell this profile something. */
  readonly asks: ReadonlySet<Atom>;
  /** Pods' addresses here that have it. */
  readonly addresses = new Set<string>();
  readonly enforces: boolean;
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
  readonly #audits = new Map<string, Outcome>();
  #fallback: DecidedPorts | undefined;
  readonly #chains = new Set<string>();
  readonly #shape: Pick<ProfileChain, "byPort" | "byClass" | "byPortAlone">;

  constructor({ key, name, place, rules, selecting, atoms }: ProfileParts, ruleset: Ruleset, outcomes: OutcomeChains) {
    this.key = key;
    this.name = name;
    this.place = place;
    this.atoms = atoms;
    this.asks = new Set(atoms);
    this.enforces = selecting.some(({ audit }) => !audit);
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
  }

  /** Whether it may say something else of one class than of another. */
  tells(a: AddressClass, b: AddressClass): boolean {
    for (const atom of a.atoms) if (!b.atoms.has(atom) && this.asks.has(atom)) return true;
    for (const atom of b.atoms) if (!a.atoms.has(atom) && this.asks.has(atom)) return true;
    return this.#names.size > 0 && a.ports !== b.ports;
  }

  /** What it says of a class. */
  decide(one: AddressClass): DecidedPorts {
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
    }
    return decided;
  }

  /**
   * Its chain and maps come. What it says of most classes it says of everybody who is not in its maps: where all pods may come in, each of
   * some hundreds of classes of pods would have an element for it otherwise.
   */
  install(classes: readonly AddressClass[]): void {
    const votes = new Map<DecidedPorts, number>();
    for (const one of [NOBODY, ...classes]) {
      const decided = this.decide(one);
      votes.set(decided, (votes.get(decided) ?? 0) + 1);
    }
    let most = 0;
    for (const [decided, count] of votes)
      if (count > most) {
        most = count;
        this.#fallback = decided;
      }
    const { rest, ranges } = this.#fallback as DecidedPorts;
    const { byPort, byClass, byPortAlone } = this.#shape;
    for (const { outcome, action } of this.#rules) if (action !== "Pass") this.#lead(outcome);
    this.#lead(this.#around.isolated);
    if (byPort) this.#ruleset.addMap(`${this.name}_port`, { kind: "ports" });
    if (byClass) this.#ruleset.addMap(`${this.name}_class`, { kind: "classes" });
    if (byPortAlone) this.#ruleset.addMap(`${this.name}_all`, { kind: "all" });
    for (const { protocol, first, last, outcome } of ranges)
      this.#ruleset.set(`${this.name}_all`, `${protocol} ${first} ${last}`, outcome.chain);
    const chain = { place: this.place, ...this.#shape, fallback: rest, enforces: this.enforces };
    this.#ruleset.addChain(this.name, { kind: "profile", ...chain });
    this.enter(NOBODY, true);
    for (const one of classes) this.enter(one, true);
  }

  /** Puts a class that came, or takes one that went, into or out of the maps. */
  enter(one: AddressClass, there: boolean): void {
    const decided = this.decide(one);
    if (sameDecision(decided, this.#fallback as DecidedPorts)) return;
    const { rest, ranges } = decided;
    this.#ruleset.set(`${this.name}_class`, String(one.id), there ? rest.chain : undefined);
    for (const { protocol, first, last, outcome } of ranges)
      this.#ruleset.set(
        `${this.name}_port`,
        `${one.id} ${protocol} ${first} ${last}`,
        there ? outcome.chain : undefined,
      );
  }

  /** Its chain and maps go; pods must not lead here any more. */
  remove(): void {
    this.#ruleset.removeChain(this.name);
    const { byPort, byClass, byPortAlone } = this.#shape;
    if (byPort) this.#ruleset.removeMap(`${this.name}_port`);
    if (byClass) this.#ruleset.removeMap(`${this.name}_class`);
    if (byPortAlone) this.#ruleset.removeMap(`${this.name}_all`);
    for (const chain of this.#chains) this.#outcomes.leave(chain);
  }

  /** Has an outcome's chain there, once. */
  #lead(outcome: Outcome): void {
    if (outcome.chain === "" || this.#chains.has(outcome.chain)) return;
    this.#chains.add(outcome.chain);
    this.#outcomes.use(outcome);
  }

  #audit(outcome: Outcome): Outcome {
    const known = this.#audits.get(outcome.chain);
    if (known) return known;
    this.#audits.set(outcome.chain, outcome);
    this.#lead(outcome);
    return outcome;
  }
}
