/** Packets in words, for logs, Events and explanations. */
import type { Packet } from "../../policy/index.ts";

/** Numbers of IP protocols that have ports in policies (IANA). */
const PROTOCOL: Readonly<Record<number, Exclude<Packet["protocol"], "other">>> = { 6: "TCP", 17: "UDP", 132: "SCTP" };
/** Names of others. */
const PORTLESS: Readonly<Record<number, string>> = { 1: "ICMP", 58: "ICMPv6" };

/** What policies call a protocol, by its number (IANA). */
export const policyProtocol = (protocol: number): Packet["protocol"] => PROTOCOL[protocol] ?? "other";

/** What people call a protocol, by its number. */
export const protocolName = (protocol: number): string =>
  PROTOCOL[protocol] ?? PORTLESS[protocol] ?? `protocol ${protocol}`;

/** "TCP port 80", or "ICMP". @param port undefined where the protocol has none, or it is not known */
export const portInWords = (protocol: number, port: number | undefined): string =>
  port === undefined ? protocolName(protocol) : `${protocolName(protocol)} port ${port}`;
