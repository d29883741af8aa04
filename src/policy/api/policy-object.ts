/** What both kinds of policies have: metadata, and our annotation. */
import type { Policy } from "../semantics/types.ts";
import { isAbsent, nameOf, objectOf } from "./fields.ts";
import { isObject, type Json } from "../../json/index.ts";

/** On a policy or its namespace: `audit` counts and logs what would be denied, and denies nothing. */
export const MODE_ANNOTATION = "skylane.dev/policy-mode";

/** What was read of an object of the API. */
export interface ReadPolicy {
  /** Undefined where not even the pods that it is about could be read. */
  policy: Policy | undefined;
  /** What was wrong; the parts with faults allow nothing. */
  faults: string[];
}

/** Metadata and spec. @throws FieldFault */
export function partsOf(object: unknown): { metadata: Json; spec: Json; name: string; audit: boolean } {
  const metadata = objectOf("metadata", objectOf("the object", object)["metadata"]);
  const spec = (object as Json)["spec"];
  return {
    metadata,
    name: nameOf("metadata.name", metadata["name"]),
    spec: isAbsent(spec) ? {} : objectOf("spec", spec),
    audit: isInAudit(metadata["annotations"]),
  };
}

/** Whether annotations say so; anything but the one word is no reason to let traffic pass. */
export const isInAudit = (annotations: unknown): boolean =>
  isObject(annotations) && annotations[MODE_ANNOTATION] === "audit";
