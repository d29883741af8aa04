/**
 * The last flows of a node, and counts of all. It has a bound whatever comes: so many flows, of which the one that has not changed for longest goes
 * first, and so many pairs of namespaces, beyond which one name stands for all others. It does no I/O and knows no clock.
 */
import type { ConnectionEvent } from "../dataplane/conntrack/index.ts";
import { type FlowFilter, passesFilter } from "./filter.ts";
import type { ServiceName } from "./service-names.ts";

/** Flows that are remembered. */
const MOST_FLOWS = 4_096;
/** Counted pairs of namespaces and verdicts. */
const MOST_SERIES = 1_000;

export type FlowVerdict = "allowed" | "denied";

/** Who has an address; nothing of it where nobody knows. */
export interface WhoHas {
  /** NAMESPACE/NAME. */
  pod?: string;
  labels?: Readonly<Record<string, string>>;
  /** The node that has the address, or on which the pod is. */
  node?: string;
}

/** One end of a flow. */
export interface FlowEnd extends WhoHas {
  ip: string;
  /** 0 for protocols without. */
  port: number;
}

/** A flow as it is shown. Times are milliseconds since 1970. */
export interface Flow {
  /** Grows with every change of any flow. */
  seq: number;
  /** The pod network that it is in. */
  network: string;
  /** "open" until its end was told; "unfollowed" where that will not be told any more. */
  state: "open" | "ended" | "unfollowed";
  verdict: FlowVerdict;
  /** Number of the IP protocol (IANA). */
  protocol: number;
  source: FlowEnd;
  destination: FlowEnd;
  /** What the source has asked for where that is another address or port than who answers: a Service, by its name where it is known, a host port. */
  service?: { ip: string; port: number } & Partial<ServiceName>;
  /** Who denied it. */
  policy?: string;
  start: number;
  end?: number;
  /** Of both directions; of a denied flow those that were seen. Absent while it is open, and where the kernel did not count. */
  packets?: number;
  bytes?: number;
  /** Packets may have passed connection tracking by, and not be in the figures. */
  atLeast?: true;
  /** How many flows this one stands for. */
  sampled: number;
}

/** What a reader gets. */
export interface FlowAnswer {
  flows: Flow[];
  /** What to ask for after. */
  next: number;
  /** At most so many changes went before this reader asked for them. */
  missed: number;
}

/** Counts of flows by namespaces; "(node)", "(outside)" and "(other)" are none. */
export interface FlowCount {
  source: string;
  destination: string;
  verdict: FlowVerdict;
  flows: number;
  bytes: number;
}

/** A packet that a policy has denied. */
export interface DeniedPacket {
  source: string;
  destination: string;
  protocol: number;
  port: number | undefined;
}

/** A pod network, in which an address is somebody's. */
export interface FlowPlace {
  network: string;
  whoHas: (ip: string) => WhoHas | undefined;
}

/** `network` is the default one. */
export interface FlowTableOptions extends FlowPlace {
  /** Name of this node. */
  node: string;
  /** The Service that a packet is addressed to. @param protocol number of the IP protocol (IANA) */
  serviceAt: (protocol: number, ip: string, port: number) => ServiceName | undefined;
  /** Whether packets may pass connection tracking by. */
  passesBy: () => boolean;
  most?: number;
  mostSeries?: number;
}

/** See the header. */
export class FlowTable {
  readonly #options: FlowTableOptions;
  readonly #most: number;
  readonly #mostSeries: number;
  /** In the order of their last change. */
  readonly #flows = new Map<string, { id: number; flow: Flow }>();
  readonly #counts = new Map<string, FlowCount>();
  #seq = 0;
  /** Of the last flow that went. */
  #evicted = 0;
  #left = 0;

