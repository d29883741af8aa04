/**
 * The table `inet skylane_hostports`: every mapping is an element of a map, so that of a node's thousand mappings a packet is asked once, and a
 * pod's come and go in one small transaction. What it does:
 *
 * - prerouting and output, nat: the first packet of a connection to an address of this node meets with the maps, those of single addresses
 *   first. One step behind the usual place (dstnat): kube-proxy's Services and node ports, which are there, have their say before, as they
 *   had before the plugin portmap. Rules of nat are asked about first packets alone.
 * - postrouting, nat: the source of a packet stays as it is, so that the pod sees who asks, and policies judge that, but where the
 *   answer would not come back here: a pod that reaches itself by its node's port, and what comes from 127.0.0.1.
 * - input: 127.0.0.1 means something on another machine only where the kernel is told so, by `route_localnet` of the device. It is set on host
 *   ends of pods with host ports alone, and no pod reaches a program of the host by it: what comes from a pod to 127.0.0.0/8 is dropped unless it answers
 *   what was sent to that pod's host port. IPv6 has nothing of the kind: what is from ::1 never leaves the host. So ::1 is nobody's host port, and who tries it
 *   first for "localhost" is refused at once and goes on to 127.0.0.1.
 */
import { FAMILIES, type Family, familyOf, ipToBytes } from "../../addr/index.ts";
import { POD_LINK_GROUP } from "../../netlink/index.ts";
import type { RawElement, RawStep } from "../nft/index.ts";
import { familiesOf, isForAll, type PortMapping, PROTOCOLS } from "./mapping.ts";
import type { Mapped } from "./records.ts";

/** Name of the table, of family inet. */
export const HOST_PORT_TABLE = "skylane_hostports";

const PODS = `0x${POD_LINK_GROUP.toString(16)}`;
const IP: Record<Family, string> = { 4: "ip", 6: "ip6" };
const ADDRESS: Record<Family, string> = { 4: "ipv4_addr", 6: "ipv6_addr" };
const LOOPBACK = "127.0.0.0/8";
/** A number, and not `dstnat + 1`: in the hook `output` nft 1.0 knows no such name. Translation of destinations is at -100. */
const BEHIND_DSTNAT = -99;

/** Maps by what they hold for, and the set of pods that may reach themselves. */
type SetName = `${"all" | "one" | "self"}${Family}`;

/** An element, in nft's words and in the kernel's bytes. */
interface Element {
  set: SetName;
  /** What the packet filter knows it by, in nft's words, and with what it has for it. */
  key: string;
  text: string;
  raw: RawElement;
}

/** A port as part of a key, which is padded to 4 bytes. */
const portBytes = (port: number): Uint8Array => Uint8Array.of(port >> 8, port & 0xff, 0, 0);

function elementOf(family: Family, ip: string, mapping: PortMapping): Element {
  const { protocol, hostPort, containerPort, hostIp } = mapping;
  const forAll = isForAll(mapping);
  const key = `${forAll ? "" : `${hostIp} . `}${protocol} . ${hostPort}`;
  return {
    set: `${forAll ? "all" : "one"}${family}`,
    key,
    text: `${key} : ${ip} . ${containerPort}`,
    raw: {
      key: Buffer.concat([
        ...(forAll ? [] : [ipToBytes(hostIp)]),
        Uint8Array.of(PROTOCOLS[protocol], 0, 0, 0),
        portBytes(hostPort),
      ]),
      value: Buffer.concat([ipToBytes(ip), portBytes(containerPort)]),
    },
  };
}

/** All elements of a pod. Of a family that it has no address of there are none. */
function elementsOf({ ips, ports }: Mapped): Element[] {
  return ips.flatMap((ip) => {
    const family = familyOf(ip);
    const mapped = ports.filter((mapping) => familiesOf(mapping).includes(family));
    if (mapped.length === 0) return [];
    const bytes = ipToBytes(ip);
    const self: Element = {
      set: `self${family}`,
      key: ip,
      text: `${ip} . ${ip}`,
      raw: { key: Buffer.concat([bytes, bytes]) },
    };
    return [self, ...mapped.map((mapping) => elementOf(family, ip, mapping))];
  });
}

/** The elements of pods, of each key the first: what is no pod's alone is that one's which was here before. */
function firstElements(records: readonly Mapped[]): Element[] {
  const found = new Map<string, Element>();
  for (const element of records.flatMap(elementsOf)) {
    const name = `${element.set} ${element.key}`;
    if (!found.has(name)) found.set(name, element);
  }
  return [...found.values()];
}

