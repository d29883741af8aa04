/**
 * The addresses under which the other nodes reach this one: those of its underlay, or behind 1:1 NAT others that are on none of
 * its interfaces. The device keeps the address that the machine has; what goes out has the public one as its source by the time that it
 * gets there.
 */
import { familyOf, ipScope, parseIpPerFamily } from "../addr/index.ts";
import { EXTERNAL_IP } from "../config/index.ts";
import type { OwnFacts } from "../nodes/index.ts";

/**
 * @param ips the underlay's, at most one a family; the first one is that of the device
 * @param setting `underlay.publicIp`
 */
export function publicIps(
  ips: readonly string[],
  setting: string | undefined,
  own: Pick<OwnFacts, "externalIps" | "publicOverride">,
): { ips: string[] } | { missing: string } {
  const override = own.publicOverride?.trim();
  const what = override ? "the annotation skylane.dev/public-ip" : "underlay.publicIp";
  const text = override || setting;
  if (!text) return { ips: [...ips] };
  let named: readonly string[];
  if (!override && text === EXTERNAL_IP) {
    named = own.externalIps ?? [];
    if (!named.some((ip) => familyOf(ip) === familyOf(ips[0] ?? "")))
      return { missing: `${what} is ExternalIP, and the Node has no such address of the underlay's family` };
  } else {
    try {
      named = parseIpPerFamily(text);
    } catch (error) {
      if (error instanceof RangeError) return { missing: `${what} is malformed: ${error.message}` };
      throw error;
    }
  }
  const odd = named.find((ip) => ipScope(ip) !== "unicast");
  if (odd !== undefined) return { missing: `${what} names ${odd}, at which no node can be reached` };
  return { ips: ips.map((ip) => named.find((other) => familyOf(other) === familyOf(ip)) ?? ip) };
}
