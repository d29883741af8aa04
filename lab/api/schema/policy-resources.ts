/** NetworkPolicies as a row of the table: what the real server fills in, and the faults that it refuses (pkg/apis/networking). */
import { isCidr } from "../names.ts";
import {
  type FieldProblem,
  isObject,
  type Json,
  type JsonObject,
  type KubeObject,
  type ResourceType,
} from "../types.ts";

const listOf = (value: Json | undefined): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);
const isEmpty = (value: Json | undefined): boolean => !Array.isArray(value) || value.length === 0;

/** Ports are TCP's where they do not say; a policy is about ingress, and about egress where it has rules for it. */
function defaults(object: KubeObject): KubeObject {
  const spec = isObject(object.spec) ? object.spec : {};
  const rules = (value: Json | undefined): Json | undefined =>
    Array.isArray(value)
      ? value.map((rule) =>
          isObject(rule) && Array.isArray(rule["ports"])
            ? { ...rule, ports: rule["ports"].map((port) => (isObject(port) ? { protocol: "TCP", ...port } : port)) }
            : rule,
        )
      : value;
  const policyTypes = isEmpty(spec["policyTypes"])
    ? ["Ingress", ...(isEmpty(spec["egress"]) ? [] : ["Egress"])]
    : spec["policyTypes"];
  const { ingress, egress } = spec;
  return {
    ...object,
    spec: {
      podSelector: {},
      ...spec,
      ...(ingress !== undefined && { ingress: rules(ingress) }),
      ...(egress !== undefined && { egress: rules(egress) }),
      policyTypes,
    },
  };
}

function validate({ spec }: KubeObject): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const refuse = (field: string, message: string, reason: FieldProblem["reason"] = "FieldValueInvalid"): void => {
    problems.push({ field, reason, message });
  };
  if (!isObject(spec)) return problems;
  for (const [direction, side] of [
    ["ingress", "from"],
    ["egress", "to"],
  ] as const)
    for (const [r, rule] of listOf(spec[direction]).entries()) {
      const at = `spec.${direction}[${r}]`;
      for (const [i, port] of listOf(rule["ports"]).entries()) portProblems(`${at}.ports[${i}]`, port, refuse);
      for (const [i, peer] of listOf(rule[side]).entries()) peerProblems(`${at}.${side}[${i}]`, peer, refuse);
    }
  const types = spec["policyTypes"];
  if (Array.isArray(types) && types.length > 2)
    refuse("spec.policyTypes", `Invalid value: ${JSON.stringify(types)}: may not specify more than two policyTypes`);
  return problems;
}

type Refuse = (field: string, message: string, reason?: FieldProblem["reason"]) => void;

function portProblems(at: string, { protocol, port, endPort }: JsonObject, refuse: Refuse): void {
  if (typeof protocol !== "string" || !["TCP", "UDP", "SCTP"].includes(protocol))
    refuse(
      `${at}.protocol`,
      `Unsupported value: ${JSON.stringify(protocol)}: supported values: "SCTP", "TCP", "UDP"`,
      "FieldValueNotSupported",
    );
  if (typeof port === "number" && (port < 1 || port > 65_535))
    refuse(`${at}.port`, `Invalid value: ${port}: must be between 1 and 65535, inclusive`);
  if (endPort === undefined) return;
  if (typeof port !== "number")
    return refuse(
      `${at}.endPort`,
      `Invalid value: ${JSON.stringify(endPort)}: may not be specified when \`port\` is not specified`,
    );
  if (typeof endPort !== "number" || endPort < port || endPort > 65_535)
    refuse(`${at}.endPort`, `Invalid value: ${JSON.stringify(endPort)}: must be greater than or equal to \`port\``);
}

function peerProblems(at: string, peer: JsonObject, refuse: Refuse): void {
  const { ipBlock, podSelector, namespaceSelector } = peer;
  if (ipBlock === undefined) {
    if (podSelector === undefined && namespaceSelector === undefined)
      refuse(at, "Required value: must specify a peer", "FieldValueRequired");
    return;
  }
  if (podSelector !== undefined || namespaceSelector !== undefined)
    return refuse(at, "Forbidden: may not specify both ipBlock and another peer", "FieldValueForbidden");
  const { cidr } = isObject(ipBlock) ? ipBlock : {};
  if (typeof cidr !== "string" || !isCidr(cidr))
    refuse(
      `${at}.ipBlock.cidr`,
      `Invalid value: ${JSON.stringify(cidr ?? "")}: must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`,
    );
}

/** The row. */
export const NETWORK_POLICIES: ResourceType = {
  group: "networking.k8s.io",
  version: "v1",
  plural: "networkpolicies",
  singular: "networkpolicy",
  kind: "NetworkPolicy",
  namespaced: true,
  shortNames: ["netpol"],
  generation: true,
  defaults,
  validate,
};
