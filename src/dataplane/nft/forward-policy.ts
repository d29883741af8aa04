/**
 * Forwarding where somebody's FORWARD policy is "drop" (Docker sets it so). No rule in a table of ours can help there:
 * in nftables a packet must be accepted by every table's chain. But a policy speaks only for packets that no
 * rule of its own chain decided. So, and only where the policy is drop, FORWARD gets one more rule, at its end: a jump to
 * a chain of ours, SKYLANE-FORWARD, that accepts what comes from or goes to an interface of Skylane's (`sky…`, pods
 * and overlay). Nobody's rule is changed or overruled: all of them have been asked before. It goes when the policy is
 * "accept" again, and with the uninstallation.
 *
 * There may be four such chains: of iptables-nft (tables `ip filter` and `ip6 filter`, reached through nft) and of
 * legacy iptables (reached through its own tools, and only where the kernel has such a table, since asking
 * iptables-legacy for one would make it).
 */
import type { Family } from "../../addr/index.ts";
import { LEGACY, legacyTables, LOCK_WAIT } from "./legacy.ts";
import { isThere } from "./presence.ts";
import { NftError, type RunTool } from "./run.ts";

/** The chain that is ours, in somebody else's table. */
export const FORWARD_CHAIN = "SKYLANE-FORWARD";

export type Backend = "nft" | "legacy";

/** One FORWARD chain of a host. */
export interface ForwardChain {
  backend: Backend;
  family: Family;
  policyDrop: boolean;
  /** Our chain is there with its two rules and no other, and FORWARD jumps to it. */
  accepts: boolean;
  /** Anything of ours is there. */
  touched: boolean;
  /** Handles of the rules in FORWARD that jump to our chain (nft only). */
  jumps: readonly number[];
}

/** What was changed. */
export interface ForwardReport {
  /** In words. */
  did: string[];
  /** A chain accepted our traffic in part: somebody has changed what was ours. */
  restored: boolean;
  /** Chains whose policy is drop, all of which accept Skylane's traffic now. */
  dropping: number;
}

const NFT_FAMILY = { 4: "ip", 6: "ip6" } as const;
/** Rules of our chain, as iptables -S shows them and as its input takes them. */
const LEGACY_RULES = [`-A ${FORWARD_CHAIN} -i sky+ -j ACCEPT`, `-A ${FORWARD_CHAIN} -o sky+ -j ACCEPT`];

/**
 * Makes every FORWARD chain whose policy is drop accept our traffic, and takes back what is not needed.
 * @param legacy the kernel's list of legacy tables
 * @param there the kernel's word on whether there is a chain of nftables
 * @throws NftError
 */
export async function ensureForwarding(
  run: RunTool,
  netns?: number | string,
  legacy = legacyTables,
  there = isThere,
): Promise<ForwardReport> {
  const did: string[] = [];
  let dropping = 0;
  let restored = false;
  for (const chain of await forwardChains(run, netns, legacy, there)) {
    if (chain.policyDrop) dropping++;
    const name = `${chain.backend === "nft" ? "nft" : "legacy"} iptables, IPv${chain.family}`;
    if (chain.policyDrop && !chain.accepts) {
      await addAccept(run, chain);
      restored ||= chain.touched || chain.jumps.length > 0;
      did.push(`accepted Skylane's traffic in FORWARD (${name}), whose policy is drop`);
    } else if (!chain.policyDrop && chain.touched) {
      await removeAccept(run, chain);
      did.push(`removed ${FORWARD_CHAIN} (${name}), since the policy of FORWARD is accept`);
    }
  }
  return { did, restored, dropping };
}

/** Takes everything of ours out of every FORWARD chain. Returns what was removed, in words. @throws NftError */
export async function removeForwarding(run: RunTool, netns?: number | string): Promise<string[]> {
  const removed: string[] = [];
  for (const chain of await forwardChains(run, netns)) {
    if (!chain.touched) continue;
    await removeAccept(run, chain);
    removed.push(`chain ${FORWARD_CHAIN} (${chain.backend} iptables, IPv${chain.family})`);
  }
  return removed;
}

/** Whether the kernel has a filter table of legacy iptables in this namespace, without making one. */
export const hasLegacyTable = (family: Family, netns?: number | string): boolean =>
  legacyTables(family, netns).includes("filter");

/**
 * All FORWARD chains that there are.
 * @throws NftError; reason `missing` when there is a legacy table and no legacy tool, so that its policy cannot be seen
 */
export async function forwardChains(
  run: RunTool,
  netns?: number | string,
  legacy = legacyTables,
  there = isThere,
): Promise<ForwardChain[]> {
  const chains = await nftChains(async (family, chain) => {
    const place = { family: NFT_FAMILY[family], table: "filter", chain };
    return there(place, netns) === false ? undefined : await nftChain(run, family, chain);
  });
  for (const family of [4, 6] as const) {
    if (legacy(family, netns).includes("filter")) chains.push(await legacyChain(run, family));
  }
  return chains;
}

interface NftObject {
  chain?: { policy?: string };
  rule?: { handle: number; expr?: Record<string, unknown>[] };
}

