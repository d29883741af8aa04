/**
 * A host port as a pod asks for it (CNI CONVENTIONS.md, capability `portMappings`): what comes to a port of this node goes to a port of
 * the pod.
 */
import { FAMILIES, type Family, familyOf } from "../../addr/index.ts";

/** The protocols that Kubernetes knows ports of, by their numbers (IANA). */
export const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132 } as const;
export type Protocol = keyof typeof PROTOCOLS;

/** One mapping, every value checked. */
export interface PortMapping {
  protocol: Protocol;
  hostPort: number;
  containerPort: number;
  /** The address of this node that it holds for, canonical; 0.0.0.0 and :: are all of one family, "" is all of both. */
  hostIp: string;
}

/** What stands for all addresses of a family. */
const UNSPECIFIED: Readonly<Record<Family, string>> = { 4: "0.0.0.0", 6: "::" };

/** Whether a mapping holds for all of the node's addresses of its families. */
export const isForAll = ({ hostIp }: Pick<PortMapping, "hostIp">): boolean =>
  hostIp === "" || hostIp === UNSPECIFIED[4] || hostIp === UNSPECIFIED[6];

/** The families that a mapping holds for. */
export const familiesOf = ({ hostIp }: Pick<PortMapping, "hostIp">): readonly Family[] =>
  hostIp === "" ? FAMILIES : [familyOf(hostIp)];

/** Whether some packet would meet with both: the same port of the same protocol on an address that both hold for. */
export function overlap(a: PortMapping, b: PortMapping): boolean {
  if (a.protocol !== b.protocol || a.hostPort !== b.hostPort) return false;
  if (!familiesOf(a).some((family) => familiesOf(b).includes(family))) return false;
  return isForAll(a) || isForAll(b) || a.hostIp === b.hostIp;
}

/** The host's side for people: "8080/tcp", "192.0.2.1:8080/tcp", "[2001:db8::1]:8080/tcp". */
export function hostPortText({ protocol, hostPort, hostIp }: Omit<PortMapping, "containerPort">): string {
  const port = `${hostPort}/${protocol}`;
  if (hostIp === "") return port;
  return familyOf(hostIp) === 6 ? `[${hostIp}]:${port}` : `${hostIp}:${port}`;
}
