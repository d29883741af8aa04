/** Everything that can be said about a node from its facts, in the order in which an operator would look. Pure. */
import type { Facts } from "../facts.ts";
import type { Finding } from "../finding.ts";
import { judgeAgent } from "./judge-agent.ts";
import { judgeEgress } from "./judge-egress.ts";
import { judgeEncryption } from "./judge-encryption.ts";
import { judgeFastPath } from "./judge-fast-path.ts";
import { judgeFlows } from "./judge-flows.ts";
import { judgeKernel } from "./judge-kernel.ts";
import { judgeOthers } from "./judge-others.ts";
import { judgeBandwidth } from "./judge-bandwidth.ts";
import { judgeRoutes } from "./judge-routes.ts";
import { judgePeers } from "./judge-peers.ts";
import { judgeProbes } from "./judge-probes.ts";

/** All findings. */
export const judge = (facts: Facts): Finding[] => [
  ...judgeKernel(facts),
  ...judgeAgent(facts),
  ...judgeOthers(facts),
  ...judgeRoutes(facts),
  ...judgeBandwidth(facts),
  ...judgeEgress(facts),
  ...judgePeers(facts),
  ...judgeProbes(facts),
  ...judgeEncryption(facts),
  ...judgeFastPath(facts),
  ...judgeFlows(facts),
];
