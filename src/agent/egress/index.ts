/** Egress gateways as the agent has them: with what it knows of the cluster and of this machine. */
import type { AgentConfig } from "../../config/index.ts";
import { EgressKeeper, rememberAnswers, rememberedAnswers } from "../../dataplane/egress/index.ts";
import { EgressGateways, Transits } from "../../egress/index.ts";
import { ipamDir } from "../../cni/index.ts";
import { leadsToPod } from "../../dataplane/pod-link/index.ts";
import { Ipam } from "../../ipam/local/index.ts";
import type { NodeFirewall } from "../../firewall/index.ts";
import type { KubeClient } from "../../kube/index.ts";
import type { Logger } from "../../log/index.ts";
import type { MonitorListener, Rtnl } from "../../netlink/index.ts";
import type { Listening } from "../../netlink/index.ts";
import type { Elsewhere } from "../../nodes/index.ts";
import type { Metrics } from "../../observe/index.ts";
import type { Grants } from "../grants.ts";
import { hostPrefix } from "../../addr/index.ts";

export interface EgressOfAgentOptions {
  config: AgentConfig;
  client: KubeClient;
  log: Logger;
  metrics: Metrics;
  rtnl: Rtnl;
  firewall: Pick<NodeFirewall, "setAnswers">;
  grants: Grants;
  elsewhere: () => Elsewhere;
  watch: (listener: MonitorListener) => Listening;
  /** Why pods of a network cannot reach what is outside of it; undefined where they can. */
  noWayOut: (network: string) => string | undefined;
  /** Whether this agent writes for all. */
  leads: () => boolean;
  /** Whether there may be any is otherwise. */
  presenceChanged: () => void;
}

/** Makes them. @throws Error of fs when what was written down cannot be read */
export function egressOf(options: EgressOfAgentOptions): EgressGateways {
  const { config, client, log, metrics, rtnl, firewall, grants, elsewhere, watch, leads, presenceChanged, noWayOut } =
    options;
  const { dataDir, network, nodeName, clusterCidrs } = config;
  const inUse = (ip: string): boolean => leadsToPod(rtnl, ip);
  const onRepair = (count: number): void => metrics.repairs.inc({ network, kind: "egress" }, count);
  // Before the first rules are put in place: an agent that starts again cuts nobody off.
  firewall.setAnswers(network, rememberedAnswers(dataDir));
  const egress = new EgressGateways({
    client,
    log,
    nodeName,
    keeper: new EgressKeeper({ dataDir, log, watch, onRepair }),
    transits: new Transits({ ipam: new Ipam({ dir: ipamDir(config), warn: (message) => log.warn(message) }), inUse }),
    onRepair: () => onRepair(1),
    noWayOut,
    granted: (node) => grants.podCidrs(node),
    taken: () => {
      const { apiServer, services } = elsewhere();
      const nodeOf = (ip: string): string | undefined => grants.nodeOf(ip);
      return { nodeOf, apiServer, services, pods: clusterCidrs };
    },
    inside: () => {
      const { apiServer, services } = elsewhere();
      return [...new Set([...clusterCidrs, ...services, ...apiServer.map(hostPrefix), ...grants.all()])];
    },
    deviceOf: (ip) => rtnl.addresses().find((one) => one.ip === ip)?.ifindex,
    leads,
    onPresence: presenceChanged,
    onAnswers: (answers) => {
      firewall.setAnswers(network, answers);
      rememberAnswers(dataDir, answers);
    },
  });
  metrics.beforeScrape(() => metrics.sampleEgress(egress.status()));
  return egress;
}
