/**
 * Removes a pod's link. Its host end is enough: with it go the pod's end and all addresses and routes, so neither the
 * sandbox nor anything remembered is needed. Whatever is gone already is fine.
 */
import { NetlinkError, Rtnl } from "../../netlink/index.ts";
import { SysError } from "../../sys/index.ts";
import { isHostEnd, PATIENCE_MS } from "./attach.ts";
import { removeSourceRules, SOURCE_TABLE } from "./by-source.ts";
import { hostIfname, podMacOf } from "./names.ts";

/** The kernel's words for a device that went away meanwhile. */
const GONE = new Set(["ENODEV", "ENOENT", "ESRCH"]);

/** Which link to remove. */
export interface DetachRequest {
  containerId: string;
  ifname: string;
  /** The sandbox, if it may be entered. */
  netns?: string;
  hostIfname?: string;
  /** Path of the network namespace of the host end; the host's own by default. */
  hostNetns?: string;
}

/**
 * Removes the link of an attachment, if there is one. An interface that is not ours is never touched: neither one of
 * the same name in the sandbox nor one on the host.
 * @throws NetlinkError when the kernel refuses to remove what is there.
 */
export function detachPod(o: DetachRequest): void {
  using host = o.hostNetns === undefined ? Rtnl.open({ timeoutMs: PATIENCE_MS }) : openThere(o.hostNetns);
  const name = o.hostIfname ?? hostIfname(o.containerId, o.ifname);
  const end = host?.link(name);
  if (host && end) {
    if (isHostEnd(end)) remove(host, end.index, name);
    return;
  }
  detachFromSandbox(o);
}

/** A host end that somebody renamed is found by the MAC that only this attachment's pod end has. @throws NetlinkError */
export function detachFromSandbox({ containerId, ifname, netns }: DetachRequest): void {
  if (netns === undefined) return;
  const mac = podMacOf(containerId, ifname);
  using pod = openThere(netns);
  const link = pod?.link(ifname);
  if (pod && link?.kind === "veth" && link.mac === mac) remove(pod, link.index, ifname);
}

/** Takes routing by source out of a sandbox that lives on without the interface. @throws NetlinkError */
export function forgetSource(netns: string, table: number = SOURCE_TABLE): void {
  using pod = openThere(netns);
  if (pod) removeSourceRules(pod, table);
}

/** A namespace's socket, `undefined` when it is gone, with all links in it, or was never a namespace. */
function openThere(netns: string): Rtnl | undefined {
  try {
    return Rtnl.open({ netns, timeoutMs: PATIENCE_MS });
  } catch (error) {
    if (error instanceof SysError && ["ENOENT", "ENOTDIR", "EINVAL"].includes(error.code)) return undefined;
    throw error;
  }
}

/** Removes a device by index, tolerating that it went away meanwhile. */
function remove(rtnl: Rtnl, index: number, name: string): void {
  try {
    rtnl.execute({ op: "del", kind: "link", link: { index, name } });
  } catch (error) {
    if (!(error instanceof NetlinkError) || !GONE.has(error.code)) throw error;
  }
}
