/** Prefixes that a pod of a bridged network may send from besides its own addresses, as its network or its claim has them. */
import { parseCidr } from "../addr/index.ts";
import { listOf, parsedOf, refuseKey } from "./object.ts";
import type { Json } from "../json/index.ts";

/** The key `allowedAddresses` of a spec, canonical; absent where there are none. @throws ObjectError */
export function allowedOf(what: string, spec: Json, most: number): { allowedAddresses?: readonly string[] } {
  const all = listOf(what, spec, "spec", "allowedAddresses");
  if (all.length === 0) return {};
  if (all.length > most) refuseKey(what, "spec.allowedAddresses", spec["allowedAddresses"], `at most ${most} prefixes`);
  return {
    allowedAddresses: all.map((one, i) => parsedOf(what, `spec.allowedAddresses[${i}]`, one, "a CIDR", parseCidr)),
  };
}
