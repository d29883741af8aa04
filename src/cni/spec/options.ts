/**
 * What a runtime asks for one attachment: addresses, address ranges, MAC address, DNS, MTU. The same request can
 * arrive by three ways (CNI CONVENTIONS.md): `runtimeConfig` (capabilities), `args.cni`, CNI_ARGS. The
 * newest way that says anything wins and the older ones are then ignored, as the conventions demand.
 */
import { cidrContains, familyOf, parseCidr, parseInterfaceAddress, parseIp, parseMac } from "../../addr/index.ts";
import { DIRECTIONS, isRate, type Limits, RATE_RULE } from "../../dataplane/bandwidth/index.ts";
import type { IpRange } from "../../ipam/local/index.ts";
import {
  familiesOf,
  hostPortText,
  overlap,
  type PortMapping,
  type Protocol,
  PROTOCOLS,
} from "../../dataplane/host-ports/index.ts";
import type { CniArgs } from "./args.ts";
import { CniError, CODE } from "./errors.ts";
import { get, optionalInteger, optionalList, optionalObject } from "./json.ts";
import { optionalString, optionalStrings, parsed, refuse } from "./json.ts";
import type { Dns } from "./result.ts";
import { isObject, type Json } from "../../json/index.ts";

/** What is asked for one attachment; absent keys mean "as usual". */
export interface AttachOptions {
  /** Canonical addresses, at most one a family. */
  ips?: string[];
  /** One list of pools for each address to give (the `ipRanges` capability). */
  ranges?: IpRange[][];
  mac?: string;
  /** Lower than the network's MTU, in bytes. */
  mtu?: number;
  /** Host ports; none by default. */
  ports?: PortMapping[];
  /** Limits of what the pod receives and sends; none by default. */
  bandwidth?: Limits;
  dns: Dns;
}

/** More than any pod has; each is an element of the packet filter. */
const MOST_PORTS = 4_096;

/** Only passed on, never used: whatever a resolv.conf may have, a link-local address with its zone too. */
const NAMESERVER = /^[0-9A-Fa-f.:]{2,45}(%[\w.-]{1,15})?$/;

/** A runtime writes these into the container's resolv.conf, where a line break would begin a setting of its own. */
const WORD = /^[^\s\p{Cc}]+$/u;

const withoutPrefix = (text: string): string => (text.includes("/") ? parseInterfaceAddress(text).ip : parseIp(text));

function addresses(texts: readonly string[], path: string): string[] | undefined {
  // podman names an address once for each of the ways in which it was asked for
  const ips = [...new Set(texts.map((text, i) => parsed(`${path}[${i}]`, text, withoutPrefix)))];
  for (const family of [4, 6]) {
    if (ips.filter((ip) => familyOf(ip) === family).length > 1) {
      throw refuse(path, texts, `at most one IPv${family} address`, CODE.unsupportedField);
    }
  }
  return ips.length > 0 ? ips : undefined;
}

function fromArgs<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof CniError)) throw error;
    const message = `invalid environment variable CNI_ARGS: ${name} is refused`;
    throw new CniError(CODE.invalidEnvironment, message, error.message, { cause: error });
  }
}

function requestedIps(runtime: Json, args: Json, cniArgs: CniArgs): string[] | undefined {
  const capability = addresses(optionalStrings(runtime, "ips", "runtimeConfig.ips") ?? [], "runtimeConfig.ips");
  if (capability) return capability;
  const conventional = addresses(optionalStrings(args, "ips", "args.cni.ips") ?? [], "args.cni.ips");
  if (conventional) return conventional;
  const { ip } = cniArgs;
  return ip === undefined ? undefined : fromArgs("IP", () => addresses(ip.split(","), "IP"));
}

function requestedMac(runtime: Json, args: Json, cniArgs: CniArgs): string | undefined {
  for (const [object, path] of [
    [runtime, "runtimeConfig.mac"],
    [args, "args.cni.mac"],
  ] as const) {
    const mac = optionalString(object, "mac", path);
    if (mac) return parsed(path, mac, parseMac);
  }
  const { mac } = cniArgs;
  return mac === undefined ? undefined : fromArgs("MAC", () => parsed("MAC", mac, parseMac));
}

