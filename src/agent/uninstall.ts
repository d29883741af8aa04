/**
 * Takes everything of Skylane's off a node, and nothing else: what is ours is known by device name and kind, link group,
 * route protocol, table name and file. It needs no running agent, and refuses to work against one, which would
 * make everything again. One thing that cannot be removed does not keep the others.
 *
 * Forwarding stays switched on: by now other software may rely on it, and nothing says that it was Skylane's.
 */
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CHAIN_ANSWER, CHAIN_QUESTION, DURATIONS_FILE } from "../cni/index.ts";
import { type AgentConfig, parsePublished } from "../config/index.ts";
import { type ConnectOptions, connect, patchNodeAnnotations } from "../kube/index.ts";
import { errorText } from "../log/index.ts";
import { describeOperation, type Link, Rtnl, SHAPER_LINK_GROUP } from "../netlink/index.ts";
import { listNetworkNetns, openNetworkNetns, networkNetnsName, networkNetnsPath } from "../dataplane/netns/index.ts";
import { removeFirewall, removeTables, toolRunner } from "../dataplane/nft/index.ts";
import { BANDWIDTH } from "../dataplane/bandwidth/index.ts";
import { EGRESS, EGRESS_TABLE, removeEgress } from "../dataplane/egress/index.ts";
import { removePrograms } from "../dataplane/fast-path/index.ts";
import { removeEncryption, WIREGUARD } from "../dataplane/encryption/index.ts";
import { HOST_PORT_TABLE, HOST_PORTS } from "../dataplane/host-ports/index.ts";
import { POLICY_TABLE } from "../policy/index.ts";
import { removeOverlay } from "../dataplane/vxlan/index.ts";
import { VTEP_ANNOTATION } from "../peers/index.ts";
import { EGRESS_ANNOTATION } from "../egress/index.ts";
import { POLICY_FAULTS_ANNOTATION } from "../policy/index.ts";
import { listPodLinks } from "../dataplane/pod-link/index.ts";
import { forgetNetns, type HeldLock, tryLock } from "../sys/index.ts";
import { CNI_SOCKET, GONE, isOurConflist, LAUNCHER_KEY } from "../cni-server/index.ts";
import { lockPath, removeDrafts } from "../host/index.ts";
import { SOCKET_NAME } from "./serving.ts";
import { removeUplinks } from "../dataplane/uplink/index.ts";

/** What to take away, and how far to go. */
export interface UninstallOptions {
  runDir: string;
  dataDir: string;
  cni: Pick<AgentConfig["cni"], "confDir" | "confName">;
  /** Whose annotations to remove, and how to reach the API server; absent: they are left. */
  node?: { name: string; connect: ConnectOptions };
  /** Also cut off pods that are still attached; without it their presence is an {@link UninstallRefused}. */
  pods?: boolean;
  /** Work although an agent runs. */
  force?: boolean;
}

/** What was done. */
export interface UninstallReport {
  /** In words, one a thing. */
  removed: string[];
  /** What could not be removed, and why. */
  problems: string[];
}

/** Nothing was removed, for a reason that the operator can do something about. */
export class UninstallRefused extends Error {
  override readonly name = "UninstallRefused";
}

/** How long the API server has, in milliseconds. */
const API_MS = 5_000;
/** Folders of the data directory; an operator's own files beside them stay. */
const DATA = ["attachments", BANDWIDTH, "cache", EGRESS, GONE, HOST_PORTS, "ipam", "networks", WIREGUARD];

/** Uninstalls. @throws UninstallRefused while an agent runs or pods are attached */
export async function uninstall(options: UninstallOptions): Promise<UninstallReport> {
  const report: UninstallReport = { removed: [], problems: [] };
  const lock = takeLock(options);
  try {
    const attempt = async (what: string, work: () => string[] | Promise<string[]>): Promise<void> => {
      try {
        report.removed.push(...(await work()));
      } catch (error) {
        report.problems.push(`${what}: ${errorText(error)}`);
      }
    };
    using rtnl = Rtnl.open();
    const podLinks = [...listPodLinks(rtnl), ...listNetworkNetns().flatMap(podLinksIn)];
    if (podLinks.length > 0 && !options.pods) {
      const names = podLinks.slice(0, 5).map(({ alias, name }) => alias ?? name);
      const more = podLinks.length > names.length ? " …" : "";
      throw new UninstallRefused(
        `${podLinks.length} pod interfaces are still attached (${names.join(", ")}${more}): drain the node first, or cut them off with --pods`,
      );
    }
    // First what would bring new pods, then what carries them.
    await attempt("CNI configuration", () => removeConflist(options.cni));
    await attempt("published state", () => removePublished(options.runDir));
    await attempt("Node annotations", () => removeAnnotations(options.node));
    await attempt("uplinks", () => removeUplinks(rtnl));
    await attempt("egress gateways", () => removeEgress(rtnl, options.dataDir));
    await attempt("fast path", () => removePrograms(rtnl));
    await attempt("overlay", () => {
      const { removed, failures } = removeOverlay(rtnl, { podLinks: listPodLinks(rtnl) });
      for (const { error } of failures) report.problems.push(error.message);
      return removed.map((operation) => describeOperation(operation).replace(/^deleting /, ""));
    });
    await attempt("encryption", () => removeEncryption(rtnl));
    await attempt("networks", () => listNetworkNetns().map(removeNetns));
    await attempt("packet filter", () => removeFirewall());
    await attempt("network policies", () => removeTable(POLICY_TABLE));
    await attempt("bandwidth limits", () => removeShapers(rtnl));
    await attempt("host ports", () => removeTable(HOST_PORT_TABLE));
    await attempt("egress gateways", () => removeTable(EGRESS_TABLE));
    for (const name of DATA) await attempt("state", () => removeTree(join(options.dataDir, name)));
  } finally {
    lock?.release();
  }
  report.removed.push(...removeRest(options));
  return report;
}

