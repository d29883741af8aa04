/** Services by what packets to them are addressed to: an address and a port of theirs, or a port of the nodes. It does no I/O. */
import { keyOf } from "../json/index.ts";

/** What is known of a Service. */
export interface NamedService {
  readonly namespace: string;
  readonly name: string;
  /** Under which it is reached, canonical. */
  readonly ips: readonly string[];
  /** Protocols are IANA's numbers; `nodePort` is 0, and `name` "", where there is none. */
  readonly ports: readonly {
    readonly name: string;
    readonly protocol: number;
    readonly port: number;
    readonly nodePort: number;
  }[];
}

/** A port of a Service. */
export interface ServiceName {
  /** NAMESPACE/NAME. */
  name: string;
  /** Absent where it has none. */
  portName?: string;
}

interface Known {
  key: string;
  service: NamedService;
}

/** See the header. What is removed is named no more; flows keep the name that they were given. */
export class ServiceNames {
  /** Two may have an external address in common, with different ports. */
  readonly #byIp = new Map<string, readonly Known[]>();
  /** Ports of nodes, which each one Service has: {@link nodePortKey}. */
  readonly #byNodePort = new Map<number, Known>();
  readonly #known = new Map<string, Known>();

  /** Takes in that there is a Service, or that it is otherwise now. */
  set(service: NamedService): void {
    const key = keyOf(service);
    this.delete(key);
    const known: Known = { key, service };
    this.#known.set(key, known);
    for (const ip of service.ips) this.#byIp.set(ip, [...(this.#byIp.get(ip) ?? []), known]);
    for (const { protocol, nodePort } of service.ports)
      if (nodePort > 0) this.#byNodePort.set(nodePortKey(protocol, nodePort), known);
  }

  /** @param key NAMESPACE/NAME */
  delete(key: string): void {
    const known = this.#known.get(key);
    if (!known) return;
    this.#known.delete(key);
    for (const ip of known.service.ips) {
      const others = (this.#byIp.get(ip) ?? []).filter((one) => one !== known);
      if (others.length > 0) this.#byIp.set(ip, others);
      else this.#byIp.delete(ip);
    }
    for (const { protocol, nodePort } of known.service.ports) {
      const at = nodePortKey(protocol, nodePort);
      if (this.#byNodePort.get(at) === known) this.#byNodePort.delete(at);
    }
  }

  /**
   * The Service that a packet is addressed to; undefined where none that is known has the address and the port.
   * @param protocol number of the IP protocol (IANA). @param isNode whether the address is a node's: its ports are those of Services, too
   */
  at(protocol: number, ip: string, port: number, isNode: (ip: string) => boolean): ServiceName | undefined {
    for (const { key, service } of this.#byIp.get(ip) ?? []) {
      const found = service.ports.find((one) => one.protocol === protocol && one.port === port);
      if (found) return named(key, found.name);
    }
    const known = this.#byNodePort.get(nodePortKey(protocol, port));
    if (!known || !isNode(ip)) return undefined;
    const found = known.service.ports.find((one) => one.protocol === protocol && one.nodePort === port);
    return found && named(known.key, found.name);
  }
}

const nodePortKey = (protocol: number, nodePort: number): number => protocol * 65_536 + nodePort;
const named = (name: string, portName: string): ServiceName => ({ name, ...(portName !== "" && { portName }) });
