/**
 * Operations in words, in the order in which iproute2 would take them, for errors and logs.
 */
import type {
  Address,
  BridgeFdbEntry,
  FdbEntry,
  LinkChange,
  LinkSpec,
  Neighbour,
  Operation,
  ProgramFilter,
  QdiscSpec,
  RedirectFilter,
  Route,
  Rule,
} from "./types.ts";

/** Names an interface by its index; `undefined` when the name is not known. */
export type NameOf = (ifindex: number) => string | undefined;

const VERBS = { add: "adding", replace: "replacing", append: "adding", set: "changing", del: "deleting" } as const;
const MAIN_TABLE = 254;
const UNSPECIAL_TYPE = 1;
const ROUTE_TYPES: Readonly<Record<number, string>> = {
  2: "local",
  3: "broadcast",
  4: "anycast",
  5: "multicast",
  6: "blackhole",
  7: "unreachable",
  8: "prohibit",
  9: "throw",
};

/**
 * An operation as a phrase: "adding route 10.244.2.0/24 via 10.244.2.0 dev sky.4096". An interface whose name is not
 * known is written as "if<index>", as iproute2 does.
 */
export function describeOperation(operation: Operation, nameOf: NameOf = () => undefined): string {
  const dev = (index: number) => nameOf(index) ?? `if${index}`;
  return `${VERBS[operation.op]} ${describeObject(operation, dev)}`;
}

function describeObject(operation: Operation, dev: (index: number) => string): string {
  switch (operation.kind) {
    case "link":
      return operation.op === "set"
        ? change(operation.link, dev)
        : operation.op === "del"
          ? `link ${operation.link.name ?? dev(operation.link.index)}`
          : spec(operation.link);
    case "address":
      return address(operation.address, dev);
    case "route":
      return route(operation.route, dev);
    case "neighbour":
      return neighbour(operation.neighbour, dev);
    case "fdb":
      return fdb(operation.fdb, dev);
    case "bridgeFdb":
      return bridgeFdb(operation.bridgeFdb, dev);
    case "qdisc":
      return qdisc(operation.qdisc, dev);
    case "filter":
      return filter(operation.filter, dev);
    default:
      return rule(operation.rule);
  }
}

function spec(link: LinkSpec): string {
  switch (link.kind) {
    case "vxlan":
      return `vxlan device ${link.name} (VNI ${link.vni}, port ${link.port}${link.local ? `, local ${link.local}` : ""})`;
    case "veth":
      return `veth pair ${link.name} and ${link.peer.name}`;
    case "ifb":
    case "wireguard":
      return `${link.kind} device ${link.name}`;
    default:
      return `bridge ${link.name}`;
  }
}

function change(link: LinkChange, dev: (index: number) => string): string {
  const { index, up, master, netnsFd, bridge, port, ...values } = link;
  const words = Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [`${key} ${value}`]));
  if (up !== undefined) words.unshift(up ? "up" : "down");
  if (master !== undefined) words.push(master === 0 ? "no master" : `master ${dev(master)}`);
  for (const settings of [bridge, port])
    for (const [key, value] of Object.entries(settings ?? {})) words.push(`${key} ${value}`);
  if (netnsFd !== undefined) words.push("to another network namespace");
  return `link ${dev(index)}: ${words.join(", ")}`;
}

const address = (a: Address, dev: (index: number) => string): string =>
  `address ${a.ip}/${a.prefix} dev ${dev(a.ifindex)}`;

function route(r: Route, dev: (index: number) => string): string {
  const type = r.type === undefined || r.type === UNSPECIAL_TYPE ? "" : `${ROUTE_TYPES[r.type] ?? `type ${r.type}`} `;
  let text = `route ${type}${r.dst === "default" && r.family === 6 ? "default (IPv6)" : r.dst}`;
  if (r.gateway !== undefined) text += ` via ${r.gateway}`;
  if (r.ifindex !== undefined) text += ` dev ${dev(r.ifindex)}`;
  if (r.table !== undefined && r.table !== MAIN_TABLE) text += ` table ${r.table}`;
  if (r.metric !== undefined) text += ` metric ${r.metric}`;
  return text;
}

function neighbour(n: Neighbour, dev: (index: number) => string): string {
  return `neighbour ${n.ip}${n.mac ? ` lladdr ${n.mac}` : ""} dev ${dev(n.ifindex)}`;
}

const fdb = (e: FdbEntry, dev: (index: number) => string): string =>
  `FDB entry ${e.mac} dst ${e.dst} dev ${dev(e.ifindex)}`;

const bridgeFdb = (e: BridgeFdbEntry, dev: (index: number) => string): string =>
  `bridge FDB entry ${e.mac} dev ${dev(e.ifindex)}`;

function qdisc(q: QdiscSpec, dev: (index: number) => string): string {
  const device = `qdisc ${q.kind} dev ${dev(q.ifindex)}`;
  return q.kind !== "tbf"
    ? device
    : `${device} rate ${8 * q.bucket.rate}bit burst ${q.bucket.burst}b limit ${q.bucket.limit}b`;
}

const filter = (f: RedirectFilter | ProgramFilter, dev: (index: number) => string): string =>
  "program" in f
    ? `filter dev ${dev(f.ifindex)} ${f.side === "sends" ? "egress" : "ingress"} pref ${f.priority} bpf ${f.program.name}`
    : `filter dev ${dev(f.ifindex)} ingress pref ${f.priority} redirect dev ${dev(f.redirectsTo)}`;

function rule(r: Rule): string {
  const words = [`rule ${r.priority}:`, `from ${r.src ?? "all"}`];
  if (r.dst !== undefined) words.push(`to ${r.dst}`);
  if (r.iifname !== undefined) words.push(`iif ${r.iifname}`);
  if (r.oifname !== undefined) words.push(`oif ${r.oifname}`);
  if (r.fwmark !== undefined) words.push(`fwmark 0x${r.fwmark.toString(16)}`);
  if (r.ipProto !== undefined) words.push(`ipproto ${r.ipProto}`);
  if (r.sport !== undefined) words.push(`sport ${r.sport}`);
  if (r.dport !== undefined) words.push(`dport ${r.dport}`);
  words.push(`lookup ${r.table}`);
  if (r.family === 6) words.push("(IPv6)");
  return words.join(" ");
}
