/**
 * What comes of packets of one class, for all protocols and ports at once: rules are painted on the line of ports in the order in which they
 * are asked, tier by tier. The answer is a function that is looked up, not walked through, when a packet comes.
 */
import { TIERS, type NamedPort, type Policy, type Protocol, type Rule } from "../semantics/types.ts";
import type { Atom } from "./atoms.ts";
import { Line, OTHER, type Painted, type PortRange, portRanges, type Stretch, stretchOf, WHOLE_LINE } from "./axis.ts";
import type { AddressClass } from "./classes.ts";
import type { Outcome } from "./ruleset.ts";

/** A rule as it is for the pods of a profile. */
export interface ResolvedRule {
  action: Rule["action"];
  policy: Policy;
  outcome: Outcome;
  everybody: boolean;
  /** It is about addresses that one of these holds for… */
  inside: readonly Atom[];
  /** … or that one of these does not hold for. */
  outside: readonly Atom[];
  /** Undefined: everything. */
  stretches: readonly Stretch[] | undefined;
  /** Ports by the names that the peer has for them. */
  names: readonly { name: string; protocol: Protocol | undefined }[];
}

/** What rules of a profile are told besides themselves. */
export interface Surroundings {
  /** Packets to the node itself, of which NetworkPolicies say nothing. */
  toNode: boolean;
  open: Outcome;
  isolated: Outcome;
  /** What it is called that a packet passes which another outcome would not let pass. */
  audit: (would: Outcome, does: Outcome) => Outcome;
}

/** Outcomes by port. */
export interface DecidedPorts {
  /** Of protocols without ports, and of all ports that are not in `ranges`. */
  rest: Outcome;
  ranges: readonly (PortRange & { outcome: Outcome })[];
  line: readonly Painted<Outcome>[];
}

const denies = ({ kind }: Outcome): boolean => kind === "deny";

/** Whether a rule is about an address of a class. */
export const concerns = (
  { everybody, inside, outside }: ResolvedRule,
  { atoms }: Pick<AddressClass, "atoms">,
): boolean => everybody || inside.some((atom) => atoms.has(atom)) || outside.some((atom) => !atoms.has(atom));

/** The stretches of a rule for peers with these named ports. */
function stretchesFor({ stretches, names }: ResolvedRule, ports: readonly NamedPort[]): readonly Stretch[] {
  if (stretches === undefined) return [WHOLE_LINE];
  if (names.length === 0) return stretches;
  return [...stretches, ...stretchesOfNames(names, ports)];
}

/** Where the ports with these names are. */
export const stretchesOfNames = (names: ResolvedRule["names"], ports: readonly NamedPort[]): Stretch[] =>
  names.flatMap(({ name, protocol }) =>
    ports
      .filter((port) => port.name === name && (protocol === undefined || port.protocol === protocol))
      .map((port) => stretchOf(port.protocol, port.port, port.port)),
  );

/**
 * @param rules those that are about the class, in the order in which they are asked
 * @param selecting all policies that select the pods, also those without such a rule
 */
export function decidePorts(
  rules: readonly ResolvedRule[],
  ports: readonly NamedPort[],
  selecting: readonly Policy[],
  around: Surroundings,
): DecidedPorts {
  const pieces = rules.map((rule) => ({ rule, stretches: stretchesFor(rule, ports) }));
  const enforced = paint(pieces, selecting, around, false);
  const line = selecting.some(({ audit }) => audit)
    ? both(enforced, paint(pieces, selecting, around, true), around)
    : enforced;
  const rest = (line.at(-1) as Painted<Outcome>).value;
  const ranges = line
    .filter(({ value }) => value !== rest)
    .flatMap((piece) => portRanges(piece).map((range) => ({ ...range, outcome: piece.value })));
  return { rest, ranges, line };
}

function paint(
  pieces: readonly { rule: ResolvedRule; stretches: readonly Stretch[] }[],
  selecting: readonly Policy[],
  { toNode, open, isolated }: Surroundings,
  audit: boolean,
): Painted<Outcome>[] {
  const line = new Line<Outcome | "pass">(pieces.flatMap(({ stretches }) => stretches));
  for (const tier of TIERS) {
    const isolates =
      tier === "NetworkPolicy" && selecting.some((policy) => policy.tier === tier && (audit || !policy.audit));
    if (isolates && toNode) line.paint(WHOLE_LINE, open);
    for (const { rule, stretches } of pieces) {
      if (rule.policy.tier !== tier || (rule.policy.audit && !audit)) continue;
      for (const stretch of stretches) line.paint(stretch, rule.action === "Pass" ? "pass" : rule.outcome);
    }
    line.clear((value) => value === "pass");
    if (isolates) line.paint(WHOLE_LINE, isolated);
  }
  line.paint(WHOLE_LINE, open);
  return line.painted() as Painted<Outcome>[];
}

/** What is enforced, and with it what would have been denied. */
function both(
  enforced: readonly Painted<Outcome>[],
  wouldBe: readonly Painted<Outcome>[],
  { audit }: Surroundings,
): Painted<Outcome>[] {
  const line: Painted<Outcome>[] = [];
  for (let [i, j, from] = [0, 0, 0]; from <= OTHER; ) {
    const [does, would] = [enforced[i], wouldBe[j]] as [Painted<Outcome>, Painted<Outcome>];
    const to = Math.min(does.to, would.to);
    const value = !denies(does.value) && denies(would.value) ? audit(would.value, does.value) : does.value;
    const last = line.at(-1);
    if (last?.value === value) last.to = to;
    else line.push({ from, to, value });
    if (does.to === to) i++;
    if (would.to === to) j++;
    from = to + 1;
  }
  return line;
}

/** Whether something passes by one function and not by another. */
export function losesBy(before: DecidedPorts, after: DecidedPorts): boolean {
  if (before === after) return false;
  for (let [i, j] = [0, 0]; i < before.line.length && j < after.line.length; ) {
    const [was, is] = [before.line[i], after.line[j]] as [Painted<Outcome>, Painted<Outcome>];
    if (!denies(was.value) && denies(is.value)) return true;
    if (was.to <= is.to) i++;
    if (is.to <= was.to) j++;
  }
  return false;
}

/** What has to be said of a class beside what is said of everybody. */
export interface Entries {
  /** Of everything else; undefined where everybody's say holds. */
  rest: Outcome | undefined;
  ranges: DecidedPorts["ranges"];
}

/** Where a function says something else than another one. Where the rest is the same, ports that are the same are left out as well. */
export function entriesOf(decided: DecidedPorts, everybody: DecidedPorts): Entries {
  if (decided.rest !== everybody.rest) return decided;
  const ranges: (PortRange & { outcome: Outcome })[] = [];
  for (let [i, j, from] = [0, 0, 0]; from <= OTHER; ) {
    const [own, other] = [decided.line[i], everybody.line[j]] as [Painted<Outcome>, Painted<Outcome>];
    const to = Math.min(own.to, other.to);
    if (own.value !== other.value)
      ranges.push(...portRanges({ from, to }).map((range) => ({ ...range, outcome: own.value })));
    if (own.to === to) i++;
    if (other.to === to) j++;
    from = to + 1;
  }
  return { rest: undefined, ranges };
}
