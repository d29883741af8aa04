/** Which flows somebody wants to see, as it is asked for in a URL and on the command line. */
import type { Flow, FlowVerdict } from "./flow-table.ts";

export interface FlowFilter {
  /** Either end is a pod of it. */
  namespace?: string;
  /** Either end is it, NAMESPACE/NAME. */
  pod?: string;
  /** NAMESPACE/NAME of the Service that was asked for. */
  service?: string;
  /** The pod network. */
  network?: string;
  verdict?: FlowVerdict;
  /** Of the destination, or of the Service that was asked for. */
  port?: number;
  /** Number of the IP protocol (IANA). */
  protocol?: number;
  /** Changed after that, in milliseconds since 1970. */
  since?: number;
}

/** The filter makes no sense; the message says why, for whoever typed it. */
export class FilterError extends Error {
  override readonly name = "FilterError";
}

/** Numbers of protocols by the names that people have for them. */
const PROTOCOLS: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 };

const WORDS = ["namespace", "network", "pod", "service", "verdict", "protocol"] as const;

/** Reads a filter. @throws FilterError */
export function readFilter(query: URLSearchParams): FlowFilter {
  const filter: FlowFilter = {};
  const text = (name: string): string | undefined => query.get(name) ?? undefined;
  const [namespace, network, pod, service, verdict, protocol] = WORDS.map(text);
  if (namespace !== undefined) filter.namespace = namespace;
  if (network !== undefined) filter.network = network;
  if (pod !== undefined) {
    if (!/^[^/]+\/[^/]+$/.test(pod)) throw new FilterError(`"${pod}" is no pod: NAMESPACE/NAME is`);
    filter.pod = pod;
  }
  if (service !== undefined) {
    if (!/^[^/]+\/[^/]+$/.test(service)) throw new FilterError(`"${service}" is no Service: NAMESPACE/NAME is`);
    filter.service = service;
  }
  if (verdict !== undefined) {
    if (verdict !== "allowed" && verdict !== "denied")
      throw new FilterError(`"${verdict}" is no verdict: allowed and denied are`);
    filter.verdict = verdict;
  }
  if (protocol !== undefined) {
    const number = PROTOCOLS[protocol.toLowerCase()] ?? numberIn(protocol, 255);
    if (number === undefined)
      throw new FilterError(`"${protocol}" is no protocol: ${Object.keys(PROTOCOLS).join(", ")} and numbers are`);
    filter.protocol = number;
  }
  const port = text("port");
  if (port !== undefined) {
    const number = numberIn(port, 65_535);
    if (number === undefined) throw new FilterError(`"${port}" is no port: a whole number up to 65535 is`);
    filter.port = number;
  }
  const since = text("since");
  if (since !== undefined) {
    const number = numberIn(since, Number.MAX_SAFE_INTEGER);
    if (number === undefined) throw new FilterError(`"${since}" is no time: milliseconds since 1970 are`);
    filter.since = number;
  }
  return filter;
}

const numberIn = (text: string, most: number): number | undefined =>
  /^\d{1,16}$/.test(text) && Number(text) <= most ? Number(text) : undefined;

/** Whether a flow is one of those. */
export function passesFilter(flow: Flow, filter: FlowFilter): boolean {
  const { namespace, network, pod, service, verdict, port, protocol, since } = filter;
  const pods = [flow.source.pod, flow.destination.pod];
  return (
    (namespace === undefined || pods.some((one) => one?.startsWith(`${namespace}/`))) &&
    (network === undefined || flow.network === network) &&
    (pod === undefined || pods.includes(pod)) &&
    (service === undefined || flow.service?.name === service) &&
    (verdict === undefined || flow.verdict === verdict) &&
    (port === undefined || flow.destination.port === port || flow.service?.port === port) &&
    (protocol === undefined || flow.protocol === protocol) &&
    (since === undefined || (flow.end ?? flow.start) >= since)
  );
}
