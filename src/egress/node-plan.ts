/** What gateways come to on one node. Pure. */
import { familyOf } from "../addr/index.ts";
import type { AddressHolder } from "../crd/index.ts";
import type { EgressWanted, EgressWay, GatewayNode } from "../dataplane/egress/index.ts";
import type { Selected } from "./selection.ts";

/** What a node knows of itself and the others. */
export interface Surroundings {
  /** Name of this node. */
  node: string;
  /** Another node, as a way out; undefined while it is no peer. */
  gatewayNode: (name: string) => GatewayNode | undefined;
  /** Whether a gateway's nodeSelector selects a node. Asked here once more: whoever writes the status may be wrong. */
  mayHold: (gateway: string, node: string) => boolean;
  /** Whether this node has let go of what the status says it has. */
  letGo: (address: string) => boolean;
  inside: readonly string[];
  device: string;
  uplink: number | undefined;
}

/** @param holders by gateway */
export function planNode(
  selected: readonly Selected[],
  holders: ReadonlyMap<string, readonly AddressHolder[]>,
  { node, gatewayNode, mayHold, letGo, ...rest }: Surroundings,
): EgressWanted {
  const ways: EgressWay[] = [];
  const through = new Map<string, string>();
  const addresses: string[] = [];
  for (const { gateway, pods, usable } of selected) {
    const { name, destinations } = gateway;
    const holderOf = (address: string): EgressWay["by"] => {
      const holder = holders.get(name)?.find((one) => one.address === address)?.node;
      if (holder === undefined || !usable.includes(address) || !mayHold(name, holder)) return undefined;
      if (holder !== node) return gatewayNode(holder);
      return letGo(address) ? undefined : "here";
    };
    for (const address of usable) if (holderOf(address) === "here") addresses.push(address);
    for (const { ip, address } of pods)
      if (address !== undefined && holderOf(address) === "here") through.set(ip, address);
    const own = Map.groupBy(
      pods.filter((pod) => pod.node === node),
      ({ ip, address }) => address ?? `no IPv${familyOf(ip)} address`,
    );
    for (const [, those] of own) {
      const [first] = those;
      if (!first) continue;
      const family = familyOf(first.ip);
      const to = destinations?.filter((cidr) => familyOf(cidr) === family);
      ways.push({
        gateway: name,
        family,
        ...(first.address !== undefined && { address: first.address }),
        pods: those.map(({ ip }) => ip),
        ...(to && { to }),
        by: first.address === undefined ? undefined : holderOf(first.address),
      });
    }
  }
  return { ways, through, addresses, ...rest };
}
