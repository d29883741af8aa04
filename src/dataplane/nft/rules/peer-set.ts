/** From which underlay addresses the packet filter lets VXLAN in, as it is in the kernel. */
import type { Family } from "../../../addr/index.ts";
import type { RunTool } from "../run.ts";
import { TABLE } from "./ruleset.ts";

/** The set's elements, canonical. @throws NftError where there is no such set */
export async function knownPeers(run: RunTool, vni: number, family: Family): Promise<ReadonlySet<string>> {
  const { nftables } = JSON.parse(await run("nft", ["-j", "list", "set", "inet", TABLE, `peers${family}_${vni}`])) as {
    nftables: { set?: { elem?: unknown[] } }[];
  };
  return new Set(
    nftables.flatMap(({ set }) => set?.elem ?? []).filter((element): element is string => typeof element === "string"),
  );
}
