/** Label selectors as Kubernetes has them (apimachinery, LabelSelector). */
import { refuseKey } from "./object.ts";
import { isObject, type Json } from "../json/index.ts";

const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"] as const;

interface Requirement {
  key: string;
  operator: (typeof OPERATORS)[number];
  values: readonly string[];
}

/** All of it must hold; an empty one selects everything. */
export interface LabelSelector {
  matchLabels: Readonly<Record<string, string>>;
  matchExpressions: readonly Requirement[];
}

export type Labels = Readonly<Record<string, string>>;

/** Reads a selector. @param what for messages. @param path its key, with its section. @throws ObjectError */
export function selectorOf(what: string, selector: Json, path = "spec.namespaceSelector"): LabelSelector {
  // Go writes an absent map or list as null where it writes it at all
  const matchLabels = selector["matchLabels"] ?? {};
  const matchExpressions = selector["matchExpressions"] ?? [];
  if (!isObject(matchLabels) || Object.values(matchLabels).some((value) => typeof value !== "string"))
    refuseKey(what, `${path}.matchLabels`, matchLabels, "texts by key");
  if (!Array.isArray(matchExpressions)) refuseKey(what, `${path}.matchExpressions`, matchExpressions, "a list");
  return {
    matchLabels: matchLabels as Record<string, string>,
    matchExpressions: (matchExpressions as unknown[]).map((one, i) =>
      requirement(what, `${path}.matchExpressions[${i}]`, one),
    ),
  };
}

function requirement(what: string, path: string, value: unknown): Requirement {
  const { key, operator, ...rest } = isObject(value) ? value : {};
  const values = rest["values"] ?? [];
  if (typeof key !== "string" || key === "") refuseKey(what, `${path}.key`, key, "a label's key");
  if (!Array.isArray(values) || values.some((one) => typeof one !== "string"))
    refuseKey(what, `${path}.values`, values, "a list of texts");
  const known = OPERATORS.find((one) => one === operator);
  if (known === undefined) return refuseKey(what, `${path}.operator`, operator, OPERATORS.join(", "));
  // As the API server validates them: a requirement that cannot be meant so would select the wrong ones.
  const needsValues = known === "In" || known === "NotIn";
  if (needsValues !== (values as string[]).length > 0)
    refuseKey(what, `${path}.values`, values, needsValues ? `not empty for ${known}` : `empty for ${known}`);
  return { key, operator: known, values: values as string[] };
}

/** Whether labels are selected: by an absent selector never, by an empty one always. */
export function matchesSelector(selector: LabelSelector | undefined, labels: Labels): boolean {
  if (!selector) return false;
  return (
    Object.entries(selector.matchLabels).every(([key, value]) => valueOf(labels, key) === value) &&
    selector.matchExpressions.every((one) => meets(one, valueOf(labels, one.key)))
  );
}

const valueOf = (labels: Labels, key: string): string | undefined =>
  Object.hasOwn(labels, key) ? labels[key] : undefined;

/** NotIn also selects what has no such label. */
function meets({ operator, values }: Requirement, value: string | undefined): boolean {
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    default:
      return value === undefined;
  }
}