  constructor(options: FlowTableOptions) {
    this.#options = options;
    this.#most = options.most ?? MOST_FLOWS;
    this.#mostSeries = options.mostSeries ?? MOST_SERIES;
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Flows that had to go before they ended. */
  get left(): number {
    return this.#left;
  }

  get counts(): Iterable<FlowCount> {
    return this.#counts.values();
  }

  /**
   * Takes in that a connection has begun or ended.
   * @param sampled how many connections it stands for. @param place where; the default network otherwise. @returns whether it is a pod's
   */
  connection(event: ConnectionEvent, sampled: number, now: number, place: FlowPlace = this.#options): boolean {
    const { original, reply, protocol } = event;
    const key = `${place.network} ${event.id} ${original.source} ${original.sourcePort} ${original.destination} ${original.destinationPort}`;
    const known = this.#flows.get(key);
    const flow = known?.flow.state === "open" ? known.flow : this.#flow(event, sampled, now, place);
    if (!flow) return false;
    if (!known || known.flow !== flow) this.#count(flow, 1, 0);
    if (event.ended) {
      flow.state = "ended";
      flow.end = event.stop ?? now;
      if (event.packets !== undefined) flow.packets = event.packets;
      if (event.bytes !== undefined) flow.bytes = event.bytes;
      if ((protocol === 6 || protocol === 17) && this.#options.passesBy()) flow.atLeast = true;
      this.#count(flow, 0, event.bytes ?? 0);
    }
    // Who answers is known by now, where it was not, and so is the Service.
    if (reply.source !== flow.destination.ip) flow.destination = endOf(place, reply.source, reply.sourcePort);
    if (flow.service && flow.service.name === undefined) flow.service = this.#service(protocol, flow.service);
    this.#keep(key, event.id, flow);
    return true;
  }

  /** Takes in that a policy has denied a packet. @param place where; the default network otherwise */
  denied(packet: DeniedPacket, policy: string, now: number, place: FlowPlace = this.#options): void {
    const { source, destination, protocol, port = 0 } = packet;
    const key = `denied ${place.network} ${source} ${destination} ${protocol} ${port} ${policy}`;
    const known = this.#flows.get(key)?.flow;
    const flow: Flow = known ?? {
      seq: 0,
      network: place.network,
      state: "ended",
      verdict: "denied",
      protocol,
      source: endOf(place, source, 0),
      destination: endOf(place, destination, port),
      policy,
      start: now,
      packets: 0,
      sampled: 1,
    };
    flow.packets = (flow.packets ?? 0) + 1;
    flow.end = now;
    if (!known) this.#count(flow, 1, 0);
    this.#keep(key, -1, flow);
  }

  /** Of open flows those that `told` says no of, by the connection's number and the network, have an end that is not told. */
  unfollow(told: (id: number, network: string) => boolean): void {
    for (const { id, flow } of this.#flows.values())
      if (flow.state === "open" && !told(id, flow.network)) flow.state = "unfollowed";
  }

  /** Flows that have changed after a number, oldest change first. */
  read(filter: FlowFilter, after = 0): FlowAnswer {
    const flows: Flow[] = [];
    for (const { flow } of this.#flows.values()) if (flow.seq > after && passesFilter(flow, filter)) flows.push(flow);
    return { flows, next: this.#seq, missed: after === 0 ? 0 : Math.max(0, this.#evicted - after) };
  }

  #flow(event: ConnectionEvent, sampled: number, now: number, place: FlowPlace): Flow | undefined {
    const { original, reply, protocol, start } = event;
    const source = endOf(place, original.source, original.sourcePort);
    const destination = endOf(place, reply.source, reply.sourcePort);
    if (source.pod === undefined && destination.pod === undefined) return undefined;
    const translated =
      original.destination !== reply.source || original.destinationPort !== reply.sourcePort
        ? { service: this.#service(protocol, { ip: original.destination, port: original.destinationPort }) }
        : {};
    const begun = start === undefined || start === 0 ? now : start;
    return {
      seq: 0,
      network: place.network,
      state: "open",
      verdict: "allowed",
      protocol,
      source,
      destination,
      ...translated,
      start: begun,
      sampled,
    };
  }

  #service(protocol: number, { ip, port }: { ip: string; port: number }): Required<Flow>["service"] {
    return { ip, port, ...this.#options.serviceAt(protocol, ip, port) };
  }

  #keep(key: string, id: number, flow: Flow): void {
    flow.seq = ++this.#seq;
    this.#flows.delete(key);
    this.#flows.set(key, { id, flow });
    if (this.#flows.size <= this.#most) return;
    const [oldest] = this.#flows as Iterable<[string, { flow: Flow }]>;
    if (!oldest) return;
    this.#flows.delete(oldest[0]);
    this.#evicted = oldest[1].flow.seq;
    if (oldest[1].flow.state === "open") this.#left++;
  }

  /** A flow is counted where it starts, so that the sum over all nodes counts it once; a denied one where it was denied. */
  #count(flow: Flow, flows: number, bytes: number): void {
    const { source, destination, verdict, sampled } = flow;
    const begunElsewhere = source.node !== undefined && source.node !== this.#options.node;
    if (verdict === "allowed" && begunElsewhere) return;
    const [from, to] = [namespaceOf(source), namespaceOf(destination)];
    let key = `${from} ${to} ${verdict}`;
    let count = this.#counts.get(key);
    if (!count) {
      const full = this.#counts.size >= this.#mostSeries;
      const [a, b] = full ? [OTHER, OTHER] : [from, to];
      key = `${a} ${b} ${verdict}`;
      count = this.#counts.get(key) ?? { source: a, destination: b, verdict, flows: 0, bytes: 0 };
      this.#counts.set(key, count);
    }
    count.flows += flows * sampled;
    count.bytes += bytes * sampled;
  }
}

const OTHER = "(other)";

const endOf = ({ whoHas }: FlowPlace, ip: string, port: number): FlowEnd => ({ ip, port, ...whoHas(ip) });

const namespaceOf = ({ pod, node }: FlowEnd): string =>
  pod === undefined ? (node === undefined ? "(outside)" : "(node)") : (pod.split("/")[0] as string);
