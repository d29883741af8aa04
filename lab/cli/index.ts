/** All commands of the lab. */
import type { Command } from "../../src/cli/index.ts";
import { claimCommands } from "./claims.ts";
import { demoCommand } from "./demo.ts";
import { faultCommands } from "./faults.ts";
import { hiddenCommands } from "./hidden.ts";
import { lifecycleCommands } from "./lifecycle.ts";
import { networkCommands } from "./networks.ts";
import { nodeCommands } from "./nodes.ts";
import { podCommands } from "./pods.ts";
import { policyCommands } from "./policies.ts";
import { uiCommand } from "./ui.ts";

/** In the order of the help. */
export const labCommands: readonly Command[] = [
  ...lifecycleCommands,
  ...podCommands,
  ...networkCommands,
  ...claimCommands,
  ...policyCommands,
  ...nodeCommands,
  ...faultCommands,
  uiCommand,
  demoCommand,
  ...hiddenCommands,
];
