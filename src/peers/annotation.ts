/**
 * The `skylane.dev/vtep` annotation: JSON, one entry a pod network. Anyone who may patch Nodes can write it, so it
 * is untrusted input: its size is bounded before it is parsed, every value is parsed strictly, and nothing of it
 * is quoted unescaped. Keys that this version does not know are ignored, so that a later one may add some.
 */
import { cidrOf, familyOf, ipScope, networkAddress, parseCidr, parseIp, parseMac, printable } from "../addr/index.ts";
import { AnnotationError } from "./errors.ts";
import { TextCache } from "./text-cache.ts";
import type { VtepAnnotation } from "./types.ts";
import type { Json } from "../json/index.ts";

/** The annotation's key on a Node. */
export const VTEP_ANNOTATION = "skylane.dev/vtep";
/**
 * Longest annotation that is looked at, in characters: half of what Kubernetes allows all annotations of an object
 * together, and room for a thousand networks of a block or two.
 */
export const MAX_ANNOTATION_LENGTH = 131_072;
/** The pod network whose CIDRs are those that Kubernetes gives the Node. */
const DEFAULT_NETWORK = "default";

const MAX_NETWORKS = 1_024;
/** One a family, as Kubernetes gives them. */
const MAX_IPS = 2;
/** Pod CIDRs of a node: on the default network one a family, on others the blocks that it has, none where nothing is routed. */
const CIDRS = { default: { least: 1, most: 2 }, other: { least: 0, most: 256 } } as const;
const MAX_VNI = 0xff_ffff;
/** As the configuration allows network names. */
const NETWORK_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;
/** Shortest prefixes that can be one node's; anything wider is a mistake, or an attempt to draw all traffic. */
const SHORTEST_PREFIX = { 4: 8, 6: 16 } as const;

/**
 * Parses a whole annotation.
 * @throws AnnotationError naming the first key that is wrong.
 */
export function parseVtepAnnotation(text: string): Map<string, VtepAnnotation> {
  return new Map(Array.from(networksOf(text), ([network, value]) => [network, parseEntry(network, value)]));
}

/**
 * Parses one network's entry, whatever is wrong with the others'. Returns undefined when there is none.
 * @throws AnnotationError
 */
export function readVtepAnnotation(text: string, network: string): VtepAnnotation | undefined {
  const networks = networksOf(text);
  return networks.has(network) ? parseEntry(network, networks.get(network)) : undefined;
}

/** The networks of which an annotation says something, whatever it is; none where it cannot be read. */
export function networksNamed(text: string): string[] {
  try {
    return [...networksOf(text).keys()];
  } catch (error) {
    if (error instanceof AnnotationError) return [];
    throw error;
  }
}

/** The annotation's text; the same input gives the same text, whatever the order of the map. */
export function formatVtepAnnotation(networks: ReadonlyMap<string, VtepAnnotation>): string {
  const sorted = [...networks].sort(([a], [b]) => (a < b ? -1 : 1));
  const plain = sorted.map(([network, { vni, mac, ips, podCidrs, port, direct, claims, wireguard }]) => [
    network,
    {
      vni,
      mac,
      ips,
      podCidrs,
      port,
      ...(direct && { direct }),
      ...(claims && { claims }),
      ...(wireguard && { wireguard }),
    },
  ]);
  return JSON.stringify(Object.fromEntries(plain));
}

/** Every network reads its own entry of the same annotations, one network after the other: JSON is parsed once for all. */
const decoded = new TextCache<ReadonlyMap<string, unknown>>();

const networksOf = (text: string): ReadonlyMap<string, unknown> => decoded.get(text, decode);

