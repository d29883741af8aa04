/** Which of the defined networks there can be: two with one VNI would be one network, so the older one has it. */
import type { PodNetworkInfo } from "./pod-network.ts";

/** A network that cannot be. */
export interface RefusedNetwork {
  network: PodNetworkInfo;
  /** The one that has its VNI. */
  other: string;
  message: string;
}

/** The networks apart. @param reserved VNIs that are taken by networks which are not among them, by VNI */
export function chooseNetworks(
  networks: Iterable<PodNetworkInfo>,
  reserved: ReadonlyMap<number, string>,
): { accepted: Map<string, PodNetworkInfo>; refused: RefusedNetwork[] } {
  const holders = new Map(reserved);
  const accepted = new Map<string, PodNetworkInfo>();
  const refused: RefusedNetwork[] = [];
  for (const network of [...networks].sort(byAge)) {
    const other = holders.get(network.vni);
    if (other === undefined) {
      holders.set(network.vni, network.name);
      accepted.set(network.name, network);
    } else {
      const message = `PodNetwork ${network.name} has VNI ${network.vni}, which network ${other} has already; delete it and make it again with another vni`;
      refused.push({ network, other, message });
    }
  }
  return { accepted, refused };
}

const byAge = (a: PodNetworkInfo, b: PodNetworkInfo): number => {
  const [x, y] = [Date.parse(a.creationTimestamp), Date.parse(b.creationTimestamp)];
  return x === y ? (a.name < b.name ? -1 : 1) : x - y;
};
