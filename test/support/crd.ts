/**
 * Whether an API server takes an object by a CustomResourceDefinition: the schema, and its rules in CEL with the functions for
 * addresses that Kubernetes has from 1.31 on (IP and CIDR library, by Go's net/netip).
 */
import { isIP } from "node:net";
import { problemsOf } from "../../lab/api/schema/schema.ts";
import { celValue, kubernetesCel } from "./admission.ts";
import { bigIntToIp, cidrOf, ipScope, parseIp } from "../../src/addr/index.ts";

type Json = Record<string, unknown>;
interface Schema extends Json {
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: Schema | boolean;
  "x-kubernetes-validations"?: { rule: string; message: string }[];
}

/** Addresses as Go's netip prints them. */
class Ip {
  readonly text: string;
  constructor(text: string) {
    this.text = parseIp(text);
  }
}
class Cidr {
  readonly text: string;
  constructor(text: string) {
    const [ip = "", prefix = ""] = text.split("/");
    this.text = `${parseIp(ip)}/${prefix}`;
  }
}
const isMapped = (text: string): boolean => /^::ffff:/i.test(text);
const isIp = (text: string): boolean => isIP(text) !== 0 && !text.includes("%") && !isMapped(text);
function isCidr(text: string): boolean {
  const [, ip = "", prefix = ""] = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text) ?? [];
  return isIp(ip) && Number(prefix) <= (ip.includes(":") ? 128 : 32);
}
/** netip.Addr.IsGlobalUnicast: of IPv4's 0.0.0.0/8 only the first address is not. */
const isGlobalUnicast = ({ text }: Ip): boolean =>
  ipScope(text) === "unicast" || (/^0[.]/.test(text) && text !== "0.0.0.0");
const masked = ({ text }: Cidr): Cidr => {
  const { first, family, prefix } = cidrOf(text);
  return new Cidr(`${bigIntToIp(first, family)}/${prefix}`);
};

const ENVIRONMENT = kubernetesCel()
  .registerType("net.IP", Ip)
  .registerType("net.CIDR", Cidr)
  .registerFunction("isIP(string): bool", isIp)
  .registerFunction("isCIDR(string): bool", isCidr)
  .registerFunction("ip(string): net.IP", (text: string) => new Ip(text))
  .registerFunction("cidr(string): net.CIDR", (text: string) => new Cidr(text))
  .registerFunction("net.CIDR.masked(): net.CIDR", masked)
  .registerFunction("net.CIDR.ip(): net.IP", ({ text }: Cidr) => new Ip(text.split("/")[0] as string))
  .registerFunction("net.IP.isGlobalUnicast(): bool", isGlobalUnicast)
  .registerFunction("string(net.CIDR): string", ({ text }: Cidr) => text)
  .registerOperator("net.CIDR == net.CIDR", (a: Cidr, b: Cidr) => a.text === b.text);

function ruleProblems(schema: Schema, self: unknown, before: unknown, path: string): string[] {
  if (self === undefined) return [];
  const own = (schema["x-kubernetes-validations"] ?? []).flatMap(({ rule, message }) => {
    if (/\boldSelf\b/.test(rule) && before === undefined) return [];
    try {
      const holds = ENVIRONMENT.evaluate(rule, { self: celValue(self), oldSelf: celValue(before ?? null) });
      return holds === true ? [] : [`${path}: ${message}`];
    } catch (error) {
      return [`${path}: ${rule}: ${String(error)}`];
    }
  });
  if (Array.isArray(self))
    return [...own, ...self.flatMap((one, i) => ruleProblems(schema.items ?? {}, one, undefined, `${path}[${i}]`))];
  if (typeof self !== "object" || self === null) return own;
  const older = (before ?? {}) as Json;
  return [
    ...own,
    ...Object.entries(self).flatMap(([key, one]) => {
      const next = schema.properties?.[key];
      return next ? ruleProblems(next, one, older[key], `${path}.${key}`) : [];
    }),
  ];
}

/** What an API server has against an object; as on the real one, rules are asked only where the schema fits. */
export function objections(schema: Schema, object: Json, before?: Json): string[] {
  const { metadata, ...rest } = object;
  const misfits = problemsOf(schema as never, rest as never, "").map(({ field, message }) => `${field}: ${message}`);
  if (misfits.length > 0) return misfits;
  const defaulted = withDefaults(schema, { ...rest, metadata }) as Json;
  return ruleProblems(schema, defaulted, before, "");
}

function withDefaults(schema: Schema, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const filled: Json = { ...value };
  for (const [key, next] of Object.entries(schema.properties ?? {})) {
    if (filled[key] === undefined && next["default"] !== undefined) filled[key] = next["default"];
    if (filled[key] !== undefined) filled[key] = withDefaults(next, filled[key]);
  }
  return filled;
}
