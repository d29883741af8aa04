/**
 * Which rules of the plugin portmap are in force: it makes them with a pod, and looks for them never again, so that somebody's flush
 * takes pods' host ports away without a word. Looks only.
 *
 * With iptables each container has a chain, CNI-DN- and a part of a SHA-512 of the network's name and the container's ID, to which
 * CNI-HOSTPORT-DNAT jumps, to which PREROUTING jumps (containernetworking/plugins, plugins/meta/portmap). With nftables, which it
 * can use since its release 1.6, rules of its own tables carry the container's ID as their comment.
 */
import { createHash } from "node:crypto";
import { type Family, FAMILIES } from "../../../addr/index.ts";
import { LEGACY, legacyTables, LOCK_WAIT } from "../legacy.ts";
import type { RunTool } from "../run.ts";

/** Longest name of a chain in the plugin's words. */
const CHAIN_LENGTH = 28;
const NATIVE_TABLE = "cni_hostport";
const NFT_FAMILY: Readonly<Record<string, Family | undefined>> = { ip: 4, ip6: 6 };

/** One table's chains: how many rules each has, and where they jump to. */
class Chains {
  readonly #jumps = new Map<string, Set<string>>();
  readonly #rules = new Set<string>();

  add(chain: string, target: string | undefined): void {
    this.#rules.add(chain);
    if (target === undefined) return;
    const targets = this.#jumps.get(chain) ?? new Set();
    this.#jumps.set(chain, targets.add(target));
  }

  /** Whether packets that come in get to a chain, which has rules. */
  reaches(chain: string): boolean {
    const jumps = (from: string, to: string): boolean => this.#jumps.get(from)?.has(to) ?? false;
    return jumps("PREROUTING", "CNI-HOSTPORT-DNAT") && jumps("CNI-HOSTPORT-DNAT", chain) && this.#rules.has(chain);
  }
}

/** The rules of host ports. */
export interface HostPortRules {
  /** Whether a container's are in force for a family. */
  has(network: string, containerId: string, family: Family): boolean;
}

const chainOf = (network: string, containerId: string): string =>
  `CNI-DN-${createHash("sha512").update(`${network}${containerId}`).digest("hex")}`.slice(0, CHAIN_LENGTH);

type NftRule = { family: string; table: string; chain: string; comment?: string; expr?: unknown[] };

/** Reads them. @throws NftError */
export async function hostPortRules(run: RunTool, netns?: number | string): Promise<HostPortRules> {
  const tables: Record<Family, Chains[]> = { 4: [new Chains()], 6: [new Chains()] };
  const commented = new Set<string>();
  const { nftables } = JSON.parse(await run("nft", ["-j", "list", "ruleset"])) as { nftables: { rule?: NftRule }[] };
  for (const { rule } of nftables) {
    if (!rule) continue;
    const { family, table, chain, comment, expr = [] } = rule;
    if (table === NATIVE_TABLE && comment !== undefined) commented.add(comment);
    const of = NFT_FAMILY[family];
    if (of !== undefined && table === "nat") tables[of][0]?.add(chain, targetOf(expr));
  }
  for (const family of FAMILIES) {
    if (!legacyTables(family, netns).includes("nat")) continue;
    const chains = new Chains();
    for (const line of (await run(LEGACY[family], ["-w", LOCK_WAIT, "-t", "nat", "-S"])).split("\n")) {
      const [, chain] = /^-A (\S+)/.exec(line) ?? [];
      if (chain !== undefined) chains.add(chain, / -j (\S+)/.exec(line)?.[1]);
    }
    tables[family].push(chains);
  }
  return {
    has: (network, containerId, family) =>
      commented.has(containerId) || tables[family].some((chains) => chains.reaches(chainOf(network, containerId))),
  };
}

/** Where a rule jumps to, if it does. */
function targetOf(expressions: readonly unknown[]): string | undefined {
  for (const expression of expressions as { jump?: { target?: string }; goto?: { target?: string } }[]) {
    const target = (expression.jump ?? expression.goto)?.target;
    if (target !== undefined) return target;
  }
  return undefined;
}