function ipRange(value: unknown, path: string): IpRange {
  if (!isObject(value)) throw refuse(path, value, "an object with subnet, and optionally rangeStart and rangeEnd");
  const subnetText = optionalString(value, "subnet", `${path}.subnet`);
  if (subnetText === undefined) throw refuse(`${path}.subnet`, undefined, "a CIDR");
  const subnet = parsed(`${path}.subnet`, subnetText, parseCidr);
  const inside = (key: string): string | undefined => {
    const text = optionalString(value, key, `${path}.${key}`);
    if (text === undefined || text === "") return undefined;
    const ip = parsed(`${path}.${key}`, text, parseIp);
    if (!cidrContains(subnet, ip)) throw refuse(`${path}.${key}`, text, `an address of ${subnet}`);
    return ip;
  };
  const rangeStart = inside("rangeStart");
  const rangeEnd = inside("rangeEnd");
  const gateway = inside("gateway");
  return { subnet, ...(rangeStart && { rangeStart }), ...(rangeEnd && { rangeEnd }), ...(gateway && { gateway }) };
}

function ipRanges(runtime: Json): IpRange[][] | undefined {
  const path = "runtimeConfig.ipRanges";
  const sets = optionalList(runtime, "ipRanges", path)?.map((set, i) => {
    if (!Array.isArray(set) || set.length === 0) throw refuse(`${path}[${i}]`, set, "a list of ranges");
    const pools = set.map((range, j) => ipRange(range, `${path}[${i}][${j}]`));
    if (new Set(pools.map(({ subnet }) => familyOf(subnet))).size > 1) {
      throw refuse(`${path}[${i}]`, set, "ranges of one address family");
    }
    return pools;
  });
  const families = sets?.map((pools) => familyOf(pools[0]?.subnet ?? ""));
  if (families && new Set(families).size < families.length) {
    throw refuse(path, get(runtime, "ipRanges"), "at most one list of ranges a family", CODE.unsupportedField);
  }
  return sets && sets.length > 0 ? sets : undefined;
}

/** DNS of the configuration, each key replaced by what the runtime passes (its own names: servers, searches, options). */
function dnsOf(raw: Json, runtime: Json): Dns {
  const dns: Dns = {};
  const set = <K extends keyof Dns>(key: K, value: Dns[K] | undefined): void => {
    if (value !== undefined && value.length > 0) dns[key] = value;
  };
  const config = optionalObject(raw, "dns") ?? {};
  const capability = optionalObject(runtime, "dns", "runtimeConfig.dns") ?? {};
  const words = (object: Json, key: string, path: string): string[] | undefined => {
    const list = optionalStrings(object, key, path);
    list?.forEach((word, i) => {
      if (!WORD.test(word)) throw refuse(`${path}[${i}]`, word, "one word of a resolv.conf");
    });
    return list;
  };
  const runtimeStrings = (key: string): string[] | undefined => words(capability, key, `runtimeConfig.dns.${key}`);
  const nonEmpty = (list: string[] | undefined): string[] | undefined => (list && list.length > 0 ? list : undefined);
  const nameservers = optionalStrings(config, "nameservers", "dns.nameservers");
  for (const [path, list] of [
    ["dns.nameservers", nameservers],
    ["runtimeConfig.dns.servers", runtimeStrings("servers")],
  ] as const) {
    list?.forEach((server, i) => {
      if (!NAMESERVER.test(server)) throw refuse(`${path}[${i}]`, server, "an IP address");
    });
  }
  set("nameservers", nonEmpty(runtimeStrings("servers")) ?? nameservers);
  const domain = optionalString(config, "domain", "dns.domain");
  if (domain && !WORD.test(domain)) throw refuse("dns.domain", domain, "one word of a resolv.conf");
  set("domain", domain);
  set("search", nonEmpty(runtimeStrings("searches")) ?? words(config, "search", "dns.search"));
  set("options", nonEmpty(runtimeStrings("options")) ?? words(config, "options", "dns.options"));
  return dns;
}

