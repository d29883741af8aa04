/**
 * What measurements between nodes say together. One node that does not reach another knows next to nothing: the other may be off, the link
 * between them may be cut, a port may be blocked. Several that have asked the same node, and what each of them reaches otherwise, tell these
 * apart. A pure function over as much of the matrix as is known: all of it, or a node's own row and what a few others have seen of those that
 * do not answer.
 *
 * Each pair has the worst fault that either end has seen. For each kind of fault, the pairs that have it are explained by as little as possible:
 * by everything, by single nodes, by a cut between two sides, and what is left by pairs.
 */
import { FAMILIES, type Family } from "../addr/index.ts";

/** How one node has found another by one path: all answers, some lost, small ones only, none. */
export type Seen = "answers" | "lossy" | "narrow" | "silent";

/** What one node has seen of another. */
export interface Observation {
  from: string;
  to: string;
  /** Through the tunnel, by the families that both have. */
  inside: Partial<Record<Family, Seen>>;
  /** Beside the tunnel; absent where nothing can be said, as where a firewall drops all ICMP. */
  beside?: Seen;
  /** Whether `from` hears what `to` sends through the tunnel; absent where it is not known. */
  hears?: boolean;
}

/** Kinds of faults, the worst first. A closed list: metrics and Events carry these words. */
export const FAULTS = [
  /** No answer through the tunnel nor beside it. */
  "down",
  /** None through the tunnel; nothing can be said of beside it. */
  "silent",
  /** None through the tunnel, and some beside it. */
  "tunnel",
  /** None through the tunnel in one family, and some in the other. */
  "family4",
  "family6",
  /** Small packets pass the tunnel, and those of its MTU do not. */
  "narrow",
  /** What carries them passes in fragments alone. */
  "fragments",
  /** Some packets are lost. */
  "loss",
] as const;
export type Fault = (typeof FAULTS)[number];

/** What explains a fault. */
export interface Verdict {
  fault: Fault;
  /** One node with all others; two sides with each other; two nodes; all pairs that were measured. */
  scope: "node" | "link" | "pair" | "all";
  /** The node, or the first side, by name; none with "all". */
  nodes: string[];
  /** Those that it fails with: the other side, or who has asked the node. */
  others: string[];
  /** Of a silent tunnel: what gets lost is what is sent to `nodes`, what they send, or both; absent where that is not known. */
  lost?: "to" | "from" | "both";
}

interface Pair {
  /** By name, the lower first. */
  a: string;
  b: string;
  fault: Fault | undefined;
  /** Whether a hears b through the tunnel, and b a. */
  hears: [a: boolean | undefined, b: boolean | undefined];
}

const rank = (fault: Fault | undefined): number => (fault === undefined ? FAULTS.length : FAULTS.indexOf(fault));

/** Share of partners that may have no such fault without a node or a link being innocent, for faults that come and go. */
const LENIENT: ReadonlySet<Fault> = new Set(["loss", "fragments"]);

/** The fault that an observation shows; undefined for none. */
export function faultOf({ inside, beside }: Pick<Observation, "inside" | "beside">): Fault | undefined {
  const seen = FAMILIES.flatMap((family) => inside[family] ?? []);
  if (seen.length === 0) return undefined;
  const silent = FAMILIES.filter((family) => inside[family] === "silent");
  if (silent.length === seen.length) {
    if (beside === undefined) return "silent";
    return beside === "silent" ? "down" : "tunnel";
  }
  const [family] = silent;
  if (family !== undefined) return family === 4 ? "family4" : "family6";
  if (seen.includes("narrow")) return "narrow";
  if (seen.includes("lossy")) return "loss";
  return beside === "narrow" ? "fragments" : undefined;
}

/** Explains what was observed; nothing where no fault was. The order of observations does not matter. */
export function judge(observations: readonly Observation[]): Verdict[] {
  const pairs = settle(pairsOf(observations));
  const verdicts: Verdict[] = [];
  for (const fault of FAULTS) {
    const failing = pairs.filter((pair) => pair.fault === fault);
    // One that fails worse says nothing about this fault.
    if (failing.length > 0)
      verdicts.push(
        ...explain(
          fault,
          failing,
          pairs.filter((pair) => rank(pair.fault) > rank(fault)),
        ),
      );
  }
  return verdicts;
}

function pairsOf(observations: readonly Observation[]): Pair[] {
  const pairs = new Map<string, Pair>();
  for (const observation of observations) {
    const { from, to, hears } = observation;
    const [a, b] = from < to ? [from, to] : [to, from];
    const key = `${a}\n${b}`;
    const pair: Pair = pairs.get(key) ?? { a, b, fault: undefined, hears: [undefined, undefined] };
    pairs.set(key, pair);
    const fault = faultOf(observation);
    if (rank(fault) < rank(pair.fault)) pair.fault = fault;
    pair.hears[from === a ? 0 : 1] ??= hears;
  }
  return [...pairs.values()].sort((x, y) => (x.a === y.a ? compare(x.b, y.b) : compare(x.a, y.a)));
}

const compare = (x: string, y: string): number => (x < y ? -1 : x > y ? 1 : 0);

