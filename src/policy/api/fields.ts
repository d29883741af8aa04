/**
 * Reading objects of the API server field by field. Whoever may write a policy may write anything, on servers that check less than others,
 * and later versions of the API have fields that this one does not know: what cannot be read is a fault with a name and a place, and never
 * an exception that takes other policies along.
 */
import { parseCidr, printable } from "../../addr/index.ts";
import { OPERATORS, type Requirement, type Selector, selectorOf } from "../semantics/selector.ts";
import { isObject, type Json } from "../../json/index.ts";

/** More than any policy that people write, and little enough to be compiled in no time. */
export const LIMITS = {
  /** Of a policy, in each direction. */
  rules: 10_000,
  /** Of all rules of a policy together, in each direction. */
  peers: 20_000,
  ports: 20_000,
  /** Domain names of one peer. */
  names: 100,
  /** Of one block. */
  except: 1_000,
  /** Of one selector. */
  requirements: 100,
  /** Values of one requirement. */
  values: 1_000,
  /** Faults that are told of one policy; the rest is a number. */
  faults: 10,
} as const;

/** Something that is not as the API has it. */
export class FieldFault extends TypeError {
  override readonly name = "FieldFault";
}

/** Go writes what is absent as null where it writes it at all. */
export const isAbsent = (value: unknown): value is undefined | null => value === undefined || value === null;

/** A value as text for a message: short, on one line, nothing that a terminal would obey. */
function shown(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "nothing");
  const quoted = printable(text);
  return typeof value === "string" ? `"${quoted}"` : quoted.replaceAll('\\"', '"');
}

/** @throws FieldFault */
export function refuse(path: string, value: unknown, wanted: string): never {
  throw new FieldFault(`${path} is ${shown(value)}; it must be ${wanted}`);
}

/** @throws FieldFault */
export const objectOf = (path: string, value: unknown): Json =>
  isObject(value) ? value : refuse(path, value, "an object");

/** A list; undefined where there is none. @throws FieldFault when it is too long or no list */
export function listOf(path: string, value: unknown, most: number): readonly unknown[] | undefined {
  if (isAbsent(value)) return undefined;
  if (!Array.isArray(value)) return refuse(path, value, "a list");
  if (value.length > most) throw new FieldFault(`${path} has ${value.length} entries; the most is ${most}`);
  return value as unknown[];
}

/** @throws FieldFault */
export const wholeOf = (path: string, value: unknown, min: number, max: number): number =>
  typeof value === "number" && Number.isInteger(value) && value >= min && value <= max
    ? value
    : refuse(path, value, `a whole number from ${min} to ${max}`);

/** @throws FieldFault */
export const wordOf = <T extends string>(path: string, value: unknown, words: readonly T[]): T =>
  words.find((one) => one === value) ?? refuse(path, value, words.join(", "));

/** @throws FieldFault */
export function cidrOfField(path: string, value: unknown): string {
  if (typeof value !== "string") return refuse(path, value, "a CIDR");
  try {
    return parseCidr(value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new FieldFault(`${path}: ${error.message}`);
  }
}

const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;

/** The name of an object (a DNS subdomain): it gets into rules and logs. @throws FieldFault */
export const nameOf = (path: string, value: unknown): string =>
  typeof value === "string" && NAME.test(value) ? value : refuse(path, value, "a name of an object");

/** A label selector; undefined where there is none. @throws FieldFault */
export function selectorAt(path: string, value: unknown): Selector | undefined {
  if (isAbsent(value)) return undefined;
  const { matchLabels, matchExpressions, ...unknown } = objectOf(path, value);
  // An operator or a field of a later version would select other objects than its author means.
  for (const field of Object.keys(unknown)) throw new FieldFault(`${path}.${printable(field)} is not known`);
  const labels = isAbsent(matchLabels) ? {} : objectOf(`${path}.matchLabels`, matchLabels);
  const entries = Object.entries(labels);
  if (entries.length > LIMITS.requirements)
    throw new FieldFault(`${path}.matchLabels has ${entries.length} entries; the most is ${LIMITS.requirements}`);
  const equal = entries.map(([label, value]): Requirement => {
    if (typeof value !== "string") return refuse(`${path}.matchLabels.${printable(label)}`, value, "a text");
    return { label, operator: "In", values: [value] };
  });
  const expressions = listOf(`${path}.matchExpressions`, matchExpressions, LIMITS.requirements) ?? [];
  return selectorOf([...equal, ...expressions.map((one, i) => requirementAt(`${path}.matchExpressions[${i}]`, one))]);
}

function requirementAt(path: string, value: unknown): Requirement {
  const { key, operator, values: list } = objectOf(path, value);
  if (typeof key !== "string" || key === "") return refuse(`${path}.key`, key, "a label's key");
  const values = listOf(`${path}.values`, list, LIMITS.values) ?? [];
  if (values.some((one) => typeof one !== "string")) return refuse(`${path}.values`, values, "a list of texts");
  const known = wordOf(`${path}.operator`, operator, OPERATORS);
  const needsValues = known === "In" || known === "NotIn";
  if (needsValues !== values.length > 0)
    return refuse(`${path}.values`, values, needsValues ? `not empty for ${known}` : `empty for ${known}`);
  return { label: key, operator: known, values: values as string[] };
}

/** What a policy's reader found wrong, with an end. */
export class Faults {
  readonly #texts: string[] = [];
  #more = 0;

  /** What `read` returns, or undefined and a fault. */
  attempt<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof FieldFault)) throw error;
      this.add(error.message);
      return undefined;
    }
  }

  add(text: string): void {
    if (this.#texts.length < LIMITS.faults) this.#texts.push(text);
    else this.#more++;
  }

  list(): string[] {
    return this.#more === 0 ? this.#texts : [...this.#texts, `and ${this.#more} more`];
  }
}

/** Counts what the rules of a direction have together. */
export class Budget {
  readonly #what: string;
  readonly #most: number;
  #left: number;

  constructor(what: string, most: number) {
    this.#what = what;
    this.#most = this.#left = most;
  }

  /** @throws FieldFault */
  take(count: number): void {
    this.#left -= count;
    if (this.#left < 0) throw new FieldFault(`the rules have more ${this.#what} than ${this.#most} together`);
  }
}
