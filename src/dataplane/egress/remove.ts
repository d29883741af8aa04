/** Taking everything of egress gateways off a node. */
import { addressBits, familyOf } from "../../addr/index.ts";
import { describeOperation, type Operation, type Rtnl } from "../../netlink/index.ts";
import { isEgressRoute, isEgressRule } from "./entries.ts";
import { heldAddresses } from "./records.ts";

/** Removes addresses, routes and their rules; the table goes by its name. @returns what was removed, in words @throws NetlinkError, Error of fs */
export function removeEgress(rtnl: Rtnl, dataDir: string): string[] {
  const held = heldAddresses(dataDir);
  const ours: Operation[] = [
    ...rtnl
      .rules()
      .filter(isEgressRule)
      .map((rule): Operation => ({ op: "del", kind: "rule", rule })),
    ...rtnl
      .routes()
      .filter(isEgressRoute)
      .map((route): Operation => ({ op: "del", kind: "route", route })),
    ...rtnl
      .addresses()
      .filter(({ ip, prefix }) => held.has(ip) && prefix === addressBits(familyOf(ip)))
      .map(({ ip, prefix, ifindex }): Operation => ({ op: "del", kind: "address", address: { ip, prefix, ifindex } })),
  ];
  const [failure] = rtnl.executeAll(ours);
  if (failure) throw failure.error;
  return ours.map((operation) => describeOperation(operation).replace(/^deleting /, ""));
}
