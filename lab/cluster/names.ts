/**
 * The lab's numbering plan: everything that has to do with node N follows from N, so that addresses in an output
 * say where they belong (172.30.0.12 is node2, 10.244.2.0/24 its pods). Nodes live on one Ethernet segment, the
 * underlay; its switch is at .1, where the API server and the nodes' default gateway are too.
 */
import { derivedMac, type Family } from "../../src/addr/index.ts";

/** Which families the underlay and the pods have. */
export type Addressing = "dual-stack" | "ipv4-only" | "ipv6-underlay";

/** The most nodes of a lab: pod CIDRs and underlay addresses count in one octet. */
export const MAX_NODES = 200;

/** The switch's own addresses: API server, default gateway, and "the world outside the cluster". */
export const GATEWAY: Readonly<Record<Family, string>> = { 4: "172.30.0.1", 6: "fd30::1" };
/** Prefix lengths of the underlay. */
export const UNDERLAY_PREFIX: Readonly<Record<Family, number>> = { 4: 24, 6: 64 };
/** Port of the API server. */
export const API_PORT = 6443;
/** The whole cluster's pod addresses. */
export const CLUSTER_CIDRS: Readonly<Record<Family, string>> = { 4: "10.244.0.0/16", 6: "fd00:10:244::/48" };

/** Families of the underlay, the preferred one first. */
export const underlayFamilies = (addressing: Addressing): Family[] =>
  addressing === "dual-stack" ? [4, 6] : addressing === "ipv4-only" ? [4] : [6];

/** Families of the pods. An IPv6 underlay carries both. */
export const podFamilies = (addressing: Addressing): Family[] => (addressing === "ipv4-only" ? [4] : [4, 6]);

/** Name of node N. */
export const nodeName = (n: number): string => `node${n}`;

/** The number of a node given as "node2" or "2". @throws RangeError when it is neither */
export function nodeNumber(text: string): number {
  const digits = /^(?:node)?([1-9]\d{0,2})$/.exec(text)?.[1];
  const n = Number(digits);
  if (!(n >= 1 && n <= MAX_NODES))
    throw new RangeError(`"${text}" is not a node of a lab; they are called node1, node2 …`);
  return n;
}

/** Node N's address on the underlay: 172.30.0.12 and fd30::12 for node2. */
export const underlayIp = (n: number, family: Family): string =>
  family === 4 ? `172.30.0.${n + 10}` : `fd30::${n + 10}`;

/** MAC address of node N's network card; like a real one it is the same after a reboot. */
export const underlayMac = (n: number): string => derivedMac(`lab underlay ${n}`);

/** Node N's pod CIDR: 10.244.2.0/24 and fd00:10:244:2::/64 for node2. */
export const podCidr = (n: number, family: Family): string =>
  family === 4 ? `10.244.${n}.0/24` : `fd00:10:244:${n}::/64`;

/** MAC address of the switch itself. */
export const SWITCH_MAC = derivedMac("lab switch");

/** Name of the switch's port for node N. */
export const portName = (n: number): string => `port${n}`;

/** The name of a node's k-th pod (from 0): n2-a, n2-b, … n2-z, n2-aa. */
export function podName(node: number, k: number): string {
  let letters = "";
  for (let rest = k; rest >= 0; rest = Math.floor(rest / 26) - 1)
    letters = String.fromCharCode(97 + (rest % 26)) + letters;
  return `n${node}-${letters}`;
}
