/** What the tests of netlink begin with. */
import type { Rtnl } from "../../../src/netlink/index.ts";

/** Makes a VXLAN device that is up and has an address, as a node has one, and returns its index. */
export function makeVxlan(rtnl: Rtnl): number {
  rtnl.execute({
    op: "add",
    kind: "link",
    link: { kind: "vxlan", name: "sky.1", vni: 1, port: 4789, local: "172.30.0.1" },
  });
  const ifindex = rtnl.link("sky.1")?.index as number;
  rtnl.execute({ op: "set", kind: "link", link: { index: ifindex, up: true } });
  rtnl.execute({ op: "add", kind: "address", address: { ifindex, ip: "10.244.1.0", prefix: 32 } });
  return ifindex;
}
