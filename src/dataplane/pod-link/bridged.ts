/**
 * The operations that make a veth pair the link of a pod in a bridged network: pure, in the order in which the kernel needs
 * them. The pod's addresses have the subnet's prefix, so the others are on its link; there is no gateway. The host end
 * is a port of the network's bridge, and is one, with all its settings, before it goes up: no frame ever passes an open port.
 */
import { addressBits, familyOf, linkLocalOf } from "../../addr/index.ts";
import type { PortSettings, Operation } from "../../netlink/index.ts";
import { type EndPlan, SCOPE_LINK } from "./plan.ts";
import type { PodBridge } from "./types.ts";

/**
 * A pod's host end as a port. It is locked (Linux 5.16): only frames whose source address is known to be behind it come in. An
 * unknown one is announced (MAB, Linux 6.2), which for its own sake wants `learning` on.
 */
export const POD_PORT: PortSettings = {
  learning: true,
  unicastFlood: false,
  mcastFlood: true,
  bcastFlood: true,
  neighSuppress: false,
  isolated: false,
  locked: true,
  mab: true,
};

/** The host end: a port of the bridge with that index, then up. */
export function bridgedHostOperations(o: { index: number; bridge: number; alias: string; ipv6: boolean }): Operation[] {
  const { index, bridge, alias, ipv6 } = o;
  return [
    { op: "set", kind: "link", link: { index, alias, ...(ipv6 && { addrGenMode: "none" as const }) } },
    { op: "set", kind: "link", link: { index, master: bridge } },
    { op: "set", kind: "link", link: { index, port: POD_PORT } },
    { op: "set", kind: "link", link: { index, up: true } },
  ];
}

/** The pod's end: up, and its addresses in their subnets, whose routes the kernel makes. */
export function bridgedPodOperations(o: EndPlan & { mac: string; bridge: PodBridge }): Operation[] {
  const { index, addresses, ipv6, mac, bridge } = o;
  const operations: Operation[] = [];
  if (ipv6) operations.push({ op: "set", kind: "link", link: { index, addrGenMode: "none" } });
  operations.push({ op: "set", kind: "link", link: { index, up: true } });
  for (const ip of addresses) {
    const family = familyOf(ip);
    if (family === 6) {
      const linkLocal = { ifindex: index, ip: linkLocalOf(mac), prefix: 64, scope: SCOPE_LINK, nodad: true };
      operations.push({ op: "add", kind: "address", address: linkLocal });
    }
    const prefix = bridge.prefixLengths[family] ?? addressBits(family);
    const address = { ifindex: index, ip, prefix, ...(family === 6 && { nodad: true }) };
    operations.push({ op: "add", kind: "address", address });
  }
  return operations;
}
