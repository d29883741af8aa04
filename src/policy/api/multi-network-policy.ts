/**
 * `MultiNetworkPolicy` (k8s.cni.cncf.io/v1beta1 and v1beta2) from JSON: a NetworkPolicy for interfaces beside a pod's first one. Which networks it
 * is about an annotation says, by the NetworkAttachmentDefinitions that attach pods to them.
 */
import { FieldFault, Faults, isAbsent, LIMITS, nameOf, refuse } from "./fields.ts";
import { readNetworkPolicy } from "./network-policy.ts";
import type { ReadPolicy } from "./policy-object.ts";
import { isObject } from "../../json/index.ts";

/** Names NetworkAttachmentDefinitions, `[NAMESPACE/]NAME`, one beside the other with commas; those without a namespace are in the policy's own. */
export const POLICY_FOR_ANNOTATION = "k8s.v1.cni.cncf.io/policy-for";
/** Networks that one policy may name, and characters in which it may. */
const MOST_NETWORKS = 256;
const MOST_CHARACTERS = 65_536;

/** Reads one; never throws. What cannot be read of the annotation is nobody's network, and a fault. */
export function readMultiNetworkPolicy(object: unknown): ReadPolicy {
  const { policy, faults: found } = readNetworkPolicy(object);
  if (!policy) return { policy, faults: found };
  const faults = new Faults();
  const { metadata } = object as { metadata: Readonly<Record<string, unknown>> };
  const annotations = isObject(metadata["annotations"]) ? metadata["annotations"] : {};
  const networks = networksOf(annotations[POLICY_FOR_ANNOTATION], policy.namespace ?? "", faults);
  return {
    policy: { ...policy, kind: "MultiNetworkPolicy", networks },
    faults: [...found, ...faults.list()].slice(0, LIMITS.faults + 1),
  };
}

function networksOf(value: unknown, namespace: string, faults: Faults): string[] {
  const at = `metadata.annotations["${POLICY_FOR_ANNOTATION}"]`;
  const list = faults.attempt(() => {
    if (isAbsent(value)) throw new FieldFault(`${at} is missing: the policy is about no network`);
    if (typeof value !== "string" || value.length > MOST_CHARACTERS)
      return refuse(at, value, `a text of at most ${MOST_CHARACTERS} characters`);
    const names = value.split(",");
    if (names.length > MOST_NETWORKS)
      throw new FieldFault(`${at} names ${names.length} networks; the most is ${MOST_NETWORKS}`);
    return names;
  });
  const networks = (list ?? []).flatMap((one) => faults.attempt(() => [definitionName(at, one, namespace)]) ?? []);
  return [...new Set(networks)].sort();
}

/** @throws FieldFault */
function definitionName(at: string, text: string, namespace: string): string {
  const parts = text.trim().split("/");
  if (parts.length > 2) return refuse(at, text, "a list of [NAMESPACE/]NAME");
  const name = nameOf(at, parts.at(-1));
  return parts.length === 1 ? `${namespace}/${name}` : `${nameOf(at, parts[0])}/${name}`;
}
