/** MAC addresses that a pod may have. */
import { parseMac } from "../../addr/index.ts";
import { HOST_MAC } from "../../dataplane/pod-link/index.ts";

/** Parses one. @throws RangeError naming the text when it is no unicast MAC address, or that of all host ends */
export function parsePodMac(text: string): string {
  const mac = parseMac(text);
  if (mac === HOST_MAC) throw new RangeError(`"${mac}" is the MAC address of the node's end of every pod's link`);
  return mac;
}