/** Where one end cannot say how a node is beside the tunnel, and others can, what they say holds for it as well. */
function settle(pairs: Pair[]): Pair[] {
  const known = new Map<string, Fault>();
  for (const { a, b, fault } of pairs)
    if (fault === "tunnel" || fault === "down")
      for (const node of [a, b]) if (known.get(node) !== "tunnel") known.set(node, fault);
  return pairs.map((pair) =>
    pair.fault === "silent" ? { ...pair, fault: known.get(pair.a) ?? known.get(pair.b) ?? "silent" } : pair,
  );
}

/** How many of some pairs each node is in. */
function degrees(pairs: readonly Pair[]): Map<string, number> {
  const count = new Map<string, number>();
  for (const { a, b } of pairs) for (const node of [a, b]) count.set(node, (count.get(node) ?? 0) + 1);
  return count;
}

function explain(fault: Fault, failing: readonly Pair[], healthy: readonly Pair[]): Verdict[] {
  const ofOne = [...degrees(failing).values()].includes(failing.length);
  if (healthy.length === 0 && failing.length > 2 && !ofOne)
    return [
      { fault, scope: "all", nodes: [], others: [...degrees(failing).keys()].sort(compare), ...direction(failing) },
    ];
  const verdicts: Verdict[] = [];
  const fine = degrees(healthy);
  const forgiven = (node: string, fails: number): boolean =>
    (fine.get(node) ?? 0) <= (LENIENT.has(fault) ? fails / 2 : 0);
  let left = failing;
  for (;;) {
    const [worst] = [...degrees(left)]
      .filter(([node, fails]) => fails > 1 && forgiven(node, fails))
      .sort(([x, m], [y, n]) => n - m || compare(x, y));
    if (!worst) break;
    const [node] = worst;
    const its = left.filter(({ a, b }) => a === node || b === node);
    const others = its.map(({ a, b }) => (a === node ? b : a)).sort(compare);
    verdicts.push({ fault, scope: "node", nodes: [node], others, ...direction(its, new Set([node])) });
    left = left.filter((pair) => !its.includes(pair));
  }
  for (const part of components(left)) verdicts.push(...ofPart(fault, part, healthy));
  return verdicts;
}

/** Pairs that hang together: those of nodes that are reached from each other by them. */
function components(pairs: readonly Pair[]): Pair[][] {
  const parts: Pair[][] = [];
  const left = new Set(pairs);
  for (const first of pairs) {
    if (!left.delete(first)) continue;
    const part = [first];
    const nodes = new Set([first.a, first.b]);
    for (let grown = true; grown; ) {
      grown = false;
      for (const pair of left) {
        if (!nodes.has(pair.a) && !nodes.has(pair.b)) continue;
        left.delete(pair);
        part.push(pair);
        nodes.add(pair.a).add(pair.b);
        grown = true;
      }
    }
    parts.push(part);
  }
  return parts;
}

/** Two sides between which nearly nothing passes; undefined where pairs fail within a side as well. */
function sidesOf(part: readonly Pair[]): [Set<string>, Set<string>] | undefined {
  const side = new Map<string, 0 | 1>([[(part[0] as Pair).a, 0]]);
  for (let grown = true; grown; ) {
    grown = false;
    for (const { a, b } of part) {
      const [ofA, ofB] = [side.get(a), side.get(b)];
      if (ofA !== undefined && ofA === ofB) return undefined;
      if ((ofA === undefined) === (ofB === undefined)) continue;
      if (ofA === undefined) side.set(a, ofB === 0 ? 1 : 0);
      else side.set(b, ofA === 0 ? 1 : 0);
      grown = true;
    }
  }
  const of = (wanted: 0 | 1): Set<string> => new Set([...side].flatMap(([node, it]) => (it === wanted ? [node] : [])));
  return [of(0), of(1)];
}

function ofPart(fault: Fault, part: readonly Pair[], healthy: readonly Pair[]): Verdict[] {
  const sorted = (nodes: Iterable<string>): string[] => [...nodes].sort(compare);
  const pair = (one: Pair): Verdict => ({
    fault,
    scope: "pair",
    nodes: [one.a],
    others: [one.b],
    ...direction([one], new Set([one.a])),
  });
  const sides = part.length > 1 ? sidesOf(part) : undefined;
  if (!sides) return part.map(pair);
  const [near, far] = sides;
  const crossing = healthy.filter(({ a, b }) => (near.has(a) && far.has(b)) || (far.has(a) && near.has(b))).length;
  if (crossing * (LENIENT.has(fault) ? 2 : 9) > part.length) return part.map(pair);
  const [nodes, others] = [sorted(near), sorted(far)].sort(([x = ""], [y = ""]) => compare(x, y)) as [
    string[],
    string[],
  ];
  return [{ fault, scope: "link", nodes, others, ...direction(part, new Set(nodes)) }];
}

/** What of pairs with a silent tunnel gets lost, as seen from some of the nodes, where all that is known agrees. */
function direction(pairs: readonly Pair[], nodes: ReadonlySet<string> = new Set()): Pick<Verdict, "lost"> {
  const found = new Set<Verdict["lost"]>();
  for (const { a, fault, hears } of pairs) {
    if (fault !== "tunnel") continue;
    const [itHears, othersHear] = nodes.has(a) ? hears : [hears[1], hears[0]];
    if (itHears === true && othersHear !== true) found.add("from");
    else if (othersHear === true && itHears !== true) found.add("to");
    else if (itHears === false && othersHear === false) found.add("both");
  }
  const [lost] = found;
  return found.size === 1 && lost !== undefined && nodes.size > 0 ? { lost } : {};
}
