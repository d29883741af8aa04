/** What compiled rules say of a packet, by the same look-ups of maps that the kernel makes. */
import { familyOf, ipToBigInt } from "../../../src/addr/index.ts";
import type { Outcome, Packet, Place, Ruleset } from "../../../src/policy/index.ts";
import type { Chain, ProfileChain } from "../../../src/policy/compile/ruleset.ts";

/** The number of an address's class. @param place where domain names count as well */
function classOf({ maps }: Ruleset, ip: string, place: Place): number {
  const family = familyOf(ip);
  const named = place === "ingress" ? undefined : maps.get(`named${family}`)?.elements.get(ip);
  if (named !== undefined) return Number((named as string).split(" ")[0]);
  const own = maps.get(`peers${family}`)?.elements.get(ip);
  if (typeof own === "number") return own;
  const value = ipToBigInt(ip);
  for (const [range, id] of maps.get(`blocks${family}`)?.elements ?? []) {
    const [first, last = first] = range.split("-") as [string, string?];
    if (value >= ipToBigInt(first) && value <= ipToBigInt(last)) return id as number;
  }
  return 0;
}

const outcomeIn = (ruleset: Ruleset, chain: string, open: Outcome): Outcome => {
  if (chain === "") return open;
  return (ruleset.chains.get(chain) as Extract<Chain, { kind: "outcome" }>).outcome;
};

/** What comes of a packet of a pod here in one place; undefined where no policy selects the pod. */
export function outcomeAt(ruleset: Ruleset, place: Place, packet: Packet): Outcome | undefined {
  const [ip, peer] = place === "ingress" ? [packet.destination, packet.source] : [packet.source, packet.destination];
  const name = ruleset.get(`${place}${familyOf(ip)}`, ip);
  if (typeof name !== "string") return undefined;
  const profile = ruleset.chains.get(name) as ProfileChain;
  const direction = place === "ingress" ? "ingress" : "egress";
  const open: Outcome = { chain: "", kind: "open", rule: undefined, direction };
  const id = classOf(ruleset, peer, place);
  const ports = packet.protocol !== "other";
  const found =
    (ports && profile.byPort
      ? inPorts(ruleset, `${name}_port`, `${id} ${packet.protocol} `, packet.port)
      : undefined) ??
    (profile.byClass ? ruleset.get(`${name}_class`, String(id)) : undefined) ??
    (ports && profile.byPortAlone ? inPorts(ruleset, `${name}_all`, `${packet.protocol} `, packet.port) : undefined);
  return found === undefined ? profile.fallback : outcomeIn(ruleset, found as string, open);
}

function inPorts(ruleset: Ruleset, map: string, prefix: string, port: number): string | undefined {
  for (const [key, chain] of ruleset.maps.get(map)?.elements ?? []) {
    if (!key.startsWith(prefix)) continue;
    const [first, last] = key.slice(prefix.length).split(" ").map(Number) as [number, number];
    if (port >= first && port <= last) return chain as string;
  }
  return undefined;
}
