/**
 * What a pod network's namespace is set to, whatever the kernel gives new namespaces: some of that it takes from the host
 * (net.core.devconf_inherit_init_net), and hosts differ.
 *
 * It forwards, and hears nobody: no router advertisement, no redirect, no proxy's answer. The kernel's reverse-path filter is
 * off, since the stricter of `all` and a device's own value counts: the packet filter knows which pod may send from which
 * address, and the VXLAN device has the loose filter by its own value.
 */
import { type Link, Rtnl } from "../../netlink/index.ts";
import { settleSysctls, type WantedSysctls, withNetns } from "../../sys/index.ts";

/** In the order in which they are set: switching forwarding on resets some of those that follow. */
const SYSCTLS: WantedSysctls = [
  ["net.ipv4.ip_forward", "1"],
  ["net.ipv6.conf.all.disable_ipv6", "0"],
  ["net.ipv6.conf.default.disable_ipv6", "0"],
  ["net.ipv6.conf.all.forwarding", "1"],
  ...["all", "default"].flatMap((device): [string, string][] => [
    [`net.ipv4.conf.${device}.rp_filter`, "0"],
    [`net.ipv4.conf.${device}.accept_redirects`, "0"],
    [`net.ipv4.conf.${device}.send_redirects`, "0"],
    [`net.ipv4.conf.${device}.accept_source_route`, "0"],
    [`net.ipv4.conf.${device}.proxy_arp`, "0"],
    [`net.ipv6.conf.${device}.accept_ra`, "0"],
    [`net.ipv6.conf.${device}.accept_redirects`, "0"],
    [`net.ipv6.conf.${device}.proxy_ndp`, "0"],
  ]),
  // Frames on a bridge of the network are its bridge's to judge. Only there where br_netfilter is loaded.
  ["net.bridge.bridge-nf-call-iptables", "0"],
  ["net.bridge.bridge-nf-call-ip6tables", "0"],
  ["net.bridge.bridge-nf-call-arptables", "0"],
];

/**
 * Sets a namespace up for a pod network; what is right already is left alone. Returns what was not, in words.
 * @throws SysError, NetlinkError
 */
export function settle(netns: number): string[] {
  const did = withNetns(netns, () => settleSysctls(SYSCTLS));
  using rtnl = Rtnl.open({ netns });
  const loopback: Link | undefined = rtnl.link("lo");
  if (loopback && !loopback.up) {
    rtnl.execute({ op: "set", kind: "link", link: { index: loopback.index, up: true } });
    did.push("set lo up");
  }
  return did;
}
