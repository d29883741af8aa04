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
import {
  BACK_PRIORITY,
  BACK_TABLE,
  ENCRYPTION_TABLE,
  type EncryptionActual,
  type EncryptionEntry,
  keyOfEntry,
  peerKey,
  routeKey,
  RULE_PRIORITY,
} from "./entries.ts";
import { type Lane, LANES } from "./lanes.ts";

/** What entries lie on. */
export interface OnWireguard {
  /** Indexes of the lanes' devices; of one that cannot be made there is none. */
  devices: ReadonlyMap<Lane, number>;
  family: Family;
}

/** An operation on the kernel, by rtnetlink or by WireGuard's own family. */
export type EncryptionOperation = Operation | (WireguardChange & { kind: "wireguardPeer"; lane: Lane });

const UNREACHABLE = 7;
const UNICAST = 1;
const UDP = 17;
/** Behind every other route: IPv6 takes 0 for 1024. */
const LAST_METRIC = 0x7fff_fff0;

const isNowhere = ({ type = UNICAST }: Route): boolean => type === UNREACHABLE;

type Of<K extends EncryptionEntry["kind"]> = Extract<EncryptionEntry, { kind: K }>;

const peerOf = ({ publicKey, ip, port }: Of<"peer">) => ({
  publicKey,
  endpoint: { ip, port },
  allowedIps: [hostPrefix(ip)],
});

const ruleOf = ({ port, to, back, many }: Of<"rule">, { family }: OnWireguard): Rule => ({
  family,
  priority: many ? BACK_PRIORITY : RULE_PRIORITY,
  table: many ? BACK_TABLE : ENCRYPTION_TABLE,
  ipProto: UDP,
  // The look-up of the way back has the ports exchanged (net/ipv4/fib_frontend.c, __fib_validate_source); older kernels have them as they are.
  ...(back ? { sport: port } : { dport: port }),
  ...(to !== "" && { dst: to }),
});

/** Undefined while there is no device to lead into. */
function routeOf(entry: Of<"route">, { family, devices }: OnWireguard): Route | undefined {
  const route = { family, dst: entry.dst, table: ENCRYPTION_TABLE };
  if (entry.nowhere) return { ...route, type: UNREACHABLE, metric: LAST_METRIC };
  const ifindex = devices.get(entry.lane);
  return ifindex === undefined ? undefined : { ...route, ifindex };
}

/** The devices of some lanes. */
const devicesOf = (lanes: number, { devices }: OnWireguard): number[] =>
  LANES.filter((lane) => lanes & (1 << lane)).flatMap((lane) => devices.get(lane) ?? []);

/** The same for the way back: one device is not a list of them. */
function backOf({ dst, lanes }: Of<"back">, on: OnWireguard): Route | undefined {
  const [first, ...more] = devicesOf(lanes, on);
  if (first === undefined) return undefined;
  const route = { family: on.family, dst, table: BACK_TABLE };
  return more.length === 0 ? { ...route, ifindex: first } : { ...route, hops: [first, ...more] };
}

const sameHops = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((hop, index) => hop === b[index]);

function isPeerRight(entry: Of<"peer">, there: WireguardPeerState): boolean {
  const { endpoint, allowedIps, preshared } = there;
  return (
    endpoint?.ip === entry.ip &&
    endpoint.port === entry.port &&
    allowedIps.length === 1 &&
    allowedIps[0] === hostPrefix(entry.ip) &&
    preshared === undefined
  );
}

function isRuleRight(entry: Of<"rule">, on: OnWireguard, there: Rule): boolean {
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
  // What comes out of a device is let in from the first packet on, and no peer comes before.
  order: ["back", "peer", "route", "rule"],

  keyOf(there) {
    switch (there.kind) {
      case "peer":
        return peerKey(there.lane, there.peer.publicKey);
      case "route":
        return routeKey(there.route.dst, isNowhere(there.route));
      case "back":
        return entryKey("back", there.route.dst);
      default: {
        const { sport, dport = sport ?? 0, dst = "", table } = there.rule;
        const many = table === BACK_TABLE;
        return keyOfEntry({ kind: "rule", port: dport, to: dst, back: sport !== undefined, many });
      }
    }
  },

  isRight(entry, there, on) {
    if (entry.kind === "peer" && there.kind === "peer") return isPeerRight(entry, there.peer);
    if (entry.kind === "rule" && there.kind === "rule") return isRuleRight(entry, on, there.rule);
    if (there.kind === "peer" || there.kind === "rule") return false;
    const { gateway, ifindex, metric = 0, protocol, family, type = UNICAST, hops } = there.route;
    if (protocol !== ROUTE_PROTOCOL || gateway !== undefined || family !== on.family) return false;
    if (entry.kind === "back" && there.kind === "back")
      return type === UNICAST && sameHops(hops ?? (ifindex === undefined ? [] : [ifindex]), devicesOf(entry.lanes, on));
    if (entry.kind !== "route" || there.kind !== "route") return false;
    if (entry.nowhere) return metric === LAST_METRIC;
    return ifindex !== undefined && ifindex === on.devices.get(entry.lane);
  },

  applied(entry, on) {
    switch (entry.kind) {
      case "peer":
        return { kind: "peer", lane: entry.lane, peer: { ...peerOf(entry), rxBytes: 0, txBytes: 0 } };
      case "route":
      case "back": {
        const { kind, dst } = entry;
        const route = kind === "back" ? backOf(entry, on) : routeOf(entry, on);
        return { kind, route: { family: on.family, dst, ...route, protocol: ROUTE_PROTOCOL } };
      }
      default:
        return { kind: "rule", rule: { ...ruleOf(entry, on), protocol: ROUTE_PROTOCOL } };
    }
  },

  // A rule has no place that another could take, and a route's is its metric, too.
  replaces: (entry) => entry.kind === "peer" || entry.kind === "back" || (entry.kind === "route" && !entry.nowhere),

  put(entry, _there, on) {
    switch (entry.kind) {
      case "peer":
        if (!on.devices.has(entry.lane)) return "waits";
        return { kind: "wireguardPeer", lane: entry.lane, op: "put", peer: peerOf(entry) };
      case "route":
      case "back": {
        const route = entry.kind === "back" ? backOf(entry, on) : routeOf(entry, on);
        return route ? { op: "replace", kind: "route", route } : "waits";
      }
      default:
        return { op: "add", kind: "rule", rule: ruleOf(entry, on) };
    }
  },

  remove(there) {
    switch (there.kind) {
      case "peer":
        return { kind: "wireguardPeer", lane: there.lane, op: "remove", publicKey: there.peer.publicKey };
      // The table is ours; whoever has put something of his own into it, and leads nobody astray, may have it there.
      case "route":
      case "back":
        return there.route.protocol === ROUTE_PROTOCOL ? { op: "del", kind: "route", route: there.route } : undefined;
      default:
        return { op: "del", kind: "rule", rule: there.rule };
    }
  },
};

/** Whether a rule is one of encryption's. */
export const isOurRule = ({ table, protocol }: Rule): boolean =>
  (table === ENCRYPTION_TABLE || table === BACK_TABLE) && protocol === ROUTE_PROTOCOL;
