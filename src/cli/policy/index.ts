/** What people ask about network policies. */
import type { Command } from "../command.ts";
import { policyExplainCommand } from "./explain.ts";
import { policyListCommand } from "./list.ts";

export { explainRequest, renderExplanation } from "./explain.ts";
export { renderPolicies } from "./list.ts";

export const policyCommands: readonly Command[] = [policyListCommand, policyExplainCommand];
