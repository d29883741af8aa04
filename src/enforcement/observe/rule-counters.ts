/**
 * What rules have counted, added up since the agent started: the kernel begins anew with every table that is put in place whole. Packets that
 * begin a connection are counted, as all others pass before the rules; of denied ones that is every packet.
 */
import { type Count, countsByChain } from "../../dataplane/nft/index.ts";
import { DEFAULT_DENY, type Outcome, POLICY_TABLE, policyKeyOf, type Ruleset } from "../../policy/index.ts";

/** What became of packets. */
export type CountedVerdict = "allow" | "deny" | "audit";

/** The count of one rule. */
export interface RuleCount extends Count {
  /** "NetworkPolicy NAMESPACE/NAME"; {@link DEFAULT_DENY}; {@link NO_CONNECTION}. */
  policy: string;
  direction: "ingress" | "egress";
  /** Index among the policy's rules of the direction; undefined where no rule decides. */
  rule: number | undefined;
  verdict: CountedVerdict;
}

/** Stands for a policy where TCP packets are dropped that neither begin a connection nor belong to one. */
export const NO_CONNECTION = "no connection";

export interface RuleCountersOptions {
  ruleset: Pick<Ruleset, "chains">;
  netns?: string | number | undefined;
  /** Whether there is a policy of that name: what it counted is remembered as long. */
  has: (policy: string) => boolean;
}

/** See the header. */
export class RuleCounters {
  readonly #options: RuleCountersOptions;
  /** By chain, as the kernel last had it. */
  #last = new Map<string, Count>();
  readonly #totals = new Map<string, RuleCount>();
  #reading: Promise<void> | undefined;

  constructor(options: RuleCountersOptions) {
    this.#options = options;
  }

  /** Reads the kernel; who asks while that is under way shares the answer. @throws SysError when the table cannot be read */
  read(): Promise<void> {
    this.#reading ??= this.#read().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  /** All counts as last read. */
  get counts(): readonly RuleCount[] {
    return [...this.#totals.values()];
  }

  async #read(): Promise<void> {
    const counts = await countsByChain(POLICY_TABLE, this.#options.netns);
    const { chains } = this.#options.ruleset;
    for (const [name, count] of counts) {
      const before = this.#last.get(name);
      const chain = chains.get(name);
      // A rule of a table that we have not made (yet), or of a chain that has just gone.
      if (chain?.kind !== "profile" && chain?.kind !== "outcome") continue;
      const again = before === undefined || count.packets < before.packets;
      const more: Count = again
        ? count
        : { packets: count.packets - before.packets, bytes: count.bytes - before.bytes };
      this.#add(chain.kind === "profile" ? unconnected(chain.place) : ofOutcome(chain.outcome), more);
    }
    this.#last = counts;
    for (const [key, { policy }] of this.#totals)
      if (policy !== DEFAULT_DENY && policy !== NO_CONNECTION && !this.#options.has(policy)) this.#totals.delete(key);
  }

  #add(what: Omit<RuleCount, keyof Count>, { packets, bytes }: Count): void {
    const key = keyOfCount(what);
    const total = this.#totals.get(key);
    if (total) {
      total.packets += packets;
      total.bytes += bytes;
    } else this.#totals.set(key, { ...what, packets, bytes });
  }
}

/** Counts of several tables, those of the same rule as one. */
export function summed(counts: Iterable<RuleCount>): RuleCount[] {
  const totals = new Map<string, RuleCount>();
  for (const one of counts) {
    const key = keyOfCount(one);
    const { packets, bytes } = totals.get(key) ?? { packets: 0, bytes: 0 };
    totals.set(key, { ...one, packets: packets + one.packets, bytes: bytes + one.bytes });
  }
  return [...totals.values()];
}

const keyOfCount = ({ policy, direction, rule, verdict }: Omit<RuleCount, keyof Count>): string =>
  `${policy} ${direction} ${rule} ${verdict}`;

const unconnected = (place: "ingress" | "egress" | "node"): Omit<RuleCount, keyof Count> => ({
  policy: NO_CONNECTION,
  direction: place === "ingress" ? "ingress" : "egress",
  rule: undefined,
  verdict: "deny",
});

const ofOutcome = ({ kind, rule, direction }: Outcome): Omit<RuleCount, keyof Count> => ({
  policy: rule ? policyKeyOf(rule.policy) : DEFAULT_DENY,
  direction,
  rule: rule?.index,
  verdict: kind === "open" ? "allow" : kind,
});
