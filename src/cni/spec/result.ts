/**
 * CNI results: the shape that every version has, conversion between them, and joining ours to what plugins
 * before us in the chain made. A result is kept as plain JSON in the newest shape; keys that we do not know
 * are passed through as they came, since a result belongs to the whole chain.
 *
 * What differs between versions (CNI SPEC.md of each): before 1.0.0 every entry of `ips` has `version` "4" or
 * "6"; `mtu`, `socketPath` and `pciID` of interfaces and `mtu`, `advmss`, `priority`, `table` and `scope` of
 * routes came with 1.1.0.
 */
import { familyOf, networkAddress, parseInterfaceAddress, parseIp } from "../../addr/index.ts";
import { get, optionalInteger, optionalList, optionalObject } from "./json.ts";
import { optionalString, parsed, refuse } from "./json.ts";
import { atLeast, SUPPORTED_VERSIONS } from "./version.ts";
import { isObject, type Json } from "../../json/index.ts";

/** An interface of the attachment; `sandbox` is absent for those on the host. */
export interface ResultInterface {
  name: string;
  mac?: string;
  mtu?: number;
  sandbox?: string;
}

/** An address of the attachment, `interface` being an index into `interfaces`. */
export interface ResultIp {
  address: string;
  gateway?: string;
  interface?: number;
}

/** A route of the attachment. */
export interface ResultRoute {
  dst: string;
  gw?: string;
  mtu?: number;
  advmss?: number;
  priority?: number;
  table?: number;
  scope?: number;
}

/** DNS settings, for the runtime to hand to the container. */
export interface Dns {
  nameservers?: string[];
  domain?: string;
  search?: string[];
  options?: string[];
}

/** A result in the newest shape, without its version. */
export interface CniResult {
  interfaces: ResultInterface[];
  ips: ResultIp[];
  routes: ResultRoute[];
  dns: Dns;
  /** Top-level keys of a previous result that we do not know, passed through. */
  other?: Json;
}

const KNOWN = new Set(["cniVersion", "interfaces", "ips", "routes", "dns"]);
const INTERFACE_SINCE_1_1 = ["mtu", "socketPath", "pciID"];
const ROUTE_SINCE_1_1 = ["mtu", "advmss", "priority", "table", "scope"];
const UINT32 = 0xffff_ffff;

function list(result: Json, key: string, path: string): Json[] {
  return (optionalList(result, key, `${path}.${key}`) ?? []).map((item, i) => {
    if (!isObject(item)) throw refuse(`${path}.${key}[${i}]`, item, "an object");
    return item;
  });
}

function required(object: Json, key: string, path: string): string {
  const text = optionalString(object, key, path);
  if (!text) throw refuse(path, text, "a text that is not empty");
  return text;
}

/** The parts of an entry that we understand checked, everything else kept. */
function readInterface(item: Json, path: string): ResultInterface {
  optionalString(item, "mac", `${path}.mac`);
  optionalString(item, "sandbox", `${path}.sandbox`);
  return { ...item, name: required(item, "name", `${path}.name`) };
}

function readIp(item: Json, path: string, interfaces: number): ResultIp {
  const address = required(item, "address", `${path}.address`);
  parsed(`${path}.address`, address, parseInterfaceAddress);
  const gateway = optionalString(item, "gateway", `${path}.gateway`);
  if (gateway) parsed(`${path}.gateway`, gateway, parseIp);
  // An IPAM plugin's result has no interfaces; where there are any, the index must point at one.
  const max = interfaces > 0 ? interfaces - 1 : UINT32;
  optionalInteger(item, "interface", { path: `${path}.interface`, min: 0, max });
  const { version: _, ...rest } = item;
  return { ...rest, address };
}

function readRoute(item: Json, path: string): ResultRoute {
  const dst = required(item, "dst", `${path}.dst`);
  parsed(`${path}.dst`, dst, parseInterfaceAddress);
  const gw = optionalString(item, "gw", `${path}.gw`);
  if (gw) parsed(`${path}.gw`, gw, parseIp);
  for (const key of ROUTE_SINCE_1_1) optionalInteger(item, key, { path: `${path}.${key}`, min: 0, max: UINT32 });
  return { ...item, dst };
}

/**
 * Reads a result of any version from 0.3.0 into the newest shape.
 * @param path how the result is called in an error: "prevResult", or the plugin that gave it.
 * @throws CniError 7 naming the key.
 */
export function readResult(value: unknown, path: string): CniResult {
  if (!isObject(value)) throw refuse(path, value, "a result object");
  if (get(value, "ip4") !== undefined || get(value, "ip6") !== undefined) {
    throw refuse(path, get(value, "ip4") ?? get(value, "ip6"), "a result of CNI 0.3.0 or newer");
  }
  const interfaces = list(value, "interfaces", path).map((item, i) => readInterface(item, `${path}.interfaces[${i}]`));
  return {
    interfaces,
    ips: list(value, "ips", path).map((item, i) => readIp(item, `${path}.ips[${i}]`, interfaces.length)),
    routes: list(value, "routes", path).map((item, i) => readRoute(item, `${path}.routes[${i}]`)),
    dns: { ...optionalObject(value, "dns", `${path}.dns`) },
    other: Object.fromEntries(Object.entries(value).filter(([key]) => !KNOWN.has(key))),
  };
}

const without = (item: object, keys: readonly string[]): object =>
  Object.fromEntries(Object.entries(item).filter(([key]) => !keys.includes(key)));

/** The result as an object in the shape of a version (one of those that we support). */
export function resultIn(version: string, result: CniResult): object {
  const newest = atLeast(version, "1.1.0");
  const ipVersions = SUPPORTED_VERSIONS.includes(version) && !atLeast(version, "1.0.0");
  const ips = result.ips.map((ip) => (ipVersions ? { version: String(familyOf(ip.address)), ...ip } : ip));
  // From 1.0.0 the reference implementation leaves empty DNS settings out; before, it always wrote the key.
  const dns = ipVersions || Object.keys(result.dns).length > 0 ? { dns: result.dns } : {};
  return {
    ...result.other,
    cniVersion: version,
    interfaces: newest ? result.interfaces : result.interfaces.map((item) => without(item, INTERFACE_SINCE_1_1)),
    ips,
    // Without the name of its table a route would pass for one of the main table.
    routes: newest
      ? result.routes
      : result.routes.filter(({ table }) => table === undefined).map((item) => without(item, ROUTE_SINCE_1_1)),
    ...dns,
  };
}

/** Ours appended to what the chain made before us: the indexes of our addresses move, its DNS gives way to ours key by key. */
export function appendResult(before: CniResult | undefined, ours: CniResult): CniResult {
  if (!before) return ours;
  const shift = before.interfaces.length;
  const moved = ours.ips.map((ip) => (ip.interface === undefined ? ip : { ...ip, interface: ip.interface + shift }));
  return {
    interfaces: [...before.interfaces, ...ours.interfaces],
    ips: [...before.ips, ...moved],
    routes: [...before.routes, ...ours.routes],
    dns: { ...before.dns, ...ours.dns },
    ...(before.other && { other: before.other }),
  };
}

/** The canonical form of a route's destination, its host bits cleared: "10.1.2.3/8" is "10.0.0.0/8". */
export const canonicalDst = (dst: string): string => `${networkAddress(dst)}/${parseInterfaceAddress(dst).prefix}`;
