/**
 * `ClusterNetworkPolicy` (policy.networking.k8s.io/v1alpha2) from JSON. A peer or protocol that this version does not know fails closed
 * as the API asks for: an Accept rule with one matches nothing, a Deny or Pass rule denies everything.
 */
import { domainNameOf } from "../semantics/domain-names.ts";
import { EVERYTHING_SELECTED } from "../semantics/selector.ts";
import type { Peer, PodSelection, Policy, PortMatch, Protocol, Rule } from "../semantics/types.ts";
import {
  Budget,
  cidrOfField,
  Faults,
  FieldFault,
  isAbsent,
  LIMITS,
  listOf,
  objectOf,
  refuse,
  selectorAt,
  wholeOf,
  wordOf,
} from "./fields.ts";
import { partsOf, type ReadPolicy } from "./policy-object.ts";
import type { Json } from "../../json/index.ts";

const ACTIONS = ["Accept", "Deny", "Pass"] as const;
const NAME_LENGTH = 100;

/** Reads one; never throws. */
export function readClusterNetworkPolicy(object: unknown): ReadPolicy {
  const faults = new Faults();
  const policy = faults.attempt((): Policy => {
    const { spec, name, audit } = partsOf(object);
    return {
      kind: "ClusterNetworkPolicy",
      namespace: undefined,
      name,
      tier: wordOf("spec.tier", spec["tier"], ["Admin", "Baseline"] as const),
      priority: wholeOf("spec.priority", spec["priority"], 0, 1_000),
      subject: podsOf("spec.subject", objectOf("spec.subject", spec["subject"])),
      ingress: rulesOf("spec.ingress", spec["ingress"], "from", faults),
      egress: rulesOf("spec.egress", spec["egress"], "to", faults),
      audit,
    };
  });
  return { policy, faults: faults.list() };
}

/** What a policy without rules of a direction does not affect. */
function rulesOf(path: string, value: unknown, peersKey: "from" | "to", faults: Faults): Rule[] | undefined {
  const list = faults.attempt(() => listOf(path, value, LIMITS.rules) ?? []);
  // As many rules as nobody writes could have begun with anything.
  if (list === undefined) return [closed("Deny")];
  const [peers, ports] = [new Budget("peers", LIMITS.peers), new Budget("ports", LIMITS.ports)];
  const rules = list.map((one, i) => ruleOf(`${path}[${i}]`, one, peersKey, { peers, ports }, faults));
  return rules.length === 0 ? undefined : rules;
}

/** What is left of a rule with a fault. */
const closed = (action: Rule["action"] | undefined): Rule =>
  action === "Accept" ? { action, peers: [], ports: [] } : { action: "Deny", peers: undefined, ports: undefined };

function ruleOf(
  path: string,
  value: unknown,
  peersKey: "from" | "to",
  budgets: { peers: Budget; ports: Budget },
  faults: Faults,
): Rule {
  let action: Rule["action"] | undefined;
  const rule = faults.attempt((): Rule => {
    const fields = objectOf(path, value);
    action = wordOf(`${path}.action`, fields["action"], ACTIONS);
    const { name } = fields;
    if (!isAbsent(name) && (typeof name !== "string" || name.length > NAME_LENGTH))
      refuse(`${path}.name`, name, `a text of at most ${NAME_LENGTH} characters`);
    const peers = listOf(`${path}.${peersKey}`, fields[peersKey], LIMITS.peers) ?? [];
    if (peers.length === 0) refuse(`${path}.${peersKey}`, fields[peersKey], "a list with somebody in it");
    const protocols = listOf(`${path}.protocols`, fields["protocols"], LIMITS.ports);
    if (protocols?.length === 0) refuse(`${path}.protocols`, protocols, "absent or a list with something in it");
    budgets.peers.take(peers.length);
    budgets.ports.take(protocols?.length ?? 0);
    return {
      action,
      ...(name ? { name } : {}),
      peers: peers.flatMap((one, i) =>
        peersOf(`${path}.${peersKey}[${i}]`, one, { egress: peersKey === "to", action }, budgets.peers),
      ),
      ports: protocols?.flatMap((one, i) => portsOf(`${path}.protocols[${i}]`, one)),
    };
  });
  return rule ?? closed(action);
}

