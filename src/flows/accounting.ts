/**
 * The kernel parameters without which connection tracking neither counts packets nor looks at the clock. They are set, and set again when somebody changes
 * them, as long as flows are on; what they were before is written down, and restored when flows are off, be it by an agent that starts later.
 */
import { readSysctl, type RememberedWord, settleSysctls, withNetns, writeSysctlIfAny } from "../sys/index.ts";

const PARAMETERS = ["net.netfilter.nf_conntrack_acct", "net.netfilter.nf_conntrack_timestamp"] as const;
const NOTHING = "nothing";

/** Sets those that are not set. @param before where it is written down which were not. @returns what was set, in words. @throws SysError */
export function keepAccounting(before: Pick<RememberedWord, "word" | "remember">): string[] {
  if (before.word === undefined || before.word === NOTHING)
    before.remember(PARAMETERS.filter((key) => readSysctl(key) === "0").join() || "none");
  return settleSysctls(PARAMETERS.map((key) => [key, "1"] as const));
}

/** Sets those to 0 again that were before. @throws SysError */
export function restoreAccounting(before: Pick<RememberedWord, "word" | "remember">): void {
  const changed = (before.word ?? "").split(",");
  for (const key of PARAMETERS) if (changed.includes(key)) writeSysctlIfAny(key, "0");
  if (before.word !== undefined) before.remember(NOTHING);
}

/** Sets them in the network namespace of a pod network, which is ours, so that they are 0 there otherwise. @param on whether to, or to set them to 0 @returns and @throws see above */
export const accountIn = (netns: number | string, on: boolean): string[] =>
  withNetns(netns, () => settleSysctls(PARAMETERS.map((key) => [key, on ? "1" : "0"] as const)));
