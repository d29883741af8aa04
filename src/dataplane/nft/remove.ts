/** Taking everything of ours out of the packet filter, for the uninstallation. */
import { removeForwarding } from "./forward-policy.ts";
import { toolRunner, type ToolOptions } from "./run.ts";
import { TABLE } from "./rules/ruleset.ts";
import { removeTables } from "./table.ts";

/**
 * Removes the table and what accepts our traffic in FORWARD chains. Returns what was removed, in words.
 * @throws NftError
 */
export async function removeFirewall(options: ToolOptions = {}): Promise<string[]> {
  const run = toolRunner(options);
  const removed = (await removeTables(run)) ? [`nftables table inet ${TABLE}`] : [];
  return [...removed, ...(await removeForwarding(run, options.netns))];
}
