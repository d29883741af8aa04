/** What limits pods' bandwidth. */
import type { Facts } from "../facts.ts";
import { fail, type Finding, ok, skip, some } from "../finding.ts";

/** Nothing where no pod is limited. */
export function judgeBandwidth({ limits }: Facts): Finding[] {
  const name = "bandwidth";
  if ("error" in limits) return [skip(name, `bandwidth limits cannot be looked at from here: ${limits.error}`)];
  const { all, lost } = limits.value;
  if (all === 0) return [];
  if (lost.length === 0)
    return [ok(name, `limits of ${all} ${all === 1 ? "interface is" : "interfaces are"} in force`)];
  return [
    fail(
      name,
      some(lost.map(({ pod, why }) => `${pod}: ${why}`)),
      "These pods receive or send more than they should. skylane-agent puts limits back whenever somebody removes them: it does not run, or the kernel refuses them.",
      "See skylanectl status, and the log of the skylane-agent pod of this node.",
    ),
  ];
}