/** Takes away the devices in which waits what limited pods send; returns their names. @throws NetlinkError */
function removeShapers(rtnl: Rtnl): string[] {
  const devices = rtnl.links().filter(({ kind, group }) => kind === "ifb" && group === SHAPER_LINK_GROUP);
  return devices.map(({ index, name }) => {
    rtnl.execute({ op: "del", kind: "link", link: { index, name } });
    return `ifb device ${name}`;
  });
}

/** Takes away a table of family inet beside the main one; returns what there was. @throws NftError */
async function removeTable(name: string): Promise<string[]> {
  const table = `inet ${name}`;
  return (await removeTables(toolRunner(), [table])) ? [`nftables table ${table}`] : [];
}

/** Pods' links whose host ends are in a network's namespace. */
function podLinksIn(network: string): Link[] {
  using netns = openNetworkNetns(network);
  if (!netns) return [];
  using rtnl = Rtnl.open({ netns: netns.fd });
  return listPodLinks(rtnl);
}

/** Takes a network's namespace away with all that is in it; returns its name. @throws SysError, NetlinkError */
function removeNetns(network: string): string {
  const name = `network namespace ${networkNetnsName(network)}`;
  const netns = openNetworkNetns(network);
  if (netns) {
    try {
      using rtnl = Rtnl.open({ netns: netns.fd });
      // At once, whoever still has the namespace open: the VNI is free then.
      const [failure] = removeOverlay(rtnl, { podLinks: listPodLinks(rtnl) }).failures;
      if (failure) throw failure.error;
    } finally {
      netns.close();
    }
  }
  forgetNetns(networkNetnsPath(network));
  return name;
}

function takeLock({ runDir, force }: UninstallOptions): HeldLock | undefined {
  if (!existsSync(runDir)) return undefined;
  const lock = tryLock(lockPath(runDir));
  if (!lock && !force) {
    throw new UninstallRefused(
      "skylane-agent runs on this node and would make everything again: stop it first (delete the DaemonSet), or use --force",
    );
  }
  return lock;
}

function removeConflist({ confDir, confName }: UninstallOptions["cni"]): string[] {
  const path = join(confDir, confName);
  removeDrafts(confDir, (name) => name === confName);
  if (!existsSync(path)) return [];
  if (!isOurConflist(readFileSync(path, "utf8"))) throw new Error(`${path} is not what the agent writes; it was left`);
  rmSync(path);
  return [path];
}

function removePublished(runDir: string): string[] {
  if (!existsSync(runDir)) return [];
  removeDrafts(runDir, (name) => name === SOCKET_NAME || name === CNI_SOCKET || name.endsWith(".json"));
  const removed: string[] = [];
  for (const name of readdirSync(runDir).filter((file) => file.endsWith(".json"))) {
    const path = join(runDir, name);
    parsePublished(readFileSync(path, "utf8"), path); // another program's file would not pass
    rmSync(path);
    removed.push(path);
  }
  return removed;
}

/** What this node has said of itself on its Node. */
const OURS = { [VTEP_ANNOTATION]: null, [POLICY_FAULTS_ANNOTATION]: null, [EGRESS_ANNOTATION]: null };

async function removeAnnotations(node: UninstallOptions["node"]): Promise<string[]> {
  if (!node) return [];
  const keys = Object.keys(OURS);
  const client = connect(node.connect);
  try {
    await patchNodeAnnotations(client, node.name, OURS, AbortSignal.timeout(API_MS));
    return [`annotations ${keys.join(", ")} of Node ${node.name}`];
  } catch (error) {
    const command = `kubectl annotate node ${node.name} ${keys.map((key) => `${key}-`).join(" ")}`;
    throw new Error(`the API server did not remove it; do it with: ${command}`, { cause: error });
  } finally {
    await client.close();
  }
}

function removeTree(path: string): string[] {
  if (!existsSync(path)) return [];
  rmSync(path, { recursive: true });
  return [path];
}

/** What is left of our directories, and they themselves where nobody else has put anything there. */
function removeRest({ runDir, dataDir }: UninstallOptions): string[] {
  const removed: string[] = [];
  const files = [SOCKET_NAME, CNI_SOCKET, DURATIONS_FILE, `${DURATIONS_FILE}.taken`, CHAIN_QUESTION, CHAIN_ANSWER];
  for (const name of files) rmSync(join(runDir, name), { force: true });
  rmSync(lockPath(runDir), { force: true });
  rmSync(join(dataDir, LAUNCHER_KEY), { force: true });
  for (const directory of [runDir, dataDir]) {
    if (!existsSync(directory) || readdirSync(directory).length > 0) continue;
    rmdirSync(directory);
    removed.push(directory);
  }
  return removed;
}
