/** What egress gateways come to in rtnetlink: rules of policy routing by mark, a table of routes a gateway's node, and egress addresses. */
import { addressBits, type Family, familyOf } from "../../addr/index.ts";
import { type Address, type Operation, type Route, ROUTE_PROTOCOL, type Rule } from "../../netlink/index.ts";
import { type EntryOperations, entryKey } from "../../reconcile/index.ts";
import { EGRESS_MARK } from "../nft/index.ts";
import type { NumberedGateway } from "./wanted.ts";

/** Tables of routes are this and a gateway's number. */
const TABLES = 8400;
/** Before the main table (32766), after the local one (0). */
const PRIORITY = 8400;
/** Whether a table is an egress gateway's. */
const isTable = (table: number | undefined): boolean =>
  table !== undefined && table > TABLES && table <= TABLES + EGRESS_MARK.most;

/** rtm_scope of an IPv4 address that the host uses as source of nothing that leaves the link (RT_SCOPE_LINK). */
const SCOPE_LINK = 253;

/** What should be there. */
export type EgressEntry =
  | { readonly kind: "address"; readonly ip: string; readonly ifindex: number }
  | { readonly kind: "route"; readonly family: Family; readonly table: number; readonly gateway: string }
  | { readonly kind: "rule"; readonly family: Family; readonly table: number };

/** What is there. */
export type EgressObject =
  | { readonly kind: "address"; readonly address: Address; readonly own: boolean }
  | { readonly kind: "route"; readonly route: Route }
  | { readonly kind: "rule"; readonly rule: Rule };

/** Index of the overlay's device; absent while there is none. */
export interface EgressGround {
  device: number | undefined;
}

const keys = {
  address: (ip: string, ifindex: number): string => entryKey("address", `${ip} ${ifindex}`),
  route: (family: Family, table: number): string => entryKey("route", `${family} ${table}`),
  rule: (family: Family, table: number): string => entryKey("rule", `${family} ${table}`),
};

/** The key of an entry. */
export const egressKey = (entry: EgressEntry): string =>
  entry.kind === "address" ? keys.address(entry.ip, entry.ifindex) : keys[entry.kind](entry.family, entry.table);

/** The entries of gateways' nodes, and of addresses that this node has. */
export const egressEntries = (
  gateways: readonly NumberedGateway[],
  addresses: readonly string[],
  uplink: number | undefined,
): EgressEntry[] => [
  ...(uplink === undefined ? [] : addresses.map((ip): EgressEntry => ({ kind: "address", ip, ifindex: uplink }))),
  ...gateways.flatMap(({ number, family, vtep }): EgressEntry[] => [
    { kind: "route", family, table: TABLES + number, gateway: vtep },
    { kind: "rule", family, table: TABLES + number },
  ]),
];

const ruleOf = ({ family, table }: EgressEntry & { kind: "rule" }): Rule => ({
  family,
  priority: PRIORITY,
  table,
  fwmark: (table - TABLES) * EGRESS_MARK.step,
  fwmask: EGRESS_MARK.mask,
  protocol: ROUTE_PROTOCOL,
});

const addressOf = ({ ip, ifindex }: EgressEntry & { kind: "address" }): Address => {
  const family = familyOf(ip);
  const own = family === 6 ? { nodad: true, deprecated: true } : { scope: SCOPE_LINK };
  return { ip, ifindex, prefix: addressBits(family), ...own };
};

const isWhole = ({ ip, prefix }: Address): boolean => prefix === addressBits(familyOf(ip));

/** Whether a route is an egress gateway's. */
export const isEgressRoute = ({ protocol, table }: Route): boolean => protocol === ROUTE_PROTOCOL && isTable(table);
/** Whether a rule is. */
export const isEgressRule = ({ protocol, priority, table }: Rule): boolean =>
  protocol === ROUTE_PROTOCOL && priority === PRIORITY && isTable(table);

/** How entries compare with what is there, and how they are made. */
export const egressOperations: EntryOperations<EgressEntry, EgressObject, EgressGround, Operation> = {
  order: ["address", "route", "rule"],

  keyOf(there) {
    if (there.kind === "address") return keys.address(there.address.ip, there.address.ifindex);
    if (there.kind === "route") return keys.route(there.route.family, there.route.table ?? 0);
    return keys.rule(there.rule.family, there.rule.table);
  },

  isRight(entry, there, { device }) {
    // An administrator's own address with a prefix of a link is there, and stays what it is.
    if (entry.kind === "address") return there.kind === "address";
    if (entry.kind === "route" && there.kind === "route") {
      const { gateway, ifindex, dst, type = 1 } = there.route;
      return gateway === entry.gateway && ifindex === device && dst === "default" && type === 1;
    }
    if (entry.kind !== "rule" || there.kind !== "rule") return false;
    const wanted = ruleOf(entry);
    const { fwmark, fwmask, src, dst, iifname, oifname, invert, action } = there.rule;
    const bare = [src, dst, iifname, oifname, invert, action].every((one) => one === undefined);
    return bare && fwmark === wanted.fwmark && fwmask === wanted.fwmask;
  },

  applied(entry, { device }) {
    if (entry.kind === "address") return { kind: "address", address: addressOf(entry), own: true };
    if (entry.kind === "rule") return { kind: "rule", rule: ruleOf(entry) };
    const { family, table, gateway } = entry;
    return {
      kind: "route",
      route: { family, dst: "default", gateway, table, ...(device !== undefined && { ifindex: device }) },
    };
  },

  replaces: (entry) => entry.kind !== "rule",

  put(entry, _there, { device }) {
    if (entry.kind === "address") return { op: "replace", kind: "address", address: addressOf(entry) };
    if (entry.kind === "rule") return { op: "add", kind: "rule", rule: ruleOf(entry) };
    if (device === undefined) return "waits";
    const { family, table, gateway } = entry;
    const route = { family, dst: "default", gateway, ifindex: device, onlink: true, table };
    return { op: "replace", kind: "route", route };
  },

  remove(there) {
    if (there.kind === "route") return { op: "del", kind: "route", route: there.route };
    if (there.kind === "rule") return { op: "del", kind: "rule", rule: there.rule };
    const { ip, prefix, ifindex } = there.address;
    return there.own && isWhole(there.address)
      ? { op: "del", kind: "address", address: { ip, prefix, ifindex } }
      : undefined;
  },
};
