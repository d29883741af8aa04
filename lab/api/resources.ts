/**
 * The resource table: one row a resource, and a further one is one line more. The generic code serves them all;
 * what only one kind knows (a Node's podCIDRs, an Event's namespace) hangs at its row as `defaults` or `validate`.
 */
import { isCidr } from "./names.ts";
import { NETWORK_POLICIES } from "./schema/policy-resources.ts";
import { type FieldProblem, isObject, type KubeObject, type ResourceType, valueAt } from "./types.ts";

const EVENT_FIELDS = [
  "involvedObject.kind",
  "involvedObject.namespace",
  "involvedObject.name",
  "involvedObject.uid",
  "involvedObject.apiVersion",
  "involvedObject.resourceVersion",
  "involvedObject.fieldPath",
  "reason",
  "reportingComponent",
  "source",
  "type",
];
const POD_FIELDS = [
  "spec.nodeName",
  "spec.restartPolicy",
  "spec.schedulerName",
  "spec.serviceAccountName",
  "spec.hostNetwork",
];
const POD_STATUS_FIELDS = ["status.phase", "status.podIP", "status.nominatedNodeName"];

const core = { group: "", version: "v1", statusKeepsMetadata: true };

/** Resources that every server has. */
export const BUILT_IN: readonly ResourceType[] = [
  // biome-ignore format: a table reads best with a row a resource
  { ...core, plural: "namespaces", singular: "namespace", kind: "Namespace", namespaced: false, shortNames: ["ns"], status: true, returnsDeleted: true, labelName: true, selectableFields: ["status.phase"], defaults: namespaceDefaults },
  {
    ...core,
    plural: "nodes",
    singular: "node",
    kind: "Node",
    namespaced: false,
    shortNames: ["no"],
    status: true,
    statusOnCreate: "keep",
    selectableFields: ["spec.unschedulable"],
    defaults: nodeDefaults,
    validate: validateNode,
  },
  {
    ...core,
    plural: "pods",
    singular: "pod",
    kind: "Pod",
    namespaced: true,
    shortNames: ["po"],
    status: true,
    generation: true,
    returnsDeleted: true,
    selectableFields: [...POD_FIELDS, ...POD_STATUS_FIELDS],
    defaults: podDefaults,
  },
  {
    ...core,
    plural: "events",
    singular: "event",
    kind: "Event",
    namespaced: true,
    shortNames: ["ev"],
    createOnUpdate: true,
    lifetimeSeconds: 3600,
    selectableFields: EVENT_FIELDS,
    validate: validateEvent,
  },
  {
    ...core,
    plural: "services",
    singular: "service",
    kind: "Service",
    namespaced: true,
    shortNames: ["svc"],
    status: true,
  },
  { ...core, plural: "configmaps", singular: "configmap", kind: "ConfigMap", namespaced: true, shortNames: ["cm"] },
  {
    ...core,
    group: "coordination.k8s.io",
    plural: "leases",
    singular: "lease",
    kind: "Lease",
    namespaced: true,
    createOnUpdate: true,
    versionedUpdate: true,
  },
  NETWORK_POLICIES,
];

/** Namespaces that exist from the start; the agents' own as well, which Skylane's manifest makes. */
export const SYSTEM_NAMESPACES = [
  "default",
  "kube-node-lease",
  "kube-public",
  "kube-system",
  "skylane-system",
] as const;

function namespaceDefaults(object: KubeObject): KubeObject {
  const labels = { ...object.metadata.labels, "kubernetes.io/metadata.name": object.metadata.name };
  const spec = isObject(object.spec) ? object.spec : { finalizers: ["kubernetes"] };
  const status = isObject(object.status) ? object.status : { phase: "Active" };
  return { ...object, metadata: { ...object.metadata, labels }, spec, status };
}

/** podCIDR and podCIDRs[0] are one value in two fields; whoever sets one gets the other (core/v1 conversion). */
function nodeDefaults(object: KubeObject): KubeObject {
  const spec = isObject(object.spec) ? { ...object.spec } : {};
  const { podCIDR, podCIDRs } = spec;
  if (typeof podCIDR === "string" && podCIDR !== "" && podCIDRs === undefined) spec.podCIDRs = [podCIDR];
  if (podCIDR === undefined && Array.isArray(podCIDRs) && typeof podCIDRs[0] === "string") spec.podCIDR = podCIDRs[0];
  return { ...object, spec, status: isObject(object.status) ? object.status : {} };
}

function podDefaults(object: KubeObject, before?: KubeObject): KubeObject {
  if (before !== undefined || isObject(object.status)) return object;
  return { ...object, status: { phase: "Pending", qosClass: "BestEffort" } };
}

function validateNode(object: KubeObject, before?: KubeObject): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const podCidrs = valueAt(object, "spec.podCIDRs");
  const list = Array.isArray(podCidrs) ? podCidrs.map(String) : [];
  for (const [index, cidr] of list.entries()) {
    if (isCidr(cidr)) continue;
    const field = `spec.podCIDRs[${index}]`;
    const message = `Invalid value: ${JSON.stringify(cidr)}: must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`;
    problems.push({ field, reason: "FieldValueInvalid", message });
  }
  const families = list.map((cidr) => cidr.includes(":"));
  if (list.length > 2 || (list.length === 2 && families[0] === families[1])) {
    const message = `Invalid value: ${JSON.stringify(list)}: may specify no more than one CIDR for each IP family`;
    problems.push({ field: "spec.podCIDRs", reason: "FieldValueInvalid", message });
  }
  const old = before === undefined ? undefined : valueAt(before, "spec.podCIDRs");
  if (Array.isArray(old) && old.length > 0 && JSON.stringify(old) !== JSON.stringify(list)) {
    const message = 'Forbidden: node updates may not change podCIDR except from "" to valid';
    problems.push({ field: "spec.podCIDRs", reason: "FieldValueForbidden", message });
  }
  return problems;
}

/** An Event of a cluster-scoped object lives in `default`; any other with its object. */
function validateEvent(object: KubeObject, before?: KubeObject): FieldProblem[] {
  if (before !== undefined) return [];
  const involved = valueAt(object, "involvedObject.namespace");
  const namespace = typeof involved === "string" ? involved : "";
  const { namespace: own } = object.metadata;
  if (namespace === "" ? own === "default" : own === namespace) return [];
  const message = `Invalid value: ${JSON.stringify(namespace)}: does not match event.namespace`;
  return [{ field: "involvedObject.namespace", reason: "FieldValueInvalid", message }];
}
