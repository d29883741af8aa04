/** How the entries of encryption compare with what there is, and how they are made. */
import { type Family, hostPrefix } from "../../addr/index.ts";
import {
  type Operation,
  type Route,
  ROUTE_PROTOCOL,
  type Rule,
  type WireguardChange,
  type WireguardPeerState,
} from "../../netlink/index.ts";
import { entryKey, type EntryOperations } from "../../reconcile/index.ts";
import { ENCRYPTION_TABLE, type EncryptionActual, type EncryptionEntry, keyOfEntry, RULE_PRIORITY } from "./entries.ts";

/** What entries lie on. */
export interface OnWireguard {
  ifindex: number;
  family: Family;
}

/** An operation on the kernel, by rtnetlink or by WireGuard's own family. */
export type EncryptionOperation = Operation | (WireguardChange & { kind: "wireguardPeer" });

const UNREACHABLE = 7;
const UNICAST = 1;
const UDP = 17;
/** Behind every other route: IPv6 takes 0 for 1024. */
const LAST_METRIC = 0x7fff_fff0;

const isNowhere = ({ type = UNICAST }: Route): boolean => type === UNREACHABLE;

/** The entry that a route is in the place of. */
const routeEntry = (route: Route): EncryptionEntry => ({ kind: "route", dst: route.dst, nowhere: isNowhere(route) });

const peerOf = ({ publicKey, ip, port }: Extract<EncryptionEntry, { kind: "peer" }>) => ({
  publicKey,
  endpoint: { ip, port },
  allowedIps: [hostPrefix(ip)],
});

const ruleOf = ({ port, to, back }: Extract<EncryptionEntry, { kind: "rule" }>, { family }: OnWireguard): Rule => ({
  family,
  priority: RULE_PRIORITY,
  table: ENCRYPTION_TABLE,
  ipProto: UDP,
  // The look-up of the way back has the ports exchanged (net/ipv4/fib_frontend.c, __fib_validate_source); older kernels have them as they are.
  ...(back ? { sport: port } : { dport: port }),
  ...(to !== "" && { dst: to }),
});

const routeOf = (
  { dst, nowhere }: Extract<EncryptionEntry, { kind: "route" }>,
  { family, ifindex }: OnWireguard,
): Route => ({
  family,
  dst,
  table: ENCRYPTION_TABLE,
  ...(nowhere ? { type: UNREACHABLE, metric: LAST_METRIC } : { ifindex }),
});

function isPeerRight(entry: Extract<EncryptionEntry, { kind: "peer" }>, there: WireguardPeerState): boolean {
  const { endpoint, allowedIps, preshared } = there;
  return (
    endpoint?.ip === entry.ip &&
    endpoint.port === entry.port &&
    allowedIps.length === 1 &&
    allowedIps[0] === hostPrefix(entry.ip) &&
    preshared === undefined
  );
}

function isRuleRight(entry: Extract<EncryptionEntry, { kind: "rule" }>, on: OnWireguard, there: Rule): boolean {
  const wanted = { ...ruleOf(entry, on), protocol: ROUTE_PROTOCOL };
  const keys = new Set([...Object.keys(wanted), ...Object.keys(there)]) as Set<keyof Rule>;
  return [...keys].every((key) => wanted[key] === there[key]);
}

/** See plan.ts of reconcile. */
export const encryptionOperations: EntryOperations<
  EncryptionEntry,
  EncryptionActual,
  OnWireguard,
  EncryptionOperation
> = {
  // What is led into the device finds its peer there.
  order: ["peer", "route", "rule"],

  keyOf(there) {
    switch (there.kind) {
      case "peer":
        return entryKey("peer", there.peer.publicKey);
      case "route":
        return keyOfEntry(routeEntry(there.route));
      default: {
        const { sport, dport = sport ?? 0, dst = "" } = there.rule;
        return keyOfEntry({ kind: "rule", port: dport, to: dst, back: sport !== undefined });
      }
    }
  },

  isRight(entry, there, on) {
    if (entry.kind === "peer" && there.kind === "peer") return isPeerRight(entry, there.peer);
    if (entry.kind === "rule" && there.kind === "rule") return isRuleRight(entry, on, there.rule);
    if (entry.kind !== "route" || there.kind !== "route") return false;
    const { gateway, ifindex, metric = 0, protocol, family } = there.route;
    if (protocol !== ROUTE_PROTOCOL || gateway !== undefined || family !== on.family) return false;
    return entry.nowhere ? metric === LAST_METRIC : ifindex === on.ifindex;
  },

  applied(entry, on) {
    switch (entry.kind) {
      case "peer":
        return { kind: "peer", peer: { ...peerOf(entry), rxBytes: 0, txBytes: 0 } };
      case "route":
        return { kind: "route", route: { ...routeOf(entry, on), protocol: ROUTE_PROTOCOL } };
      default:
        return { kind: "rule", rule: { ...ruleOf(entry, on), protocol: ROUTE_PROTOCOL } };
    }
  },

  // A rule has no place that another could take, and a route's is its metric, too.
  replaces: (entry) => entry.kind === "peer" || (entry.kind === "route" && !entry.nowhere),

  put(entry, _there, on) {
    switch (entry.kind) {
      case "peer":
        return { kind: "wireguardPeer", op: "put", peer: peerOf(entry) };
      case "route":
        return { op: "replace", kind: "route", route: routeOf(entry, on) };
      default:
        return { op: "add", kind: "rule", rule: ruleOf(entry, on) };
    }
  },

  remove(there) {
    switch (there.kind) {
      case "peer":
        return { kind: "wireguardPeer", op: "remove", publicKey: there.peer.publicKey };
      // The table is ours; whoever has put something of his own into it, and leads nobody astray, may have it there.
      case "route":
        return there.route.protocol === ROUTE_PROTOCOL ? { op: "del", kind: "route", route: there.route } : undefined;
      default:
        return { op: "del", kind: "rule", rule: there.rule };
    }
  },
};

/** Whether a rule is one of encryption's. */
export const isOurRule = ({ table, protocol }: Rule): boolean =>
  table === ENCRYPTION_TABLE && protocol === ROUTE_PROTOCOL;
