/** The pods of this node in a network, by the records of their attachments: they say so also where a pod's link, or the agent, is gone. */
import { existsSync } from "node:fs";
import { ipamDir, newAttachments } from "../../../cni/index.ts";
import { hostIfname, podMacOf } from "../../../dataplane/pod-link/index.ts";
import { Ipam } from "../../../ipam/local/index.ts";
import type { Rtnl } from "../../../netlink/index.ts";
import type { LocalPod } from "../plan/knowledge.ts";
import { type Kernel, Unreachable } from "./kernel.ts";

/** @param bridged pods are known by the MAC that they were given @throws Error with a POSIX `code`; IpamStorageError */
export function localPods(
  kernel: Kernel,
  dataDir: string,
  network: string,
  hostNetns: string | undefined,
  bridged: boolean,
): LocalPod[] {
  const config = { dataDir, network };
  const ips = new Map<string, string[]>();
  for (const { ip, owner } of new Ipam({ dir: ipamDir(config) }).list()) {
    const key = hostIfname(owner.containerId, owner.ifname);
    ips.set(key, [...(ips.get(key) ?? []), ip]);
  }
  const aliases = aliasesIn(kernel, hostNetns);
  return newAttachments(config)
    .list()
    .flatMap(({ owner: { containerId, ifname, netns }, mac }) => {
      if (netns === undefined) return [];
      const host = hostIfname(containerId, ifname);
      const path = visible(netns);
      const given = mac ?? podMacOf(containerId, ifname);
      return {
        name: aliases.get(host)?.split("/").slice(0, 2).join("/") ?? `container ${containerId.slice(0, 13)}`,
        netns: path,
        ifname,
        hostIfname: host,
        ips: ips.get(host) ?? [],
        mac: bridged ? given : (macOf(kernel, path, ifname) ?? given),
      };
    });
}

/** Whose each host end is, as it says itself. */
function aliasesIn(kernel: Kernel, netns: string | undefined): ReadonlyMap<string, string> {
  const rtnl = tried(() => kernel.in(netns));
  return new Map((rtnl?.links() ?? []).flatMap(({ name, alias }) => (alias ? [[name, alias] as const] : [])));
}

const macOf = (kernel: Kernel, netns: string, ifname: string): string | undefined =>
  tried((): Rtnl => kernel.in(netns))?.link(ifname)?.mac;

/** What cannot be entered is said where it is looked at. */
function tried<T>(fn: () => T): T | undefined {
  try {
    return fn();
  } catch (error) {
    if (error instanceof Unreachable) return undefined;
    throw error;
  }
}

/** In a container /var/run may be no link to /run. */
function visible(netns: string): string {
  const short = netns.replace(/^\/var\/run\//, "/run/");
  return existsSync(netns) || !existsSync(short) ? netns : short;
}
