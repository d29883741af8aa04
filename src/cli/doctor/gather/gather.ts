/** Gathers all that the doctor judges, in an order that asks nothing twice. */
import { existsSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { Rtnl } from "../../../netlink/index.ts";
import { forwardChains, surveyChains, toolRunner } from "../../../dataplane/nft/index.ts";
import { type AgentStatus, agentStatus } from "../../agent/client.ts";
import { CommandError } from "../../command.ts";
import { describeError } from "../../main.ts";
import { type Facts, type Looked, networkOf, type Settings } from "../facts.ts";
import { confFiles, countNeighbours, gatherManagers, gatherSysctls, udpHolders, whoListens } from "./gather-host.ts";
import { gatherAstray } from "./gather-astray.ts";
import { lostLimits } from "./gather-bandwidth.ts";
import { lostHostPorts, ownHostPorts } from "./gather-host-ports.ts";
import { tryKernel } from "./gather-kernel.ts";
import { probePeers, type ProbeOptions } from "./gather-peers.ts";
import { vxlanElsewhere } from "./gather-vxlan.ts";

const MAIN = 254;

/** Where to look, and how. */
export interface GatherOptions extends ProbeOptions {
  socket: string;
  runDir: string;
  /** Where the runtimes' library keeps what it attached. */
  resultsDir: string;
  /** Where records of attachments and of host ports are. */
  dataDir: string;
  settings: Settings;
}

async function looked<T>(look: () => Promise<T>): Promise<Looked<T>> {
  try {
    return { value: await look() };
  } catch (error) {
    return { error: describeError(error) };
  }
}

async function askAgent(socket: string): Promise<Looked<AgentStatus>> {
  try {
    return { value: await agentStatus(socket) };
  } catch (error) {
    if (error instanceof CommandError) return { error: error.message };
    throw error;
  }
}

/** Looks at the node and its peers. @throws SysError, NetlinkError when not even the devices can be read */
export async function gather(options: GatherOptions): Promise<Facts> {
  const { settings, socket, runDir } = options;
  const agent = await askAgent(socket);
  using rtnl = Rtnl.open();
  const [links, addresses] = [rtnl.links(), rtnl.addresses()];
  const routes = rtnl.routes({ table: MAIN });
  const network = networkOf({ agent });
  const run = toolRunner();
  const port = network?.port ?? settings.port;
  return {
    installed:
      "value" in agent ||
      existsSync(join(settings.confDir, settings.confName)) ||
      existsSync(join(runDir, "agent.lock")) ||
      links.some(({ name, kind }) => kind === "vxlan" && /^sky\.\d+$/.test(name)),
    settings,
    agent,
    release: release(),
    kernel: await tryKernel(),
    links,
    addresses,
    routes,
    rules: rtnl.rules(),
    astray: gatherAstray(rtnl, links, addresses, routes),
    lostHostPorts: await looked(() => lostHostPorts(options.resultsDir, options.dataDir, links, run)),
    ownHostPorts: await looked(() => ownHostPorts(options.dataDir, links, run)),
    limits: await looked(async () => lostLimits(options.dataDir, links)),
    sysctls: gatherSysctls(links, addresses, routes),
    neighbours: countNeighbours(rtnl),
    confFiles: confFiles(settings.confDir),
    executable: existsSync(join(settings.binDir, "skylane")),
    chains: await looked(() => surveyChains(run)),
    forward: await looked(() => forwardChains(run)),
    udpHolders: udpHolders(port),
    vxlanElsewhere: vxlanElsewhere(port),
    listen: await whoListens(settings.listen),
    managers: gatherManagers(links),
    peers: network ? await probePeers(network, links, rtnl, options) : [],
  };
}
