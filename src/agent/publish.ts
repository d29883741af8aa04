/**
 * What this node says of itself on its Node object. The annotation holds an entry for every pod network, and
 * each network is responsible for its own: the others' entries are carried over as they are.
 */
import { formatVtepAnnotation, parseVtepAnnotation, type LocalNetwork, type VtepAnnotation } from "../overlay/index.ts";

/**
 * This network's entry.
 * @param ips all underlay addresses, the one in use first
 * @param direct whether pods' packets are taken there unencapsulated
 */
export const ownEntry = (local: LocalNetwork, ips: readonly string[], direct = false): VtepAnnotation => ({
  vni: local.vni,
  mac: local.mac,
  ips: [...ips],
  podCidrs: [...local.podCidrs],
  port: local.port,
  ...(direct && { direct }),
});

/**
 * The annotation's text with this network's entry in it (or without it, for `undefined`); undefined when no
 * entry is left. An annotation that cannot be parsed is nobody's: it is replaced.
 */
export function mergeAnnotation(
  present: string | undefined,
  network: string,
  entry: VtepAnnotation | undefined,
): string | undefined {
  const networks = presentNetworks(present);
  if (entry) networks.set(network, entry);
  else networks.delete(network);
  return networks.size === 0 ? undefined : formatVtepAnnotation(networks);
}

function presentNetworks(text: string | undefined): Map<string, VtepAnnotation> {
  if (text === undefined) return new Map();
  try {
    return new Map(parseVtepAnnotation(text));
  } catch {
    return new Map(); // written by something else than an agent, or by a newer one that nothing here could keep
  }
}
