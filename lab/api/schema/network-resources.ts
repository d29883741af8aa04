/** Skylane's own resources as rows of the table: their schemas, and in place of CEL the same rules as functions. */
import { NETWORK_SCHEMAS } from "./network-schemas.ts";
import { completed, problemsOf, type Schema } from "./schema.ts";
import {
  type FieldProblem,
  isObject,
  type Json,
  type JsonObject,
  type KubeObject,
  type ResourceType,
  sameJson,
} from "../types.ts";

/** A CEL rule: what is wrong with an object, given the one that it replaces. */
type Rule = [field: string, message: string, holds: (now: JsonObject, before: JsonObject | undefined) => boolean];

const NAME = /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/;

/** A rule that an update may not change a key of the spec. */
const fixed = (key: string, message: string): Rule => [
  "spec",
  message,
  (spec, before) => before === undefined || sameJson(spec[key], before[key]),
];

const textOf = (value: Json | undefined): string => (typeof value === "string" ? value : "");
/** Whether a list of two has both families. */
const isMixed = (list: Json | undefined): boolean =>
  !Array.isArray(list) || list.length < 2 || textOf(list[0]).includes(":") !== textOf(list[1]).includes(":");
const hasIpv6 = (list: Json | undefined): boolean =>
  Array.isArray(list) && list.some((one) => textOf(one).includes(":"));

const POD_NETWORK: Rule[] = [
  ...["vni", "cidrs", "mode"].map((key) => fixed(key, `${key} cannot be changed; make another network`)),
  ["spec.cidrs", "two CIDRs must be of different families", ({ cidrs }) => isMixed(cidrs)],
  [
    "spec",
    "directRouting is for networks whose mode is Routed",
    ({ mode, directRouting }) => mode === "Routed" || directRouting === "off",
  ],
  [
    "spec",
    "masquerade is for networks whose mode is Routed",
    ({ mode, masquerade }) => mode === "Routed" || masquerade !== true,
  ],
  [
    "spec",
    "broadcast is for networks whose mode is Bridged",
    ({ mode, broadcast }) => mode === "Bridged" || broadcast !== "Drop",
  ],
  [
    "spec",
    "IPv6 needs an mtu of 1280 or more",
    ({ mtu, cidrs }) => typeof mtu !== "number" || mtu >= 1280 || !hasIpv6(cidrs),
  ],
];
const CLAIMED = "what is claimed cannot be changed";
const ENDPOINTS = "network and node cannot be changed";
const IP_CLAIM: Rule[] = [
  ...["network", "ips", "mac"].map((key) => fixed(key, `${key} cannot be changed; make another claim`)),
  ["spec.ips", "two addresses must be of different families", ({ ips }) => isMixed(ips)],
];

const EGRESS_GATEWAY: Rule[] = [
  [
    "spec",
    "a podSelector or a namespaceSelector says whose packets these are; an empty one selects all",
    ({ podSelector, namespaceSelector }) => podSelector !== undefined || namespaceSelector !== undefined,
  ],
  [
    "spec.egressAddresses",
    "no address may be there twice",
    ({ egressAddresses: list }) => !Array.isArray(list) || new Set(list.map(textOf)).size === list.length,
  ],
];

/** Rules about an object's name and its spec together. */
type Whole = (object: KubeObject, spec: JsonObject, before: JsonObject | undefined) => string | undefined;

const networkName: Whole = ({ metadata: { name } }, spec, before) => {
  if (!NAME.test(name))
    return `the name may have up to 40 of a-z, 0-9 and "-": it is a part of a network namespace's name`;
  if (name !== "default" || before === undefined || sameJson(spec, before)) return undefined;
  return `the network "default" only shows what the agents are configured to; change their configuration`;
};
const blockName: Whole = ({ metadata: { name } }, { network, cidr }) =>
  name === `${textOf(network)}.${textOf(cidr).replace(/[.:/]/g, "-")}`
    ? undefined
    : 'the name must be NETWORK.CIDR, with "-" for every "." and ":" and "/" of the CIDR';
const anyName: Whole = () => undefined;

function row(
  names: Pick<ResourceType, "plural" | "singular" | "kind"> & { shortName: string; namespaced?: boolean },
  schema: Schema,
  rules: readonly Rule[],
  whole: Whole = anyName,
): ResourceType {
  const { shortName, namespaced = false, ...rest } = names;
  return {
    group: "skylane.dev",
    version: "v1alpha1",
    ...rest,
    namespaced,
    shortNames: [shortName],
    custom: true,
    generation: true,
    versionedUpdate: true,
    ...(schema.properties?.["status"] !== undefined && { status: true }),
    defaults: ({ kind, apiVersion, metadata, ...object }) => ({
      kind,
      apiVersion,
      metadata,
      ...(completed(schema, object) as JsonObject),
    }),
    validate: (object, before) => problems(schema, rules, whole, object, before),
  };
}

function problems(
  schema: Schema,
  rules: readonly Rule[],
  whole: Whole,
  object: KubeObject,
  before?: KubeObject,
): FieldProblem[] {
  const { metadata: _metadata, ...rest } = object;
  const misfits = problemsOf(schema, rest, "");
  // As on the real server: rules are asked of what fits the schema only.
  if (misfits.length > 0 || !isObject(object.spec)) return misfits;
  const { spec } = object;
  const old = isObject(before?.spec) ? before.spec : undefined;
  const shown = (field: string, message: string): FieldProblem => ({
    field,
    reason: "FieldValueInvalid",
    message: `Invalid value: "object": ${message}`,
  });
  const named = whole(object, spec, old);
  return [
    ...(named === undefined ? [] : [shown("<nil>", named)]),
    ...rules.filter(([, , holds]) => !holds(spec, old)).map(([field, message]) => shown(field, message)),
  ];
}

/** The rows. */
export const NETWORK_RESOURCES: readonly ResourceType[] = [
  row(
    { plural: "podnetworks", singular: "podnetwork", kind: "PodNetwork", shortName: "pn" },
    NETWORK_SCHEMAS.podnetworks,
    POD_NETWORK,
    networkName,
  ),
  row(
    { plural: "networkblocks", singular: "networkblock", kind: "NetworkBlock", shortName: "nb" },
    NETWORK_SCHEMAS.networkblocks,
    ["network", "cidr", "node"].map((key) => fixed(key, CLAIMED)),
    blockName,
  ),
  row(
    { plural: "networkendpoints", singular: "networkendpoints", kind: "NetworkEndpoints", shortName: "ne" },
    NETWORK_SCHEMAS.networkendpoints,
    ["network", "node"].map((key) => fixed(key, ENDPOINTS)),
  ),
  row(
    { plural: "ipclaims", singular: "ipclaim", kind: "IPClaim", shortName: "ipc", namespaced: true },
    NETWORK_SCHEMAS.ipclaims,
    IP_CLAIM,
  ),
  row(
    { plural: "egressgateways", singular: "egressgateway", kind: "EgressGateway", shortName: "eg" },
    NETWORK_SCHEMAS.egressgateways,
    EGRESS_GATEWAY,
  ),
];
