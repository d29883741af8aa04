/**
 * `NetworkPolicy` (networking.k8s.io/v1) from JSON. What has faults fails closed: a rule, peer or port that cannot be read allows
 * nothing, and the pods stay isolated by the rest.
 *
 * Absent and empty, as the API documents them: no `ingress` and an empty one both isolate without allowing anything; a rule without `from` or with
 * an empty one allows everybody, one without `ports` or with none everything; an absent selector is not there, an empty one selects all.
 */
import type { Block, Peer, PodSelection, Policy, PortMatch, Rule } from "../semantics/types.ts";
import { familyOf, cidrCovers } from "../../addr/index.ts";
import { EVERYTHING_SELECTED } from "../semantics/selector.ts";
import { PROTOCOLS } from "../semantics/types.ts";
import {
  Budget,
  cidrOfField,
  Faults,
  FieldFault,
  isAbsent,
  LIMITS,
  listOf,
  nameOf,
  objectOf,
  refuse,
  selectorAt,
  wholeOf,
  wordOf,
} from "./fields.ts";
import { partsOf, type ReadPolicy } from "./policy-object.ts";

/** Reads one; never throws. */
export function readNetworkPolicy(object: unknown): ReadPolicy {
  const faults = new Faults();
  const policy = faults.attempt((): Policy => {
    const { metadata, spec, name, audit } = partsOf(object);
    const namespace = nameOf("metadata.namespace", metadata["namespace"]);
    const subject: PodSelection = {
      namespace,
      namespaces: undefined,
      // One that cannot be read selects the whole namespace: its author meant to isolate somebody in it.
      pods: faults.attempt(() => selectorAt("spec.podSelector", spec["podSelector"])) ?? EVERYTHING_SELECTED,
    };
    const types = typesOf(spec["policyTypes"], spec["egress"], faults);
    const rules = (direction: "ingress" | "egress", peers: string): Rule[] | undefined =>
      types.has(direction) ? rulesOf(`spec.${direction}`, spec[direction], peers, namespace, faults) : undefined;
    const both = { ingress: rules("ingress", "from"), egress: rules("egress", "to") };
    return { kind: "NetworkPolicy", namespace, name, tier: "NetworkPolicy", priority: 0, subject, ...both, audit };
  });
  return { policy, faults: faults.list() };
}

/** Without types a policy is about ingress, and about egress where it has rules for it. A type that is not known isolates in both. */
function typesOf(value: unknown, egress: unknown, faults: Faults): Set<"ingress" | "egress"> {
  const listed = faults.attempt(() =>
    (listOf("spec.policyTypes", value, 2) ?? []).map((one, i) =>
      wordOf(`spec.policyTypes[${i}]`, one, ["Ingress", "Egress"] as const),
    ),
  );
  if (listed === undefined) return new Set(["ingress", "egress"]);
  if (listed.length === 0)
    return new Set(
      isAbsent(egress) || (Array.isArray(egress) && egress.length === 0) ? ["ingress"] : ["ingress", "egress"],
    );
  return new Set(listed.map((one) => (one === "Ingress" ? "ingress" : "egress")));
}

function rulesOf(path: string, value: unknown, peersKey: string, namespace: string, faults: Faults): Rule[] {
  const list = faults.attempt(() => listOf(path, value, LIMITS.rules)) ?? [];
  const [peers, ports] = [new Budget("peers", LIMITS.peers), new Budget("ports", LIMITS.ports)];
  // A rule with a fault keeps its place: others are named by theirs.
  return list.map((one, i) => {
    const rule = faults.attempt((): Rule => {
      const fields = objectOf(`${path}[${i}]`, one);
      return {
        action: "Accept",
        peers: partsWith(`${path}[${i}].${peersKey}`, fields[peersKey], LIMITS.peers, peers, faults, (at, peer) =>
          peerOf(at, peer, namespace),
        ),
        ports: partsWith(`${path}[${i}].ports`, fields["ports"], LIMITS.ports, ports, faults, portOf),
      };
    });
    return rule ?? { action: "Accept", peers: [], ports: [] };
  });
}

/** The parts of a rule that can be read; undefined where it has none, which is not the same as none that can be read. */
function partsWith<T>(
  path: string,
  value: unknown,
  most: number,
  budget: Budget,
  faults: Faults,
  read: (path: string, one: unknown) => T,
): T[] | undefined {
  const list = listOf(path, value, most);
  if (list === undefined || list.length === 0) return undefined;
  budget.take(list.length);
  return list.flatMap((one, i) => faults.attempt(() => [read(`${path}[${i}]`, one)]) ?? []);
}

function peerOf(path: string, value: unknown, namespace: string): Peer {
  const { ipBlock, podSelector, namespaceSelector } = objectOf(path, value);
  const pods = selectorAt(`${path}.podSelector`, podSelector);
  const namespaces = selectorAt(`${path}.namespaceSelector`, namespaceSelector);
  if (!isAbsent(ipBlock)) {
    if (pods || namespaces) throw new FieldFault(`${path} has a selector beside ipBlock; one peer is one or the other`);
    return { kind: "block", block: blockOf(`${path}.ipBlock`, ipBlock) };
  }
  if (!pods && !namespaces) return refuse(path, value, "a podSelector, a namespaceSelector, both, or an ipBlock");
  return {
    kind: "pods",
    pods: {
      namespace: namespaces ? undefined : namespace,
      namespaces,
      pods: pods ?? EVERYTHING_SELECTED,
    },
  };
}

function blockOf(path: string, value: unknown): Block {
  const fields = objectOf(path, value);
  const cidr = cidrOfField(`${path}.cidr`, fields["cidr"]);
  const except = (listOf(`${path}.except`, fields["except"], LIMITS.except) ?? []).map((one, i) => {
    const inner = cidrOfField(`${path}.except[${i}]`, one);
    if (familyOf(inner) !== familyOf(cidr) || !cidrCovers(cidr, inner))
      return refuse(`${path}.except[${i}]`, one, `a part of ${cidr}`);
    return inner;
  });
  return { cidr, except };
}

function portOf(path: string, value: unknown): PortMatch {
  const fields = objectOf(path, value);
  const protocol = isAbsent(fields["protocol"]) ? "TCP" : wordOf(`${path}.protocol`, fields["protocol"], PROTOCOLS);
  const { port, endPort } = fields;
  if (typeof port === "string") {
    if (!isAbsent(endPort)) throw new FieldFault(`${path}.endPort is there, but the port is a name`);
    if (port === "" || port.length > 63) return refuse(`${path}.port`, port, "a port's number or name");
    return { name: port, protocol };
  }
  if (isAbsent(port)) {
    if (!isAbsent(endPort)) throw new FieldFault(`${path}.endPort is there without a port`);
    return { protocol, first: 0, last: 65_535 };
  }
  const first = wholeOf(`${path}.port`, port, 1, 65_535);
  return { protocol, first, last: isAbsent(endPort) ? first : wholeOf(`${path}.endPort`, endPort, first, 65_535) };
}
