/**
 * What of this machine network instances work on: namespaces, devices and rules. It is all that is between them and the kernel, so that
 * a test can bring a machine of its own.
 */
import { type InstancePath, instancePath } from "../data-path/index.ts";
import { ensureSpace, listSpaces, openSpace, type Space } from "../dataplane/netns/index.ts";
import { Uplink, type UplinkOptions } from "../dataplane/uplink/index.ts";
import { InstanceFirewall, type InstanceFirewallOptions } from "../firewall/index.ts";
import { SpaceLinks } from "../host-ends/index.ts";
import { Rtnl } from "../netlink/index.ts";

/** Pods' links of a network. */
export type InstanceLinks = Pick<SpaceLinks, "rtnl" | "watch" | "queue" | "attach" | "look" | "hostEndOf" | "stop">;
/** The packet filter of a network. */
export type InstanceRules = Pick<
  InstanceFirewall,
  "set" | "changePeers" | "changeHosts" | "hold" | "secure" | "refresh" | "verdict" | "stop" | "remove"
>;

/** See the header. */
export interface InstanceMachine {
  /** Networks whose namespaces have names here. @throws Error of readdir(3) */
  listSpaces(): string[];
  /** The namespace of a network, where there is one. @throws SysError, RangeError, NetlinkError */
  openSpace(network: string): Space | undefined;
  /** The same, or else a new one. @throws SysError, RangeError, NetlinkError */
  ensureSpace(network: string): Space;
  /** A conversation with a namespace, to be closed by who asked for it. @throws SysError */
  rtnl(space: Space): Rtnl;
  /** @throws SysError when no socket can be opened */
  links(options: ConstructorParameters<typeof SpaceLinks>[0]): InstanceLinks;
  rules(options: InstanceFirewallOptions): InstanceRules;
  uplink(options: UplinkOptions): Pick<Uplink, "ensure" | "remove" | "hostIndex">;
  dataPath(...args: Parameters<typeof instancePath>): InstancePath;
}

/** The one that this process runs on. */
export const THIS_MACHINE: InstanceMachine = {
  listSpaces,
  openSpace,
  ensureSpace,
  rtnl: (space) => Rtnl.open({ netns: space.fd }),
  links: (options) => new SpaceLinks(options),
  rules: (options) => new InstanceFirewall(options),
  uplink: (options) => new Uplink(options),
  dataPath: instancePath,
};