/** The one field of a union. @throws FieldFault when there is another number, or one that is not known */
function oneOf(path: string, fields: Json, known: readonly string[]): [string, unknown] {
  const present = Object.entries(fields).filter(([, value]) => !isAbsent(value));
  const [first] = present;
  if (present.length !== 1 || first === undefined || !known.includes(first[0]))
    return refuse(path, fields, `exactly one of ${known.join(", ")}`);
  return first;
}

function podsOf(path: string, fields: Json): PodSelection {
  const [key, value] = oneOf(path, fields, ["namespaces", "pods"]);
  if (key === "namespaces") {
    const namespaces = selectorAt(`${path}.namespaces`, value);
    return { namespace: undefined, namespaces, pods: EVERYTHING_SELECTED };
  }
  const { namespaceSelector, podSelector } = objectOf(`${path}.pods`, value);
  return {
    namespace: undefined,
    namespaces: selectorAt(`${path}.pods.namespaceSelector`, namespaceSelector) ?? EVERYTHING_SELECTED,
    pods: selectorAt(`${path}.pods.podSelector`, podSelector) ?? EVERYTHING_SELECTED,
  };
}

/** @throws FieldFault */
function domainNameAt(path: string, value: unknown): string {
  const name = typeof value === "string" ? domainNameOf(value) : undefined;
  return name ?? refuse(path, value, 'a domain name, or "*." and one');
}

function peersOf(
  path: string,
  value: unknown,
  { egress, action }: { egress: boolean; action: Rule["action"] | undefined },
  budget: Budget,
): Peer[] {
  const fields = objectOf(path, value);
  const known = ["namespaces", "pods", ...(egress ? ["nodes", "networks", "domainNames"] : [])];
  const [key, found] = oneOf(path, fields, known);
  switch (key) {
    case "nodes":
      return [{ kind: "nodes", nodes: selectorAt(`${path}.nodes`, found) ?? EVERYTHING_SELECTED }];
    case "networks": {
      const networks = listOf(`${path}.networks`, found, LIMITS.peers) ?? [];
      if (networks.length === 0) refuse(`${path}.networks`, found, "a list with a CIDR in it");
      budget.take(networks.length);
      return networks.map((one, i) => ({
        kind: "block",
        block: { cidr: cidrOfField(`${path}.networks[${i}]`, one), except: [] },
      }));
    }
    case "domainNames": {
      if (action !== "Accept") throw new FieldFault(`${path}.domainNames is for rules that Accept alone`);
      const names = listOf(`${path}.domainNames`, found, LIMITS.names) ?? [];
      if (names.length === 0) refuse(`${path}.domainNames`, found, "a list with a domain name in it");
      return [{ kind: "names", names: names.map((one, i) => domainNameAt(`${path}.domainNames[${i}]`, one)) }];
    }
    default:
      return [{ kind: "pods", pods: podsOf(path, fields) }];
  }
}

const PROTOCOL_FIELDS: Readonly<Record<string, Protocol>> = { tcp: "TCP", udp: "UDP", sctp: "SCTP" };

function portsOf(path: string, value: unknown): PortMatch[] {
  const [key, found] = oneOf(path, objectOf(path, value), ["tcp", "udp", "sctp", "destinationNamedPort"]);
  if (key === "destinationNamedPort") {
    if (typeof found !== "string" || found === "" || found.length > 63)
      return refuse(`${path}.destinationNamedPort`, found, "a port's name");
    return [{ name: found, protocol: undefined }];
  }
  const protocol = PROTOCOL_FIELDS[key] as Protocol;
  const { destinationPort, ...unknown } = objectOf(`${path}.${key}`, found);
  // A condition of a later version narrows what is matched.
  for (const field of Object.keys(unknown)) refuse(`${path}.${key}`, { [field]: unknown[field] }, "a destinationPort");
  if (isAbsent(destinationPort)) return [{ protocol, first: 0, last: 65_535 }];
  const at = `${path}.${key}.destinationPort`;
  const [kind, port] = oneOf(at, objectOf(at, destinationPort), ["number", "range"]);
  if (kind === "number") {
    const number = wholeOf(`${at}.number`, port, 1, 65_535);
    return [{ protocol, first: number, last: number }];
  }
  const { start, end } = objectOf(`${at}.range`, port);
  const first = wholeOf(`${at}.range.start`, start, 1, 65_535);
  return [{ protocol, first, last: wholeOf(`${at}.range.end`, end, first, 65_535) }];
}