function decode(text: string): ReadonlyMap<string, unknown> {
  if (text.length > MAX_ANNOTATION_LENGTH) {
    throw new AnnotationError("", `is longer than ${MAX_ANNOTATION_LENGTH} characters`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new AnnotationError("", `is not JSON: "${printable(text)}"`, { cause: error });
  }
  const entries = Object.entries(object("", value));
  if (entries.length > MAX_NETWORKS) throw new AnnotationError("", `has more than ${MAX_NETWORKS} pod networks`);
  for (const [name] of entries) {
    if (!NETWORK_NAME.test(name))
      throw new AnnotationError("", `has "${printable(name)}", which no pod network is called`);
  }
  return new Map(entries);
}

function parseEntry(network: string, value: unknown): VtepAnnotation {
  const entry = object(network, value);
  const ips = list(network, "ips", entry, { least: 1, most: MAX_IPS }).map((ip, i) =>
    underlayIp(`${network}.ips[${i}]`, ip),
  );
  const isDefault = network === DEFAULT_NETWORK;
  const podCidrs = list(network, "podCidrs", entry, isDefault ? CIDRS.default : CIDRS.other).map((cidr, i) =>
    podCidr(`${network}.podCidrs[${i}]`, cidr),
  );
  oneAFamily(`${network}.ips`, ips);
  if (isDefault) oneAFamily(`${network}.podCidrs`, podCidrs);
  if (new Set(podCidrs).size < podCidrs.length) throw new AnnotationError(`${network}.podCidrs`, "has one twice");
  return {
    vni: integer(network, "vni", entry, 1, MAX_VNI),
    mac: vtepMac(`${network}.mac`, entry["mac"]),
    ips,
    podCidrs,
    port: integer(network, "port", entry, 1, 65_535),
    ...(flag(network, "direct", entry) && { direct: true }),
    ...(flag(network, "claims", entry) && { claims: true }),
    ...wireguard(network, entry),
  };
}

/** 32 bytes in base64 (RFC 4648, section 4): 43 characters and one to fill up. */
const WIREGUARD_KEY = /^[A-Za-z0-9+/]{43}=$/;
const NO_KEY = `${"A".repeat(43)}=`;

/** Ports of a node's devices: one for each pair of its slots and another node's. */
const WIREGUARD_PORTS = 4;

function wireguard(network: string, entry: Json): Pick<VtepAnnotation, "wireguard"> {
  if (entry["wireguard"] === undefined) return {};
  const at = `${network}.wireguard`;
  const value = object(at, entry["wireguard"]);
  const key = wireguardKey(`${at}.key`, value["key"]);
  const port = integer(at, "port", value, 1, 65_535);
  if (value["slot"] === undefined) return { wireguard: { key, port } };
  const slot = integer(at, "slot", value, 0, 1) as 0 | 1;
  const first = port - 2 * slot;
  if (first < 1 || first + WIREGUARD_PORTS - 1 > 65_535)
    throw new AnnotationError(`${at}.port`, `is ${port}, and the ports beside it are none`);
  if (value["next"] === undefined) return { wireguard: { key, port, slot } };
  const next = wireguardKey(`${at}.next`, value["next"]);
  if (next === key) throw new AnnotationError(`${at}.next`, "is the key that it has now");
  return { wireguard: { key, port, slot, next } };
}

function wireguardKey(at: string, value: unknown): string {
  const key = string(at, value);
  // One key has one text: whatever else decodes to the same bytes could be claimed beside it.
  const canonical = WIREGUARD_KEY.test(key) && Buffer.from(key, "base64").toString("base64") === key;
  if (!canonical || key === NO_KEY) throw new AnnotationError(at, "is no public key of WireGuard in base64");
  return key;
}

function oneAFamily(key: string, values: readonly string[]): void {
  if (new Set(values.map(familyOf)).size < values.length) {
    throw new AnnotationError(key, "has two of the same address family");
  }
}

/** MAC addresses of virtual routers, which several machines have at once (RFC 9568, section 7.3), and of other protocols of many. */
const SHARED_MAC = /^00:00:5e:/;

function vtepMac(key: string, value: unknown): string {
  const mac = checked(key, string(key, value), parseMac);
  if (SHARED_MAC.test(mac)) throw new AnnotationError(key, `is ${mac}, which is a protocol's and no device's own`);
  return mac;
}

function underlayIp(key: string, value: unknown): string {
  const ip = checked(key, string(key, value), parseIp);
  const scope = ipScope(ip);
  if (scope !== "unicast")
    throw new AnnotationError(key, `is a ${scope} address (${ip}); no node can be reached there`);
  return ip;
}

function podCidr(key: string, value: unknown): string {
  const cidr = checked(key, string(key, value), parseCidr);
  const family = familyOf(cidr);
  if (cidrOf(cidr).prefix < SHORTEST_PREFIX[family]) {
    throw new AnnotationError(key, `is ${cidr}, wider than the /${SHORTEST_PREFIX[family]} that one node can have`);
  }
  const scope = ipScope(networkAddress(cidr));
  if (scope !== "unicast") throw new AnnotationError(key, `is ${cidr}, which is ${scope} space`);
  return cidr;
}

function object(key: string, value: unknown): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new AnnotationError(key, "is not a JSON object");
  }
  return value as Json;
}

function list(network: string, key: string, entry: Json, { least, most }: { least: number; most: number }): unknown[] {
  const value = entry[key];
  if (!Array.isArray(value) || value.length < least || value.length > most) {
    throw new AnnotationError(`${network}.${key}`, `is not a list of ${least === 0 ? "up" : "one"} to ${most} strings`);
  }
  return value;
}

function string(key: string, value: unknown): string {
  if (typeof value !== "string") throw new AnnotationError(key, value === undefined ? "is missing" : "is not a string");
  return value;
}

function integer(network: string, key: string, entry: Json, min: number, max: number): number {
  const value = entry[key];
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw new AnnotationError(`${network}.${key}`, `is not a whole number from ${min} to ${max}`);
  }
  return value;
}

/** A key that may be absent, which is "no". */
function flag(network: string, key: string, entry: Json): boolean {
  const value = entry[key] ?? false;
  if (typeof value !== "boolean") throw new AnnotationError(`${network}.${key}`, "is neither true nor false");
  return value;
}

function checked(key: string, text: string, parse: (text: string) => string): string {
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof RangeError) throw new AnnotationError(key, `is wrong: ${error.message}`, { cause: error });
    throw error;
  }
}