/** The mappings of a pod as "MAP KEY : VALUE". */
export const elementTexts = (record: Mapped): string[] =>
  elementsOf(record).flatMap(({ set, text }) => (set.startsWith("self") ? [] : `${set} ${text}`));

/** A place in the table where a pod's mapping is, and what is there. */
export interface MappedPlace {
  map: string;
  key: Uint8Array;
  value: Uint8Array;
}

/** Where the table has one of a pod's mappings: a place for each of its addresses that it holds for. */
export const placesOf = (record: Mapped): MappedPlace[] =>
  elementsOf(record).flatMap(({ set, raw: { key, value } }) =>
    value instanceof Uint8Array ? { map: set, key, value } : [],
  );

function steps(elements: readonly Element[], what: "come" | "gone"): RawStep[] {
  return [...Map.groupBy(elements, ({ set }) => set)].map(([set, those]) => {
    const none: RawElement[] = [];
    return { table: HOST_PORT_TABLE, set, come: none, gone: none, [what]: those.map(({ raw }) => raw) };
  });
}

/** What puts a pod's mappings into the table that is there. */
export const stepsToPut = (record: Mapped): RawStep[] => steps(firstElements([record]), "come");

/** What takes pods' mappings out of it, those of others aside. */
export function stepsToTake(records: readonly Mapped[], others: readonly Mapped[]): RawStep[] {
  const theirs = new Set(firstElements(others).map(({ set, key }) => `${set} ${key}`));
  return steps(
    firstElements(records).filter(({ set, key }) => !theirs.has(`${set} ${key}`)),
    "gone",
  );
}

/** The transaction that puts the table in place with all mappings, the oldest first, whatever is there. */
export function renderHostPorts(records: readonly Mapped[]): string {
  const table = `inet ${HOST_PORT_TABLE}`;
  const elements = Map.groupBy(firstElements(records), ({ set }) => set);
  const set = (name: SetName, kind: string, type: string): string => {
    const texts = (elements.get(name) ?? []).map(({ text }) => text);
    const list = texts.length > 0 ? `\n    elements = { ${texts.join(", ")} }` : "";
    return `  ${kind} ${name} {\n    type ${type}${list}\n  }`;
  };
  const sets = FAMILIES.flatMap((family) => {
    const address = ADDRESS[family];
    return [
      set(`all${family}`, "map", `inet_proto . inet_service : ${address} . inet_service`),
      set(`one${family}`, "map", `${address} . inet_proto . inet_service : ${address} . inet_service`),
      set(`self${family}`, "set", `${address} . ${address}`),
    ];
  });
  const chain = (name: string, ...lines: string[]): string =>
    `  chain ${name} {\n${lines.map((line) => `    ${line}\n`).join("")}  }`;
  const toThisNode = `meta l4proto { ${Object.keys(PROTOCOLS).join(", ")} } fib daddr type local goto ports`;
  const mapped = `oifgroup ${PODS} ct status dnat`;
  const chains = [
    chain(
      "ports",
      ...FAMILIES.flatMap((family) => [
        `dnat ${IP[family]} addr . port to ${IP[family]} daddr . meta l4proto . th dport map @one${family}`,
        `meta nfproto ipv${family} dnat ${IP[family]} addr . port to meta l4proto . th dport map @all${family}`,
      ]),
    ),
    chain("prerouting", `type nat hook prerouting priority ${BEHIND_DSTNAT}; policy accept;`, toThisNode),
    chain(
      "output",
      `type nat hook output priority ${BEHIND_DSTNAT}; policy accept;`,
      "ip6 daddr ::1 accept",
      toThisNode,
    ),
    chain(
      "postrouting",
      "type nat hook postrouting priority srcnat; policy accept;",
      ...FAMILIES.map((family) => `${mapped} ${IP[family]} saddr . ${IP[family]} daddr @self${family} masquerade`),
      `${mapped} ip saddr ${LOOPBACK} masquerade`,
    ),
    chain("answers", "ct direction reply ct status dnat return", "counter drop"),
    chain(
      "input",
      "type filter hook input priority raw; policy accept;",
      `iifgroup ${PODS} ip daddr ${LOOPBACK} goto answers`,
    ),
  ];
  return `add table ${table}\ndelete table ${table}\ntable ${table} {\n${[...sets, ...chains].join("\n")}\n}\n`;
}
