/**
 * What this node says of itself on its Node object. The annotation holds an entry for every pod network; entries of networks
 * that nothing is said of are carried over as they are.
 */
import {
  formatVtepAnnotation,
  parseVtepAnnotation,
  type LocalNetwork,
  type VtepAnnotation,
  type WireguardIdentity,
} from "../peers/index.ts";

/**
 * This network's entry.
 * @param ips all underlay addresses, the one in use first
 * @param direct whether pods' packets are taken there unencapsulated. @param claims whether pods' addresses are published one by one. @param wireguard how it takes what is encrypted
 */
export const ownEntry = (
  local: LocalNetwork,
  ips: readonly string[],
  {
    direct = false,
    claims = false,
    wireguard,
  }: { direct?: boolean; claims?: boolean; wireguard?: WireguardIdentity | undefined } = {},
): VtepAnnotation => ({
  vni: local.vni,
  mac: local.mac,
  ips: [...ips],
  podCidrs: [...local.podCidrs],
  port: local.port,
  ...(direct && { direct }),
  ...(claims && { claims }),
  ...(wireguard && { wireguard }),
});

/**
 * The annotation's text with these networks' entries in it, or without them for `undefined`; "{}" when none is left. An
 * annotation that cannot be parsed is nobody's: it is replaced.
 */
export function mergeAnnotation(
  present: string | undefined,
  entries: ReadonlyMap<string, VtepAnnotation | undefined>,
): string {
  const networks = presentNetworks(present);
  for (const [network, entry] of entries) {
    if (entry) networks.set(network, entry);
    else networks.delete(network);
  }
  return formatVtepAnnotation(networks);
}

function presentNetworks(text: string | undefined): Map<string, VtepAnnotation> {
  if (text === undefined) return new Map();
  try {
    return new Map(parseVtepAnnotation(text));
  } catch {
    return new Map(); // written by something else than an agent, or by a newer one that nothing here could keep
  }
}
