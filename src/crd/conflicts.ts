/** Which of the defined networks there can be: two with one VNI would be one network, so the older one has it. */
import { DEFAULT_NETWORK } from "./names.ts";
import { isOlder } from "./object.ts";
import type { PodNetworkInfo } from "./pod-network.ts";

/** A network that cannot be. */
export interface RefusedNetwork {
  network: PodNetworkInfo;
  /** The network that has its VNI. */
  other: string;
  /** For a condition's `reason`. */
  reason: "VniTaken";
  message: string;
}

/**
 * The networks apart. Every node comes to the same result, whatever the order in which it heard of them. The object of the
 * default network is in neither: it shows a network that the agent's configuration makes.
 * @param defaultVni VNI of the default network, which no other may have however old it is; undefined while that is not known
 */
export function resolveConflicts(
  networks: Iterable<PodNetworkInfo>,
  defaultVni: number | undefined,
): { accepted: Map<string, PodNetworkInfo>; refused: RefusedNetwork[] } {
  const holders = new Map(defaultVni === undefined ? [] : [[defaultVni, DEFAULT_NETWORK]]);
  const accepted = new Map<string, PodNetworkInfo>();
  const refused: RefusedNetwork[] = [];
  for (const network of [...networks].sort((a, b) => (isOlder(a, b) ? -1 : 1))) {
    const { name, vni } = network;
    if (name === DEFAULT_NETWORK) continue;
    const other = holders.get(vni);
    if (other === undefined) {
      holders.set(vni, name);
      accepted.set(name, network);
      continue;
    }
    const message = `PodNetwork ${name} has VNI ${vni}, which network ${other} has already; delete it and make it again with another vni`;
    refused.push({ network, other, reason: "VniTaken", message });
  }
  return { accepted, refused };
}
