/**
 * Structural schemas of custom resources (apiextensions/v1 JSONSchemaProps), as much of them as ours use: what is not in
 * the schema is pruned, what is missing is defaulted, and what is left must fit. Wording and reasons are those of
 * k8s.io/apiextensions-apiserver.
 */
import { type FieldProblem, isObject, type Json, type JsonObject } from "../types.ts";

/** A part of a schema. */
export interface Schema {
  type: "object" | "array" | "string" | "integer" | "boolean";
  required?: string[];
  properties?: Record<string, Schema>;
  additionalProperties?: Schema;
  maxProperties?: number;
  items?: Schema;
  minItems?: number;
  maxItems?: number;
  enum?: Json[];
  default?: Json;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  format?: string;
}

/** The value without what the schema does not know, and with its defaults. */
export function completed(schema: Schema, value: Json): Json {
  if (Array.isArray(value))
    return value.map((item) => (schema.items === undefined ? item : completed(schema.items, item)));
  if (!isObject(value)) return value;
  const { properties = {}, additionalProperties } = schema;
  const result: JsonObject = {};
  for (const [key, inner] of Object.entries(value)) {
    const known = Object.hasOwn(properties, key) ? properties[key] : additionalProperties;
    if (known !== undefined && inner !== undefined && inner !== null) result[key] = completed(known, inner);
  }
  for (const [key, { default: fallback }] of Object.entries(properties)) {
    if (fallback !== undefined && result[key] === undefined) result[key] = fallback;
  }
  return result;
}

/** Everything that does not fit. @param field path for messages */
export function problemsOf(schema: Schema, value: Json, field: string): FieldProblem[] {
  const got = Array.isArray(value) ? "array" : typeof value === "number" ? "integer" : typeof value;
  if (got !== schema.type || (got === "integer" && !Number.isInteger(value))) {
    const message = `Invalid value: ${JSON.stringify(got)}: ${field} in body must be of type ${schema.type}: ${JSON.stringify(got)}`;
    return [{ field, reason: "FieldValueTypeInvalid", message }];
  }
  if (isObject(value)) return ofObject(schema, value, field);
  if (Array.isArray(value)) return ofList(schema, value, field);
  const fault = scalarFault(schema, value);
  if (fault === undefined) return [];
  const message = `Invalid value: ${JSON.stringify(value)}: ${field} in body should ${fault}`;
  return [{ field, reason: schema.enum ? "FieldValueNotSupported" : "FieldValueInvalid", message }];
}

function ofObject(
  { required = [], properties = {}, additionalProperties, maxProperties }: Schema,
  value: JsonObject,
  field: string,
): FieldProblem[] {
  const at = (key: string): string => (field === "" ? key : `${field}.${key}`);
  const missing = required
    .filter((key) => value[key] === undefined)
    .map((key): FieldProblem => ({ field: at(key), reason: "FieldValueRequired", message: "Required value" }));
  const inner = Object.entries(value).flatMap(([key, one]) => {
    const schema = Object.hasOwn(properties, key) ? properties[key] : additionalProperties;
    return schema === undefined || one === undefined ? [] : problemsOf(schema, one, at(key));
  });
  return [...missing, ...tooMany(Object.keys(value).length, maxProperties, field, "properties"), ...inner];
}

function ofList({ items, minItems = 0, maxItems }: Schema, value: Json[], field: string): FieldProblem[] {
  const few: FieldProblem[] =
    value.length >= minItems
      ? []
      : [
          {
            field,
            reason: "FieldValueInvalid",
            message: `Invalid value: ${value.length}: ${field} in body should have at least ${minItems} items`,
          },
        ];
  const inner = items === undefined ? [] : value.flatMap((one, index) => problemsOf(items, one, `${field}[${index}]`));
  return [...few, ...tooMany(value.length, maxItems, field, "items"), ...inner];
}

function tooMany(count: number, most: number | undefined, field: string, what: string): FieldProblem[] {
  if (most === undefined || count <= most) return [];
  return [{ field, reason: "FieldValueInvalid", message: `Too many: ${count}: must have at most ${most} ${what}` }];
}

function scalarFault(schema: Schema, value: Json): string | undefined {
  const { minimum, maximum, minLength, maxLength, pattern } = schema;
  if (schema.enum !== undefined && !schema.enum.includes(value)) return `be one of ${JSON.stringify(schema.enum)}`;
  if (typeof value === "number") {
    if (minimum !== undefined && value < minimum) return `be greater than or equal to ${minimum}`;
    if (maximum !== undefined && value > maximum) return `be less than or equal to ${maximum}`;
  }
  if (typeof value === "string") {
    if (minLength !== undefined && value.length < minLength) return `be at least ${minLength} chars long`;
    if (maxLength !== undefined && value.length > maxLength) return `be at most ${maxLength} chars long`;
    if (pattern !== undefined && !new RegExp(pattern).test(value)) return `match '${pattern}'`;
  }
  return undefined;
}
