/** Which pods leave by which gateway and behind which address; which addresses cannot be. Pure. */
import { cidrContains, type Family, familyOf } from "../addr/index.ts";
import { type EgressGatewayInfo, isOlder, type Labels, matchesSelector } from "../crd/index.ts";
import { best } from "./rendezvous.ts";

/** A pod as far as it matters here. */
export interface EgressPod {
  /** NAMESPACE/NAME. */
  key: string;
  namespace: string;
  labels: Labels;
  node: string;
  /** The PodNetwork in which it has these addresses; absent: the default one. */
  network?: string;
  /** Those of its addresses that the API server has given to its node; in a PodNetwork those that it has there. */
  ips: readonly string[];
}

/** An address of a pod that leaves by a gateway. */
export interface SelectedPod {
  key: string;
  node: string;
  ip: string;
  /** Egress address of the same family; undefined where the gateway has none that can be. */
  address: string | undefined;
}

/** A gateway, the pods that are its, and which of its addresses cannot be. */
export interface Selected {
  gateway: EgressGatewayInfo;
  pods: readonly SelectedPod[];
  usable: readonly string[];
  /** Why addresses cannot be used, by address. */
  refused: ReadonlyMap<string, string>;
}

/** What an egress address may not be. */
export interface Taken {
  /** The node whose address it is. */
  nodeOf: (ip: string) => string | undefined;
  apiServer: readonly string[];
  /** Prefixes of pods and of Services. */
  pods: readonly string[];
  services: readonly string[];
}

/** Whether a gateway selects a pod by its labels and those of its namespace. */
export const selects = (
  { podSelector, namespaceSelector }: EgressGatewayInfo,
  labels: Labels,
  namespace: Labels,
): boolean =>
  (!podSelector || matchesSelector(podSelector, labels)) &&
  (!namespaceSelector || matchesSelector(namespaceSelector, namespace));

/** Gateways, the oldest first: of two that want the same it has it. */
const byAge = (gateways: Iterable<EgressGatewayInfo>): EgressGatewayInfo[] =>
  [...gateways].sort((a, b) => (isOlder(a, b) ? -1 : 1));

/** Why an address cannot be used, in words; undefined where it can. */
function faultOf(ip: string, { nodeOf, apiServer, pods, services }: Taken): string | undefined {
  if (apiServer.includes(ip)) return "it is the API server's";
  const pod = pods.find((cidr) => cidrContains(cidr, ip));
  if (pod !== undefined) return `it is a pod's (${pod})`;
  const service = services.find((cidr) => cidrContains(cidr, ip));
  if (service !== undefined) return `it is a Service's (${service})`;
  const node = nodeOf(ip);
  return node === undefined ? undefined : `it is an address of node ${node}`;
}

/**
 * Gives each pod to the oldest gateway that selects it and has addresses of the family, and there one of the addresses.
 * @param namespaces labels by name; pods of others are selected by no namespaceSelector
 */
export function select(
  gateways: Iterable<EgressGatewayInfo>,
  pods: Iterable<EgressPod>,
  namespaces: ReadonlyMap<string, Labels>,
  taken: Taken,
): Selected[] {
  const owners = new Map<string, string>();
  const all = byAge(gateways).map((gateway) => {
    const refused = new Map<string, string>();
    for (const ip of gateway.addresses) {
      const owner = owners.get(ip);
      const fault = owner === undefined ? faultOf(ip, taken) : `EgressGateway ${owner} has it, which is older`;
      if (fault === undefined) owners.set(ip, gateway.name);
      else refused.set(ip, fault);
    }
    const usable = gateway.addresses.filter((ip) => !refused.has(ip));
    return { gateway, pods: [] as SelectedPod[], usable, refused, families: new Set(gateway.addresses.map(familyOf)) };
  });
  if (all.length > 0)
    for (const pod of pods) {
      const namespace = namespaces.get(pod.namespace) ?? {};
      const those = all.filter(
        ({ gateway }) => gateway.network === pod.network && selects(gateway, pod.labels, namespace),
      );
      for (const ip of those.length > 0 ? pod.ips : []) {
        const family: Family = familyOf(ip);
        const one = those.find(({ families }) => families.has(family));
        const address = best(pod.key, one?.usable.filter((egress) => familyOf(egress) === family) ?? []);
        one?.pods.push({ key: pod.key, node: pod.node, ip, address });
      }
    }
  return all.map(({ gateway, pods: its, usable, refused }) => ({ gateway, pods: its, usable, refused }));
}