/** A chain of a filter table with its rules; undefined where there is none. Only this chain is read: others have thousands. */
async function nftChain(run: RunTool, family: Family, chain: string): Promise<NftObject[] | undefined> {
  try {
    const text = await run("nft", ["-j", "-a", "list", "chain", NFT_FAMILY[family], "filter", chain]);
    return (JSON.parse(text) as { nftables: NftObject[] }).nftables;
  } catch (error) {
    if (error instanceof NftError && error.stderr.includes("No such file or directory")) return undefined;
    throw error;
  }
}

async function nftChains(
  read: (family: Family, chain: string) => Promise<NftObject[] | undefined>,
): Promise<ForwardChain[]> {
  const found: ForwardChain[] = [];
  for (const family of [4, 6] as const) {
    const forward = await read(family, "FORWARD");
    if (!forward) continue;
    const ours = await read(family, FORWARD_CHAIN);
    const policyDrop = forward.some(({ chain }) => chain?.policy === "drop");
    const jumps = forward.flatMap(({ rule }) => (rule?.expr?.some(jumpsToUs) ? [rule.handle] : []));
    const accepts = ours !== undefined && nftAccepts(ours) && jumps.length === 1;
    found.push({ backend: "nft", family, policyDrop, accepts, touched: ours !== undefined, jumps });
  }
  return found;
}

const jumpsToUs = (expr: Record<string, unknown>): boolean =>
  (expr["jump"] as { target?: string } | undefined)?.target === FORWARD_CHAIN;

function nftAccepts(objects: readonly NftObject[]): boolean {
  const rules = objects.flatMap(({ rule }) => (rule ? [rule.expr ?? []] : []));
  // Counters are left out of the comparison: they count.
  const shapes = rules.map((expr) => JSON.stringify(expr.filter((part) => !("counter" in part))));
  const wanted = ["iifname", "oifname"].map((key) =>
    JSON.stringify([{ match: { op: "==", left: { meta: { key } }, right: "sky*" } }, { accept: null }]),
  );
  return shapes.length === wanted.length && shapes.every((shape, i) => shape === wanted[i]);
}

async function legacyChain(run: RunTool, family: Family): Promise<ForwardChain> {
  const rules = (await run(LEGACY[family], ["-w", LOCK_WAIT, "-S"])).split("\n");
  const jumps = rules.filter((rule) => rule === `-A FORWARD -j ${FORWARD_CHAIN}`).length;
  const touched = rules.includes(`-N ${FORWARD_CHAIN}`);
  const own = rules.filter((rule) => rule.startsWith(`-A ${FORWARD_CHAIN} `));
  return {
    backend: "legacy",
    family,
    policyDrop: rules.includes("-P FORWARD DROP"),
    accepts: touched && jumps === 1 && own.join("\n") === LEGACY_RULES.join("\n"),
    touched,
    jumps: Array.from({ length: jumps }, (_, i) => i),
  };
}

/** Both ways are one transaction: there is no moment with a chain that is half filled or not jumped to. */
async function addAccept(run: RunTool, { backend, family, jumps }: ForwardChain): Promise<void> {
  if (backend === "nft") {
    const chain = `${NFT_FAMILY[family]} filter ${FORWARD_CHAIN}`;
    const forward = `${NFT_FAMILY[family]} filter FORWARD`;
    const lines = [
      `add chain ${chain}`,
      `flush chain ${chain}`,
      `add rule ${chain} iifname "sky*" counter accept`,
      `add rule ${chain} oifname "sky*" counter accept`,
      ...jumps.slice(1).map((handle) => `delete rule ${forward} handle ${handle}`),
      ...(jumps.length === 0 ? [`add rule ${forward} counter jump ${FORWARD_CHAIN}`] : []),
    ];
    await run("nft", ["-f", "-"], `${lines.join("\n")}\n`);
    return;
  }
  await restore(run, family, [
    `:${FORWARD_CHAIN} - [0:0]`,
    ...jumps.slice(1).map(() => `-D FORWARD -j ${FORWARD_CHAIN}`),
    ...LEGACY_RULES,
    ...(jumps.length === 0 ? [`-A FORWARD -j ${FORWARD_CHAIN}`] : []),
  ]);
}

async function removeAccept(run: RunTool, { backend, family, jumps }: ForwardChain): Promise<void> {
  if (backend === "nft") {
    const chain = `${NFT_FAMILY[family]} filter ${FORWARD_CHAIN}`;
    const forward = `${NFT_FAMILY[family]} filter FORWARD`;
    const lines = [
      ...jumps.map((handle) => `delete rule ${forward} handle ${handle}`),
      `flush chain ${chain}`,
      `delete chain ${chain}`,
    ];
    await run("nft", ["-f", "-"], `${lines.join("\n")}\n`);
    return;
  }
  await restore(run, family, [
    ...jumps.map(() => `-D FORWARD -j ${FORWARD_CHAIN}`),
    `-F ${FORWARD_CHAIN}`,
    `-X ${FORWARD_CHAIN}`,
  ]);
}

async function restore(run: RunTool, family: Family, lines: readonly string[]): Promise<void> {
  await run(`${LEGACY[family]}-restore`, ["--noflush", "-w", LOCK_WAIT], `*filter\n${lines.join("\n")}\nCOMMIT\n`);
}
