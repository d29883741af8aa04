/**
 * labelSelector and fieldSelector of lists and watches (k8s.io/apimachinery/pkg/labels and pkg/fields): text to a
 * predicate. A malformed one is a 400, as is a field that the resource cannot be selected by.
 */
import { badRequest } from "../errors.ts";
import { labelValueProblem, qualifiedNameProblem } from "../names.ts";
import { isObject, type KubeObject, type ResourceType, valueAt } from "../types.ts";

/** Whether an object is selected. */
export type Predicate = (object: KubeObject) => boolean;

type Labels = { readonly [key: string]: string };

const SET_REQUIREMENT = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/;
const EQUALITY_REQUIREMENT = /^([^\s=!<>]+)\s*(==|=|!=|<|>)\s*(\S*)$/;
const EXISTS_REQUIREMENT = /^(!?)\s*([^\s=!<>(),]+)$/;

/** Parses a label selector: `a=b`, `a!=b`, `a in (x,y)`, `a notin (x)`, `a`, `!a`, `a>1`, joined by commas. */
export function labelSelector(text: string): Predicate {
  const requirements = splitOutsideParentheses(text).map((part) => labelRequirement(text, part));
  return (object) => {
    const labels = object.metadata.labels ?? {};
    return requirements.every((requirement) => requirement(labels));
  };
}

function labelRequirement(text: string, part: string): (labels: Labels) => boolean {
  const exists = EXISTS_REQUIREMENT.exec(part);
  if (exists !== null) {
    const [, not, key = ""] = exists;
    checkKey(text, key);
    return (labels) => Object.hasOwn(labels, key) === (not === "");
  }
  const set = SET_REQUIREMENT.exec(part);
  if (set !== null) {
    const [, key = "", operator, list = ""] = set;
    checkKey(text, key);
    const values = list.split(",").map((value) => checkValue(text, value.trim()));
    return operator === "in"
      ? (labels) => labels[key] !== undefined && values.includes(labels[key])
      : (labels) => labels[key] === undefined || !values.includes(labels[key]);
  }
  const equality = EQUALITY_REQUIREMENT.exec(part);
  if (equality === null) throw malformed(text, `found '${part}'`);
  const [, key = "", operator = "", value = ""] = equality;
  checkKey(text, key);
  checkValue(text, value);
  if (operator === "!=") return (labels) => labels[key] !== value;
  if (operator === "=" || operator === "==") return (labels) => labels[key] === value;
  if (!/^-?\d+$/.test(value)) throw malformed(text, `for '${operator}' the value must be an integer`);
  const bound = BigInt(value);
  return (labels) => {
    const label = labels[key];
    if (label === undefined || !/^-?\d+$/.test(label)) return false;
    return operator === ">" ? BigInt(label) > bound : BigInt(label) < bound;
  };
}

function checkKey(text: string, key: string): void {
  const problem = qualifiedNameProblem(key);
  if (problem !== undefined) throw malformed(text, `key: Invalid value: ${JSON.stringify(key)}: ${problem}`);
}

function checkValue(text: string, value: string): string {
  const problem = labelValueProblem(value);
  if (problem !== undefined) throw malformed(text, `values: Invalid value: ${JSON.stringify(value)}: ${problem}`);
  return value;
}

function malformed(text: string, problem: string): Error {
  return badRequest(`unable to parse requirement of ${JSON.stringify(text)}: ${problem}`);
}

function splitOutsideParentheses(text: string): string[] {
  if (text.trim() === "") return [];
  return text.split(/,(?![^()]*\))/).map((part) => part.trim());
}

/** One requirement of a field selector. */
export interface FieldRequirement {
  field: string;
  equal: boolean;
  value: string;
}

/** Parses a field selector: `field=value`, `field==value`, `field!=value`, joined by commas; `\` escapes `,`, `=` and `\`. */
export function parseFieldSelector(type: ResourceType, text: string): FieldRequirement[] {
  return text
    .split(/(?<!\\),/)
    .filter((part) => part !== "")
    .map((part) => {
      const match = /^([^=!]+)(!=|==|=)((?:[^\\=]|\\[\\=,])*)$/.exec(part);
      if (match === null) throw badRequest(`invalid selector: '${text}'; can't understand '${part}'`);
      const [, field = "", operator, value = ""] = match;
      if (!isSelectable(type, field)) throw badRequest(`field label not supported: ${field}`);
      return { field, equal: operator !== "!=", value: value.replace(/\\(.)/g, "$1") };
    });
}

function isSelectable(type: ResourceType, field: string): boolean {
  if (field === "metadata.name") return true;
  if (field === "metadata.namespace") return type.namespaced;
  return type.selectableFields?.includes(field) ?? false;
}

/** The predicate of parsed field requirements; an absent field reads as "", an absent boolean as "false". */
export function fieldPredicate(requirements: readonly FieldRequirement[]): Predicate {
  return (object) => requirements.every(({ field, equal, value }) => (fieldText(object, field) === value) === equal);
}

/** Fields that are true or false. */
const FLAGS = new Set(["spec.unschedulable", "spec.hostNetwork"]);

function fieldText(object: KubeObject, field: string): string {
  // The one field whose selector name is not its path (pkg/registry/core/event).
  if (field === "source") {
    const source = valueAt(object, "source.component") ?? valueAt(object, "reportingComponent");
    return typeof source === "string" ? source : "";
  }
  const value = valueAt(object, field);
  if (value === undefined || value === null) return FLAGS.has(field) ? "false" : "";
  return isObject(value) || Array.isArray(value) ? JSON.stringify(value) : String(value);
}
