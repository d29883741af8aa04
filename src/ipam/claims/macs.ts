/**
 * MAC addresses of claims. One that is asked for is entered in the claims' blocks as the link-local address that it makes (RFC 4291,
 * appendix A): so what locks an IP address locks it. One that is derived from the claim's uid needs no lock, since nobody can
 * have been given it before; whoever asks for one looks whether it is another claim's derived one.
 */
import { derivedMac, linkLocalOf, macOfLinkLocal, parseIp } from "../../addr/index.ts";
import { type IPClaimInfo, ObjectError, parseIPClaim } from "../../crd/index.ts";

/** The key of a MAC address's entry. */
export const entryOfMac = (mac: string): string => parseIp(linkLocalOf(mac));

/** What an entry's key is about: an IP address, or the MAC address that it stands for. */
export const addressOf = (key: string): string => macOfLinkLocal(key) ?? key;

/** The MAC address that a claim has, or will have. */
export const macOf = ({ network, namespace, name, uid, mac, status }: IPClaimInfo): string =>
  status.mac ?? mac ?? derivedMac(`${network}/${namespace}/${name}/${uid}`);

/**
 * Another claim of the network that has the MAC address already, or has it without having asked for it.
 * @param objects the claims of all networks as they are now
 */
export function otherWithMac(
  objects: readonly unknown[],
  { network, uid }: IPClaimInfo,
  mac: string,
): IPClaimInfo | undefined {
  return objects.flatMap(readable).find(
    (one) =>
      one.network === network &&
      one.uid !== uid &&
      macOf(one) === mac &&
      // One that only asks for it has it when its entry says so.
      (one.status.mac !== undefined || one.mac === undefined),
  );
}

/**
 * A claim of the network that has a MAC address, or is to have it.
 * @param objects the claims of all networks as they are now
 */
export const claimWithMac = (objects: readonly unknown[], network: string, mac: string): IPClaimInfo | undefined =>
  objects.flatMap(readable).find((one) => one.network === network && macOf(one) === mac);

/** One that makes no sense has got nothing. */
export function readable(object: unknown): IPClaimInfo[] {
  try {
    return [parseIPClaim(object)];
  } catch (error) {
    if (error instanceof ObjectError) return [];
    throw error;
  }
}
