/**
 * Where the namespaces of pod networks are found by whoever is beside the agent. On a node they have names. In the agent's container only those have
 * that were there before it (see dataplane/netns), and the agent has all of them open: what a process has open can be opened once more.
 */
import { readdirSync, readlinkSync } from "node:fs";
import { listNetworkNetns, networkNetnsPath } from "../../dataplane/netns/index.ts";
import { Rtnl } from "../../netlink/index.ts";
import { processIds, SysError } from "../../sys/index.ts";
import { agentStatus } from "./client.ts";
import { CommandError } from "../command.ts";

/** A pod network of this node beside the default one. */
export interface Further {
  network: string;
  /** A path at which its namespace can be entered. */
  netns: string;
}

/** Those of the agent's; where it does not answer, those that have a name here. @param timeoutMs how long the agent may take */
export async function furtherNetworks(socket: string, timeoutMs: number): Promise<Further[]> {
  try {
    const { networks } = await agentStatus(socket, timeoutMs);
    return networks.slice(1).map(({ network, vni }) => ({ network, netns: pathOf(network, vni) }));
  } catch (error) {
    // Told under its status.
    if (!(error instanceof CommandError)) throw error;
    return listNetworkNetns().map((network) => ({ network, netns: networkNetnsPath(network) }));
  }
}

const pathOf = (network: string, vni: number): string => reachable(networkNetnsPath(network), vni);

/** Where a pod network's namespace can be entered from here. @param named its path on the node, which comes back where it is found nowhere */
export function reachable(named: string, vni: number): string {
  if (hasTunnel(named, vni)) return named;
  for (const path of openNamespaces()) if (hasTunnel(path, vni)) return path;
  return named;
}

/** Network namespaces that processes have open, each once. */
function* openNamespaces(): Generator<string> {
  const seen = new Set<string>();
  for (const pid of processIds())
    for (const fd of whileThere(() => readdirSync(`/proc/${pid}/fd`)) ?? []) {
      const path = `/proc/${pid}/fd/${fd}`;
      const target = whileThere(() => readlinkSync(path));
      if (!target?.startsWith("net:[") || seen.has(target)) continue;
      seen.add(target);
      yield path;
    }
}

/** Whether a path leads to a namespace with the device of a VNI. */
function hasTunnel(netns: string, vni: number): boolean {
  try {
    using rtnl = Rtnl.open({ netns });
    return rtnl.link(`sky.${vni}`) !== undefined;
  } catch (error) {
    // There is none, or none that may be entered.
    if (error instanceof SysError) return false;
    throw error;
  }
}

/** Processes end while one looks at them, and some may not be looked at. */
function whileThere<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (["ENOENT", "ESRCH", "EACCES", "EPERM"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
}
