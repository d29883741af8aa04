/**
 * The machine that the verbs act on: pods' links, addresses, published state. The verbs take it as a value, so
 * that their decisions can be tested without a kernel and without root.
 */
import { accessSync, constants, existsSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import { FAMILIES, type Family, familyOf } from "../addr/index.ts";
import { readPublished } from "../config/index.ts";
import { Bandwidth, LimitRecords, type PodBandwidth } from "../dataplane/bandwidth/index.ts";
import { type HostPortRecord, HostPortRecords, HostPorts, kernelTable } from "../dataplane/host-ports/index.ts";
import { Ipam, provablyDead, sandboxOf, uptime } from "../ipam/local/index.ts";
import { type Route, Rtnl } from "../netlink/index.ts";
import {
  attachPod,
  checkPod,
  detachPod,
  forgetSource,
  hostIfname,
  type PodLink,
  type PodLinkSpec,
  podMacOf,
  leadsToPod,
} from "../dataplane/pod-link/index.ts";
import { bootId, closeFd, netnsIdentity, openNetns } from "../sys/index.ts";
import { type AttachmentRecord, Attachments } from "./attachments.ts";
import type { NetConfig } from "./spec/config.ts";
import { type Duration, recordDuration } from "./durations.ts";
import type { Attachment } from "./spec/environment.ts";
import type { Linked, Prepared, PrepareRequest } from "./verbs/additional-interfaces.ts";

const MAIN_TABLE = 254;

/** What the verbs need of a machine. */
export interface Host {
  /** @throws Error with `code` ENOENT when there is no such file, EINVAL when it is no network namespace. */
  isOwnNetns(path: string): boolean;
  readPublished: typeof readPublished;
  /** The addresses of the configuration's pod network. */
  ipam(
    config: Pick<NetConfig, "dataDir" | "network">,
  ): Pick<Ipam, "reserve" | "release" | "reservationsOf" | "list" | "collect">;
  /** The records of the configuration's pod network. */
  attachments(config: Pick<NetConfig, "dataDir" | "network">): Attachments;
  /**
   * Whether a pod on this node has an address, whatever the records say. @param hostNetns of the pods' host ends, where that is not
   * the host's. The answer is for one reservation: release it by disposing of it.
   */
  inUse?(network: string, hostNetns?: string): ((ip: string) => boolean) & Partial<Disposable>;
  /** What proves later that this sandbox is dead. */
  origin(netns: string): Pick<AttachmentRecord, "since" | "uptime" | "bootId" | "netnsIdentity" | "netnsDir">;
  /**
   * What a pod is to have beside the interface that its runtime asks for, with every network of it ready on this node.
   * Only the agent can tell; absent in the plugin on its own.
   * @throws CniError with the reason: unknown, not allowed, not ready
   */
  prepare?(request: PrepareRequest): Promise<Prepared>;
  /**
   * Sees that an attachment that is to be taken back was made in the sandbox that the request names. Absent where only the runtime can ask.
   * @returns whether it was; not where its own is gone, and another one has the path. @throws CniError where it is in another one
   */
  requireOwn?(attachment: Attachment & { network: string }, netns: string): boolean;
  /**
   * The link of an attachment is there; resolves when its network serves it. As for `prepare`, only the agent has such networks.
   * @throws CniError when that cannot be
   */
  linked?(attachment: Linked): Promise<void>;
  /** An attachment of this pod network is gone, its record too. */
  left?(network: string): void | Promise<void>;
  /** @throws PodLinkError, SysError, NetlinkError; nothing is left behind then. */
  attachPod(spec: PodLinkSpec): PodLink | Promise<PodLink>;
  /** Returns, or resolves, when nothing of the link is reachable any more. @throws NetlinkError */
  detachPod(attachment: Parameters<typeof detachPod>[0]): void | Promise<void>;
  /** Takes routing by source out of a sandbox that lives on. @throws NetlinkError */
  forgetSource: typeof forgetSource;
  /** Families of which the sandbox's main table has a default route. @throws NetlinkError, SysError */
  defaultFamilies(netns: string): Family[];
  checkPod: typeof checkPod;
  hostIfname: typeof hostIfname;
  podMacOf: typeof podMacOf;
  /** Ports of the node that lead to pods. */
  hostPorts(config: Pick<NetConfig, "dataDir">): Pick<HostPorts, "map" | "unmap" | "differences">;
  /** Limits of what pods receive and send. */
  bandwidth(config: Pick<NetConfig, "dataDir">): PodBandwidth;
  /** Adds routes through an interface of the sandbox. @throws NetlinkError */
  addRoutes(netns: string, ifname: string, routes: readonly Omit<Route, "ifindex">[]): void;
  /** The sandbox's loopback interface, set up or down first if asked to. @throws NetlinkError, SysError */
  loopback(netns: string, up?: boolean): { up: boolean; addresses: string[] };
  /**
   * How a pod network stands that a pod may come to: one that this node has no part in yet is joined for it. Only the agent can tell, as
   * for `prepare`. @throws CniError with the reason why no pod can come to it now
   */
  joinable?(network: string): "joined" | "not joined";
  /** Whether a device exists and is up, on the host or in the network namespace of that path. @throws SysError, NetlinkError */
  deviceUp(name: string, netns?: string): boolean;
  /** What is wrong below a VXLAN device: the address that it sends from is gone, or its interface is down. @throws SysError, NetlinkError */
  underlayFault(name: string, netns?: string): string | undefined;
  /** Whether records and addresses can be written. @throws Error of the system why not */
  requireWritable(dataDir: string): void;
  /** Notes how long a verb took, for the metrics; never throws. */
  recordDuration(runDir: string, duration: Duration): void;
}

/** The directory of a pod network's reservations. */
export const ipamDir = (config: Pick<NetConfig, "dataDir" | "network">): string =>
  join(config.dataDir, "ipam", config.network);

/** The records of a pod network. @param unlink removes a record's name; unlink(2) by default */
export const newAttachments = (
  { dataDir, network }: Pick<NetConfig, "dataDir" | "network">,
  unlink?: (path: string) => void,
): Attachments =>
  new Attachments(dataDir, network, ({ containerId, ifname }: Attachment) => hostIfname(containerId, ifname), unlink);

/** Whether the attachment that something of a pod goes with is there, and its sandbox not provably dead. @throws Error with a POSIX `code` */
export function isAttached(
  dataDir: string,
  { network, owner, bootId: of }: Pick<HostPortRecord, "network" | "owner" | "bootId">,
): boolean {
  if (of !== bootId()) return false;
  const record = newAttachments({ dataDir, network }).find(owner);
  return record !== undefined && !provablyDead(record);
}

/** This machine. */
export const realHost: Host = {
  isOwnNetns(path) {
    const fd = openNetns(path);
    try {
      const there = netnsIdentity(fd);
      const own = netnsIdentity("/proc/thread-self/ns/net");
      return there.dev === own.dev && there.ino === own.ino;
    } finally {
      closeFd(fd);
    }
  },
  readPublished,
  ipam: (config) =>
    new Ipam({ dir: ipamDir(config), warn: (message) => process.stderr.write(`skylane: ${message}\n`) }),
  attachments: (config) => newAttachments(config),
  origin: (netns) => ({ since: Date.now(), uptime: uptime(), bootId: bootId(), ...sandboxOf(netns) }),
  attachPod,
  detachPod,
  forgetSource,
  hostPorts: ({ dataDir }) =>
    new HostPorts({
      records: new HostPortRecords(dataDir),
      table: kernelTable,
      isAttached: (record) => isAttached(dataDir, record),
    }),
  bandwidth: ({ dataDir }) => new Bandwidth(new LimitRecords(dataDir)),
  defaultFamilies(netns) {
    using rtnl = Rtnl.open({ netns });
    const there = rtnl.routes({ table: MAIN_TABLE }).filter(({ dst }) => dst === "default");
    return FAMILIES.filter((family) => there.some((route) => route.family === family));
  },
  checkPod,
  hostIfname,
  podMacOf,
  addRoutes(netns, ifname, routes) {
    using rtnl = Rtnl.open({ netns });
    const ifindex = rtnl.link(ifname)?.index;
    if (ifindex === undefined) throw new Error(`interface ${ifname} is no longer in sandbox ${netns}`);
    for (const route of routes) rtnl.execute({ op: "add", kind: "route", route: { ...route, ifindex } });
  },
  loopback(netns, up) {
    using rtnl = Rtnl.open({ netns });
    const { index } = rtnl.link("lo") ?? {};
    if (index === undefined) throw new Error(`sandbox ${netns} has no loopback interface`);
    if (up !== undefined) rtnl.execute({ op: "set", kind: "link", link: { index, up } });
    const addresses = rtnl.addresses({ ifindex: index }).map(({ ip, prefix }) => `${ip}/${prefix}`);
    return { up: rtnl.link(index)?.up === true, addresses };
  },
  inUse(_network, hostNetns) {
    const rtnl = Rtnl.open(hostNetns === undefined ? {} : { netns: hostNetns });
    return Object.assign((ip: string) => leadsToPod(rtnl, ip), { [Symbol.dispose]: () => rtnl.close() });
  },
  deviceUp(name, netns) {
    using rtnl = Rtnl.open(netns === undefined ? {} : { netns });
    return rtnl.link(name)?.up === true;
  },
  underlayFault(name, netns) {
    using rtnl = Rtnl.open(netns === undefined ? {} : { netns });
    const local = rtnl.link(name)?.vxlan?.local;
    if (local === undefined) return undefined;
    // A network's device is in a namespace of its own, and sends from that in which it was made.
    using own = Rtnl.open();
    return faultOfAddress(own, local);
  },
  requireWritable(dataDir) {
    let dir = dataDir;
    while (!existsSync(dir) && dirname(dir) !== dir) dir = dirname(dir);
    accessSync(dir, constants.W_OK);
    const { blocks, bfree, files, ffree } = statfsSync(dir);
    // Some file systems count neither blocks nor files.
    if ((blocks > 0 && bfree === 0) || (files > 0 && ffree === 0))
      throw Object.assign(new Error("no space is left"), { code: "ENOSPC" });
  },
  recordDuration,
};

function faultOfAddress(rtnl: Rtnl, ip: string): string | undefined {
  const there = rtnl.addresses({ family: familyOf(ip) }).find((address) => address.ip === ip);
  if (!there) return `address ${ip}, which the tunnel sends from, is on no interface of this node`;
  const link = rtnl.link(there.ifindex);
  if (link?.up) return undefined;
  return `interface ${link?.name ?? there.ifindex}, which has the tunnel's address ${ip}, is down`;
}
