/** The kinds of policies: where their objects are, and how one is read. */
import { isDeepStrictEqual } from "node:util";
import type { KubeClient, ReflectorOptions } from "../../kube/index.ts";
import { ObjectReflector } from "../../kube/index.ts";
import type { Json } from "../../json/index.ts";
import {
  ACCEPTED,
  acceptedFor,
  type Condition,
  DOMAIN_NAMES,
  hasNames,
  type Policy,
  readClusterNetworkPolicy,
  readMultiNetworkPolicy,
  readNetworkPolicy,
  type ReadPolicy,
  saidIn,
  says,
} from "../../policy/index.ts";
import { type Identity, identityOf } from "./identity.ts";

/** Which networks policies are about: the default one, or pod networks beside it. */
export type Scope = "default" | "further";

interface Kind {
  kind: Policy["kind"];
  what: string;
  path: string;
  /** Where older clusters have it. */
  olderPath?: string;
  read: (object: unknown) => ReadPolicy;
  scope: Scope;
  /** Its status says whether it is read. */
  stated?: true;
  /** Name of the resource's definition, where the cluster need not have it. */
  definition?: string;
}

/** Kinds, by the plural that their resource has. */
export const KINDS = {
  networkpolicies: {
    kind: "NetworkPolicy",
    what: "NetworkPolicies",
    path: "/apis/networking.k8s.io/v1/networkpolicies",
    read: readNetworkPolicy,
    scope: "default",
  },
  clusternetworkpolicies: {
    kind: "ClusterNetworkPolicy",
    what: "ClusterNetworkPolicies",
    path: "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies",
    read: readClusterNetworkPolicy,
    scope: "default",
    definition: "clusternetworkpolicies.policy.networking.k8s.io",
    stated: true,
  },
  "multi-networkpolicies": {
    kind: "MultiNetworkPolicy",
    what: "MultiNetworkPolicies",
    // The older version has no endPort: read by it, a range of ports is its first port.
    path: "/apis/k8s.cni.cncf.io/v1beta2/multi-networkpolicies",
    olderPath: "/apis/k8s.cni.cncf.io/v1beta1/multi-networkpolicies",
    read: readMultiNetworkPolicy,
    scope: "further",
    definition: "multi-networkpolicies.k8s.cni.cncf.io",
  },
} as const satisfies Record<string, Kind>;

export type Resource = keyof typeof KINDS;
export const RESOURCES = Object.keys(KINDS) as readonly Resource[];
/** Kinds of policies that are about these networks. */
export const resourcesOf = (scope: Scope): readonly Resource[] =>
  RESOURCES.filter((resource) => KINDS[resource].scope === scope);
/** Name of the definition of a resource; undefined for one that every cluster has. */
export const definitionOf = (resource: Resource): string | undefined => (KINDS[resource] as Kind).definition;

/** A policy's object as it is kept. */
export interface PolicyObject extends ReadPolicy, Identity {
  /** `metadata.generation`: which edition of the spec this is; undefined where the server does not count. */
  readonly generation: number | undefined;
  /** What its status is to say and does not say yet; of policies of the cluster. */
  readonly unstated?: Condition;
  /** Of a policy of the cluster that has domain names, or says something of them: what its status says, which depends on nodes. */
  readonly names?: { readonly has: boolean; readonly said: Json | undefined };
}

/** A policy's object. @throws TypeError when it has no name or uid: what else is wrong with it is among its faults */
function policyObject({ read, stated }: Pick<Kind, "read" | "stated">, object: unknown): PolicyObject {
  const identity = identityOf(object);
  const { generation } = (object as { metadata: { generation?: unknown } }).metadata;
  const counted = typeof generation === "number" ? generation : undefined;
  const found = read(object);
  const accepted = stated ? acceptedFor(found, counted) : undefined;
  const names = stated && {
    has: found.policy !== undefined && hasNames(found.policy),
    said: saidIn(object, DOMAIN_NAMES),
  };
  return {
    ...identity,
    generation: counted,
    ...(accepted && !says(saidIn(object, ACCEPTED), accepted) && { unstated: accepted }),
    ...(names && (names.has || names.said) && { names }),
    ...found,
  };
}

const samePolicy = (a: PolicyObject, b: PolicyObject): boolean =>
  a.uid === b.uid &&
  a.generation === b.generation &&
  isDeepStrictEqual(a.unstated, b.unstated) &&
  isDeepStrictEqual(a.names, b.names) &&
  isDeepStrictEqual(a.policy, b.policy) &&
  isDeepStrictEqual(a.faults, b.faults);

/** All policies of a kind; where the API server does not know the kind there are none. */
export function policyReflector(
  client: KubeClient,
  resource: Resource,
  options: ReflectorOptions,
  absentMs?: () => number | undefined,
): ObjectReflector<PolicyObject> {
  const { what, path, olderPath, definition }: Kind = KINDS[resource];
  const source = {
    what,
    path,
    ...(olderPath !== undefined && { olderPath }),
    parse: (object: unknown) => policyObject(KINDS[resource], object),
    same: samePolicy,
    builtIn: definition === undefined,
    ...(absentMs && { absentMs }),
    consequence: "it is not known which policies this node has to keep",
  };
  return new ObjectReflector(client, source, options);
}

/** Whether a policy asks who is a node, by labels of nodes. */
export const asksForNodes = (policy: Policy): boolean =>
  [...(policy.ingress ?? []), ...(policy.egress ?? [])].some(({ peers }) =>
    peers?.some(({ kind }) => kind === "nodes"),
  );
