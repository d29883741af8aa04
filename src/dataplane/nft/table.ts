/**
 * Putting the table in place and taking it away. When the kernel refuses it, what it lacks is found out by asking for
 * one feature at a time, without changing anything (`nft --check`), so that the error has a name.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { NftError, type RunTool } from "./run.ts";
import {
  ALL_FEATURES,
  type AnswersOf,
  type NetworkRules,
  type NftFeatures,
  OWN_TABLES,
  renderRuleset,
  TABLE,
} from "./rules/ruleset.ts";

/** A table that needs one feature only. */
const PROBES: Record<keyof NftFeatures, string> = {
  fib: "chain c { type filter hook prerouting priority raw; fib saddr . iif oif missing drop; }",
  fullyRandom: "chain c { type nat hook postrouting priority srcnat; masquerade fully-random; }",
  arp: "chain c { type filter hook input priority filter; arp operation request drop; }",
  bridge: "chain c { type filter hook prerouting priority -300; ether type arp drop; }",
  innerSource: `set s { typeof ip saddr . @th,336,24; elements = { 192.0.2.1 . 0x0a0000 }; }
chain c { type filter hook input priority raw; ip saddr . @th,336,24 @s drop; ip saddr . (@th,336,24 & 0xfffffe) @s drop; }`,
};

const FAMILY: Record<keyof NftFeatures, string> = {
  fib: "inet",
  fullyRandom: "inet",
  arp: "arp",
  bridge: "bridge",
  innerSource: "inet",
};

/** What a missing feature means, for the reader. */
export const WITHOUT: Record<keyof NftFeatures, string> = {
  fib: "this kernel has no nft_fib_inet: pods can send from addresses that are not theirs",
  fullyRandom: "this kernel has no fully random masquerading: concurrent connections may lose their first packet",
  arp: "this kernel has no nf_tables_arp: pods can fill this node's table of neighbours by ARP",
  bridge:
    "this kernel has no nf_tables_bridge: pods of bridged networks can send from each other's IP addresses, and other nodes do not hear that an address moves",
  innerSource:
    "this kernel, or this nft, cannot compare what is inside a VXLAN packet with its sender: another node can send in the name of pods that are not its own",
};

/** Applies a ruleset's text in one transaction. @throws NftError */
export async function applyRuleset(run: RunTool, text: string): Promise<void> {
  await run("nft", ["-f", "-"], text);
}

/** Which features this kernel and this nft have. @throws NftError when nft itself cannot be run */
export async function probeFeatures(run: RunTool): Promise<NftFeatures> {
  const features = { ...ALL_FEATURES };
  for (const feature of Object.keys(PROBES) as (keyof NftFeatures)[]) {
    try {
      await run(
        "nft",
        ["--check", "-f", "-"],
        `table ${FAMILY[feature]} ${TABLE}_probe {\n${PROBES[feature].replaceAll("; ", "\n")}\n}\n`,
      );
    } catch (error) {
      if (!(error instanceof NftError) || error.reason !== "refused") throw error;
      features[feature] = false;
    }
  }
  return features;
}

/** Renders for what the kernel can do and applies. Returns the features used. @throws NftError, RangeError */
export async function applyNetworks(
  run: RunTool,
  networks: readonly NetworkRules[],
  features: NftFeatures,
  uplinks = false,
  answers?: AnswersOf,
): Promise<NftFeatures> {
  try {
    const rules = renderRuleset(networks, features, uplinks, answers);
    // Of thousands of peers that took milliseconds, and so does the start of a program: a turn each.
    await nextTurn();
    await applyRuleset(run, rules);
    return features;
  } catch (error) {
    if (!(error instanceof NftError) || error.reason !== "refused") throw error;
    const found = await probeFeatures(run);
    if ((Object.keys(found) as (keyof NftFeatures)[]).every((name) => found[name] === features[name])) throw error;
    await applyRuleset(run, renderRuleset(networks, found, uplinks, answers));
    return found;
  }
}

/** Deletes tables that are there. Returns whether there was one. @param own "inet skylane" @throws NftError */
export async function removeTables(run: RunTool, own: readonly string[] = OWN_TABLES): Promise<boolean> {
  const tables = (await run("nft", ["list", "tables"])).split("\n");
  const there = own.filter((table) => tables.includes(`table ${table}`));
  if (there.length > 0)
    await run("nft", ["-f", "-"], there.map((table) => `add table ${table}\ndelete table ${table}\n`).join(""));
  return there.length > 0;
}
