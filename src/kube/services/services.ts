/** All Services of the cluster that have an address or a port of the nodes, as much as it takes to name them by what somebody has asked for. */
import { parseIp } from "../../addr/index.ts";
import { isObject, keyOf, part } from "../../json/index.ts";
import type { KubeClient } from "../client/client.ts";
import { Reflector } from "../informer/reflector.ts";
import type { ReflectorOptions } from "../informer/source.ts";
import { canonical, metadataOf } from "../informer/transform.ts";
import { readService } from "../wire/service-wire.ts";

/** Whole objects, in the form that costs a server, the wire and us least, where it can be had. */
const WIRE = "application/vnd.kubernetes.protobuf,application/json";
/** Of more Services that a list leaves out, so many are asked about and stand for the others. */
const MOST_ASKED = 100;
/** Services that are kept: their memory has a bound, whatever is made. */
const MOST_SERVICES = 10_000;
/** IANA's numbers. */
const PROTOCOLS: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/** A port of a Service. */
export interface ServicePort {
  /** "" where it has none. */
  readonly name: string;
  /** Number of the IP protocol (IANA). */
  readonly protocol: number;
  readonly port: number;
  /** 0 where it has none. */
  readonly nodePort: number;
}

/** A Service as it is kept. */
export interface ServiceEntry {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion: string;
  /** Under which it is reached: of the cluster, external ones, and a load balancer's; canonical. */
  readonly ips: readonly string[];
  readonly ports: readonly ServicePort[];
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

function portOf(value: unknown): ServicePort | undefined {
  if (!isObject(value)) return undefined;
  const { name, protocol = "TCP", port, nodePort } = value;
  const number = PROTOCOLS[String(protocol === "" ? "TCP" : protocol)];
  if (number === undefined || typeof port !== "number") return undefined;
  return {
    name: typeof name === "string" ? name : "",
    protocol: number,
    port,
    nodePort: typeof nodePort === "number" ? nodePort : 0,
  };
}

/** @throws TypeError naming what is not as it must be */
export function serviceEntry(object: unknown): ServiceEntry {
  const { name, namespace, uid, resourceVersion } = metadataOf(object);
  for (const [key, value] of Object.entries({ name, namespace, uid }))
    if (typeof value !== "string" || value === "") throw new TypeError(`metadata.${key} is no text`);
  const said = [
    part(object, "spec", "clusterIP"),
    ...listOf(part(object, "spec", "clusterIPs")),
    ...listOf(part(object, "spec", "externalIPs")),
    ...listOf(part(object, "status", "loadBalancer", "ingress")).map((one) => part(one, "ip")),
  ];
  return {
    name: name as string,
    namespace: namespace as string,
    uid: uid as string,
    resourceVersion: typeof resourceVersion === "string" ? resourceVersion : "",
    // "None" and "" are no addresses, and left out.
    ips: canonical(
      said.filter((one) => typeof one === "string"),
      parseIp,
    ).slice(),
    ports: listOf(part(object, "spec", "ports")).flatMap((one) => portOf(one) ?? []),
  };
}

const sameService = (a: ServiceEntry, b: ServiceEntry): boolean =>
  a.uid === b.uid && JSON.stringify([a.ips, a.ports]) === JSON.stringify([b.ips, b.ports]);

/** See the header. `objects` has them by `<namespace>/<name>`; headless ones and names of somebody outside are none of them. */
export class ServiceReflector extends Reflector<ServiceEntry> {
  /** The last list, and how many had come whole before it did. */
  #listed: { map: WeakRef<Map<string, ServiceEntry>>; after: number } | undefined;
  readonly #most: number;

  constructor(client: KubeClient, options: ReflectorOptions & { most?: number } = {}) {
    let isMade = false;
    const source = {
      what: "Services",
      path: "/api/v1/services",
      query: {},
      accept: { object: "application/json", list: WIRE, watch: WIRE },
      transform: serviceEntry,
      same: sameService,
      read: readService,
      belongs: (one: ServiceEntry) => one.ips.length > 0 && this.#hasRoom(one),
      kept: (): Map<string, ServiceEntry> => {
        const map = new Map<string, ServiceEntry>();
        // The first is the set itself, which is made before there is a reflector to know it.
        if (isMade) this.#listed = { map: new WeakRef(map), after: this.state.relists };
        return map;
      },
      mostAsked: MOST_ASKED,
      firstFromMemory: true,
    };
    super(client, source, options);
    this.#most = options.most ?? MOST_SERVICES;
    isMade = true;
  }

  /** Those that are known go before those that are not. */
  #hasRoom(service: ServiceEntry): boolean {
    if (this.objects.has(keyOf(service))) return true;
    const comesIn = this.#listed?.after === this.state.relists ? this.#listed.map.deref() : undefined;
    return (comesIn ?? this.objects).size < this.#most;
  }
}
