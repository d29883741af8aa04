/**
 * The kinds of values that configuration and published state are made of. Each says what it allows in words, beside
 * the check itself, so that errors and documentation cannot drift from what is enforced.
 */
import * as v from "valibot";
import { cidrCovers, parseCidr, parseIp, parseIpPerFamily, printable } from "../addr/index.ts";
import { checkPattern, MAX_PATTERN_LENGTH } from "./interface-pattern.ts";

/** A string that `parse` turns into its canonical form, or refuses by throwing; its message becomes the error's. */
const parsed = (parse: (text: string) => string, allowed: string) =>
  v.pipe(
    v.string(),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      try {
        return parse(dataset.value);
      } catch (error) {
        addIssue({ message: error instanceof Error ? error.message : String(error) });
        return NEVER;
      }
    }),
    v.metadata({ allowed }),
  );

/** Refuses text that does not match. */
const matching = (pattern: RegExp, maxLength: number, allowed: string) =>
  v.pipe(v.string(), v.maxLength(maxLength), v.regex(pattern), v.metadata({ allowed }));

/** A whole number within bounds. */
export const whole = (min: number, max: number, unit = "") =>
  v.pipe(
    v.number(),
    v.integer(),
    v.minValue(min),
    v.maxValue(max),
    v.metadata({ allowed: `a whole number from ${min} to ${max}${unit}` }),
  );

/** One of a few words. */
export const oneOf = <const T extends readonly [string, ...string[]]>(words: T) =>
  v.pipe(v.picklist(words), v.metadata({ allowed: words.map((word) => `\`${word}\``).join(", ") }));

/** VXLAN network identifier: 24 bits (RFC 7348); 0 would need `external` mode on Linux to tell from "none". */
export const vni = whole(1, 16_777_215);

/** Interface MTU in bytes; 576 is the least that any IPv4 host must accept (RFC 791), IPv6 needs 1280 (RFC 8200). */
export const mtu = whole(576, 65_535, " bytes");

/** Name of a pod network; it is a file name too, so it follows what CNI allows for network names. */
export const networkName = matching(
  /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/,
  63,
  "up to 63 letters, digits, `.`, `_`, `-`, beginning with a letter or digit",
);

/** Name of a Node: a DNS subdomain (RFC 1123). */
export const nodeName = matching(
  /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/,
  253,
  "the Node object's name: up to 253 lower-case letters, digits, `.`, `-`",
);

/** Network interface name as Linux allows it (`dev_valid_name`), also without `%`, which is a template there. */
export const interfaceName = v.pipe(
  matching(/^[^\s/:%\p{Cc}]+$/u, 15, "an interface name of up to 15 characters"),
  v.notValues([".", ".."]),
);

/** Regular expression for interface names. */
export const interfacePattern = parsed(
  checkPattern,
  `a JavaScript regular expression of up to ${MAX_PATTERN_LENGTH} characters`,
);

/** Canonical CIDR. */
export const cidr = parsed(parseCidr, "a CIDR without host bits, such as `10.244.0.0/16` or `fd00:10:244::/56`");

/** Canonical IP address. */
export const ip = parsed(parseIp, "an IPv4 or IPv6 address");

/** Addresses of both families. */
export const ipList = v.pipe(
  v.array(ip),
  v.maxLength(64),
  v.metadata({ allowed: "a list of up to 64 IPv4 or IPv6 addresses" }),
);

/** The value that stands for the Node's own external addresses. */
export const EXTERNAL_IP = "ExternalIP";

/** One address a family, with a comma between, or {@link EXTERNAL_IP}. */
export const publicIps = v.pipe(
  v.string(),
  v.check((text) => {
    try {
      return text === EXTERNAL_IP || parseIpPerFamily(text).length > 0;
    } catch (error) {
      if (error instanceof RangeError) return false;
      throw error;
    }
  }, "is neither `ExternalIP` nor an address, or one a family with a comma between"),
  v.metadata({ allowed: "`ExternalIP`, an address, or one a family with a comma between" }),
);

const withoutCovered = (cidrs: string[]): string[] =>
  cidrs.filter((one, at) => !cidrs.some((other, i) => i !== at && cidrCovers(other, one) && (other !== one || i < at)));

/** List of CIDRs; those that lie within another of the list are left out, since they add nothing. */
export const cidrList = v.pipe(
  v.array(cidr),
  v.maxLength(64),
  v.transform(withoutCovered),
  v.metadata({ allowed: "a list of up to 64 CIDRs without host bits" }),
);

/** Absolute path, in one spelling only. */
export const absolutePath = parsed((text) => {
  const path = text.length > 1 ? text.replace(/\/$/, "") : text;
  const bad = !path.startsWith("/") || path.length > 1024 || /\p{Cc}|\/\//u.test(path);
  if (bad || path.split("/").some((part) => part === "." || part === "..")) {
    throw new RangeError(`"${printable(text)}" is not an absolute path without "." and ".."`);
  }
  return path;
}, "an absolute path");

/** The parts of a listen address; `host` is absent where all addresses are meant. */
export interface ListenAddress {
  host?: string;
  port: number;
}

/** Parses `127.0.0.1:9473`, `[::1]:9473` or `:9473`. @throws RangeError naming the text. */
export function parseListen(text: string): ListenAddress {
  const found = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))?:(\d{1,5})$/.exec(text);
  const port = Number(found?.[3]);
  if (!found || port < 1 || port > 65_535) throw new RangeError(`"${printable(text)}" is not an address and port`);
  const host = found[1] ?? found[2];
  return host === undefined ? { port } : { host: parseIp(host), port };
}

/** Listen address as text, "" for none. */
export const listenAddress = parsed((text) => {
  if (text !== "") parseListen(text);
  return text;
}, 'an address and port (`127.0.0.1:9473`, `[::1]:9473`, `:9473` for all addresses), or `""` for none');
