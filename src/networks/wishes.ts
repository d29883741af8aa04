/**
 * What a pod's annotations ask for: interfaces in networks beside the default one. `skylane.dev/networks` has a short form,
 * `blue, green@eth5`, and JSON for the rest; the de-facto standard's `k8s.v1.cni.cncf.io/networks` (Network Plumbing Working
 * Group, multi-network specification, section 4.1) is understood where it names networks of ours.
 */
import { familyOf, parseIp, parseMac, printable } from "../addr/index.ts";
import { isObject } from "./object.ts";

export const NETWORKS_ANNOTATION = "skylane.dev/networks";
/** The de-facto standard's. */
export const STANDARD_ANNOTATION = "k8s.v1.cni.cncf.io/networks";

/** One interface that is asked for. */
export interface Wish {
  network: string;
  ifname: string;
  ips?: string[];
  mac?: string;
}

/** An annotation that cannot be meant. The message names it and what is wrong. */
export class WishError extends Error {
  override readonly name = "WishError";
}

const MAX_LENGTH = 16_384;
const MAX_WISHES = 32;
const NETWORK = /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/;
/** Safe names for interfaces: the kernel allows more, nobody needs it. */
const IFNAME = /^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,14}$/;

type Raw = Omit<Wish, "ifname"> & { ifname?: string };

/**
 * All interfaces that a pod's annotations ask for.
 * @param known whether a name is one of our networks: the standard annotation may name others', which are not ours to attach
 * @throws WishError
 */
export function readWishes(annotations: Readonly<Record<string, string>>, known: (network: string) => boolean): Wish[] {
  const own = annotations[NETWORKS_ANNOTATION];
  const standard = annotations[STANDARD_ANNOTATION];
  const raw = [
    ...(own === undefined ? [] : parse(NETWORKS_ANNOTATION, own)),
    ...(standard === undefined ? [] : parse(STANDARD_ANNOTATION, standard).filter(({ network }) => known(network))),
  ];
  if (raw.length > MAX_WISHES) throw new WishError(`a pod may have at most ${MAX_WISHES} further interfaces`);
  return named(raw);
}

/** Gives names to those that have none: net1, net2, … as the standard has it, beside those that are asked for. */
function named(raw: readonly Raw[]): Wish[] {
  const taken = new Set(["eth0", "lo"]);
  for (const { ifname, network } of raw) {
    if (ifname === undefined) continue;
    if (taken.has(ifname)) throw new WishError(`interface ${ifname} is asked for twice (network "${network}")`);
    taken.add(ifname);
  }
  let next = 1;
  return raw.map(({ ifname, ...wish }) => {
    if (ifname !== undefined) return { ...wish, ifname };
    while (taken.has(`net${next}`)) next++;
    return { ...wish, ifname: `net${next++}` };
  });
}

function parse(key: string, text: string): Raw[] {
  if (text.length > MAX_LENGTH) throw new WishError(`annotation ${key} is longer than ${MAX_LENGTH} characters`);
  if (text.trim() === "") return [];
  return text.trimStart().startsWith("[") ? parseList(key, text) : text.split(",").map((one) => parseShort(key, one));
}

function parseShort(key: string, text: string): Raw {
  // <namespace>/<network>@<interface> in the standard; networks of ours are in no namespace, so it says nothing
  const match = /^\s*(?:([a-z0-9-]+)\/)?([^@/\s]+)(?:@(\S+))?\s*$/.exec(text);
  if (!match || (match[1] !== undefined && key === NETWORKS_ANNOTATION))
    throw wrong(key, text, "a network's name, or NETWORK@INTERFACE");
  return checked(key, { network: match[2], interface: match[3] });
}

function parseList(key: string, text: string): Raw[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new WishError(`annotation ${key} is no JSON: ${printable((error as Error).message)}`, { cause: error });
  }
  if (!Array.isArray(value)) throw wrong(key, text, "a list");
  return (value as unknown[]).map((one) => checked(key, isObject(one) ? { ...one, network: one["name"] } : {}));
}

function checked(key: string, { network, interface: ifname, ips, mac }: Readonly<Record<string, unknown>>): Raw {
  if (typeof network !== "string" || !NETWORK.test(network)) throw wrong(key, network, "the name of a pod network");
  if (ifname !== undefined && (typeof ifname !== "string" || !IFNAME.test(ifname)))
    throw wrong(key, ifname, "an interface's name of up to 15 letters, digits and _.-");
  const addresses = ips === undefined ? undefined : addressesOf(key, ips);
  const hardware = mac === undefined ? undefined : tried(key, mac, "a MAC address", parseMac);
  return {
    network,
    ...(ifname !== undefined && { ifname }),
    ...(addresses && addresses.length > 0 && { ips: addresses }),
    ...(hardware !== undefined && { mac: hardware }),
  };
}

function addressesOf(key: string, value: unknown): string[] {
  if (!Array.isArray(value)) throw wrong(key, value, "a list of addresses");
  const ips = (value as unknown[]).map((one) =>
    tried(key, one, "an IP address", (text) => parseIp(text.replace(/\/\d+$/, ""))),
  );
  if (new Set(ips.map(familyOf)).size < ips.length) throw wrong(key, value, "at most one address a family");
  return ips;
}

function tried(key: string, value: unknown, wanted: string, read: (text: string) => string): string {
  if (typeof value !== "string") throw wrong(key, value, wanted);
  try {
    return read(value);
  } catch (error) {
    if (error instanceof RangeError) throw wrong(key, value, wanted);
    throw error;
  }
}

const wrong = (key: string, value: unknown, wanted: string): WishError =>
  new WishError(`annotation ${key}: ${printable(JSON.stringify(value) ?? "nothing").slice(0, 100)} is not ${wanted}`);
