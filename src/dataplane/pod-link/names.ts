/**
 * Names and addresses of a pod's link that follow from the attachment alone, so that any process can find the link
 * again without having kept anything.
 */
import { derivedMac, type Family, sha256Hex } from "../../addr/index.ts";

/**
 * The pod's gateway of each family. Both are link-local: no address of the pod CIDR is spent on them, they are the same
 * in every pod, and a pod may move to another node without noticing.
 */
export const GATEWAY: Readonly<Record<Family, string>> = { 4: "169.254.1.1", 6: "fe80::1" };

/** MAC address of every host end. It is known beforehand, so the pod can have its neighbour entries from the start. */
export const HOST_MAC = "ee:ee:ee:ee:ee:ee";

/** The names of late: a request asks for its own half a dozen times, and a digest each time is noticed. */
const names = new Map<string, string>();
const REMEMBERED = 64;

/** Name of the host end: "sky" and 11 hexadecimal digits, 14 of the 15 characters that the kernel allows. */
export function hostIfname(containerId: string, ifname: string): string {
  const attachment = `${containerId}/${ifname}`;
  let name = names.get(attachment);
  if (name === undefined) {
    name = `sky${sha256Hex(attachment).slice(0, 11)}`;
    if (names.size >= REMEMBERED) names.clear();
    names.set(attachment, name);
  }
  return name;
}

/** MAC address of the pod's end where none is asked for. */
export const podMacOf = (containerId: string, ifname: string): string => derivedMac(`${containerId}/${ifname}`);
