/**
 * What others have in the packet filter, for telling an operator: names of chains and what base chains do with packets
 * that no rule decided. Looks only; a legacy table is asked for only where the kernel already has it, since asking
 * iptables-legacy for one would make it.
 */
import { type Family, FAMILIES } from "../../addr/index.ts";
import { LEGACY, legacyTables, LOCK_WAIT } from "./legacy.ts";
import type { RunTool } from "./run.ts";

/** A chain of anybody's. */
export interface SurveyedChain {
  /** "ip filter", "inet firewalld"; legacy tables as "legacy ip filter". */
  table: string;
  name: string;
  /** Of base chains: "forward", "input" … in lower case. */
  hook?: string;
  policy?: "accept" | "drop";
}

const LEGACY_HOOKS = new Set(["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]);

/** All chains of the namespace in which `run` runs; `netns` names it where it is not this process's own. @throws NftError */
export async function surveyChains(run: RunTool, netns?: number | string): Promise<SurveyedChain[]> {
  const chains: SurveyedChain[] = [];
  const { nftables } = JSON.parse(await run("nft", ["-j", "list", "chains"])) as {
    nftables: { chain?: { family: string; table: string; name: string; hook?: string; policy?: string } }[];
  };
  for (const { chain } of nftables) {
    if (!chain) continue;
    const { family, table, name, hook, policy } = chain;
    chains.push({
      table: `${family} ${table}`,
      name,
      ...(hook ? { hook } : {}),
      ...(policy === "drop" || policy === "accept" ? { policy } : {}),
    });
  }
  for (const family of FAMILIES)
    for (const table of legacyTables(family, netns)) chains.push(...(await legacyChains(run, family, table)));
  return chains;
}

async function legacyChains(run: RunTool, family: Family, table: string): Promise<SurveyedChain[]> {
  const rules = await run(LEGACY[family], ["-w", LOCK_WAIT, "-t", table, "-S"]);
  return rules.split("\n").flatMap((rule): SurveyedChain[] => {
    const [, kind, name, policy] = /^-([PN]) (\S+)(?: (\S+))?/.exec(rule) ?? [];
    if (!kind || !name) return [];
    const base = kind === "P" && LEGACY_HOOKS.has(name);
    return [
      {
        table: `legacy ${family === 4 ? "ip" : "ip6"} ${table}`,
        name,
        ...(base
          ? { hook: name.toLowerCase(), policy: policy === "DROP" ? ("drop" as const) : ("accept" as const) }
          : {}),
      },
    ];
  });
}