/** Which ports of the node are to lead to the pod. Ports of a container without one of the node's are no matter of ours (CRI-O passes them). */
function portMappings(runtime: Json): PortMapping[] {
  const path = "runtimeConfig.portMappings";
  const list = optionalList(runtime, "portMappings", path) ?? [];
  if (list.length > MOST_PORTS) throw refuse(path, list.length, `at most ${MOST_PORTS} port mappings`);
  const found: PortMapping[] = [];
  for (const [i, value] of list.entries()) {
    const at = `${path}[${i}]`;
    if (!isObject(value)) throw refuse(at, value, "an object with hostPort, containerPort and protocol");
    const hostPort = optionalInteger(value, "hostPort", { path: `${at}.hostPort`, min: 0, max: 65_535 }) ?? 0;
    if (hostPort === 0) continue;
    const port = { path: `${at}.containerPort`, min: 1, max: 65_535 };
    const containerPort = optionalInteger(value, "containerPort", port);
    if (containerPort === undefined) throw refuse(port.path, undefined, "a port of the pod");
    const protocol = (optionalString(value, "protocol", `${at}.protocol`) || "tcp").toLowerCase();
    if (!Object.hasOwn(PROTOCOLS, protocol))
      throw refuse(`${at}.protocol`, protocol, "tcp, udp or sctp", CODE.unsupportedField);
    const hostIpText = optionalString(value, "hostIP", `${at}.hostIP`) ?? "";
    const hostIp = hostIpText === "" ? "" : parsed(`${at}.hostIP`, hostIpText, parseIp);
    const mapping: PortMapping = { protocol: protocol as Protocol, hostPort, containerPort, hostIp };
    const same = found.find((other) => other.hostIp === hostIp && overlap(other, mapping));
    if (same && same.containerPort !== containerPort)
      throw refuse(
        at,
        value,
        `a host port that no other mapping of the pod has: ${hostPortText(same)} leads to ${same.containerPort}`,
      );
    if (!same) found.push(mapping);
  }
  return found;
}

/** A burst that is as good as none: some runtimes pass the largest number that they have. */
const ENDLESS_BURST = Number.MAX_SAFE_INTEGER;

/** How much the pod may receive and send (CNI CONVENTIONS.md, capability `bandwidth`). A rate of 0 is that of a key that is not set. */
function bandwidthOf(runtime: Json): Limits | undefined {
  const object = optionalObject(runtime, "bandwidth", "runtimeConfig.bandwidth");
  if (!object) return undefined;
  const limits: Limits = {};
  for (const direction of DIRECTIONS) {
    const [rate = 0, burst = 0] = (["Rate", "Burst"] as const).map((what) => {
      const value = get(object, direction + what) ?? 0;
      const path = `runtimeConfig.bandwidth.${direction}${what}`;
      if (typeof value !== "number" || value < 0) throw refuse(path, value, "a number of bits, 0 or more");
      if (what === "Rate" && value !== 0 && !isRate(value)) throw refuse(path, value, RATE_RULE);
      return value;
    });
    if (rate === 0) continue;
    limits[direction] = { rate, ...(burst > 0 && { burst: Math.min(burst, ENDLESS_BURST) }) };
  }
  return limits.ingress || limits.egress ? limits : undefined;
}

/** @throws CniError 2 when a pod is to have host ports of a family that it has no address of: nothing could ever come by them */
export function requireFamilies(ports: readonly PortMapping[], ips: readonly string[]): void {
  const families = new Set(ips.map(familyOf));
  const lost = ports.find((mapping) => !familiesOf(mapping).some((family) => families.has(family)));
  if (lost)
    throw refuse(
      "runtimeConfig.portMappings",
      hostPortText(lost),
      `on an address of a family that the pod has (${ips.join(", ")}), as hostIP of its ports in the Pod's specification`,
      CODE.unsupportedField,
    );
}

/** Reads what is asked for one attachment. @throws CniError 2, 4 or 7, naming the key. */
export function readOptions(raw: Json, cniArgs: CniArgs): AttachOptions {
  const runtime = optionalObject(raw, "runtimeConfig") ?? {};
  const args = optionalObject(optionalObject(raw, "args") ?? {}, "cni", "args.cni") ?? {};
  const ips = requestedIps(runtime, args, cniArgs);
  const ranges = ipRanges(runtime);
  const ports = portMappings(runtime);
  const bandwidth = bandwidthOf(runtime);
  const mac = requestedMac(runtime, args, cniArgs);
  // As in the reference plugins, 0 is that of a key that is not set.
  const mtu = get(raw, "mtu") === 0 ? undefined : optionalInteger(raw, "mtu", { min: 68, max: 65_535 });
  return {
    ...(ips && { ips }),
    ...(ranges && { ranges }),
    ...(mac && { mac }),
    ...(mtu && { mtu }),
    ...(ports.length > 0 && { ports }),
    ...(bandwidth && { bandwidth }),
    dns: dnsOf(raw, runtime),
  };
}
