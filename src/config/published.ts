/**
 * What the agent publishes about a pod network for the CNI plugin, under /run/skylane/<network>.json: the
 * plugin needs nothing else, neither the agent nor the API server. The plugin imports this, so nothing heavy may be
 * behind it. Keys that this version does not know are ignored, so that an agent may add some; a change of meaning
 * takes another layout version, which is refused.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { addressBits, FAMILIES, type Family, familyOf, printable } from "../addr/index.ts";
import { writeFileAtomic } from "../sys/index.ts";
import { checked, inFile } from "./check.ts";
import { ConfigError } from "./error.ts";
import { absolutePath, cidr, cidrList, interfaceName, mtu, networkName, nodeName, vni } from "./fields.ts";

/** Version of the file's layout; a plugin refuses a layout that it does not know. */
export const PUBLISHED_VERSION = 1;

/** One pod network on this node. */
export interface PublishedNetwork {
  version: typeof PUBLISHED_VERSION;
  /** Pod network name, "default" for the default one. */
  network: string;
  /** This node's name, as in its Node object. */
  node: string;
  vni: number;
  /** VXLAN device: `sky.<vni>`. */
  device: string;
  /** MTU of the pods' interfaces, in bytes. */
  mtu: number;
  /** This node's pod CIDRs, canonical; at most one a family in the default network, the node's blocks in any other. */
  podCidrs: string[];
  /** The whole cluster's pod CIDRs; may be empty where not configured. */
  clusterCidrs: string[];
  /** Path of the network namespace in which the pods' host ends are; absent: the host's. */
  hostNetns?: string;
  /** What pods reach through their interface in this network; absent: everything. */
  destinations?: string[];
  /** The bridge of which the pods' host ends are ports, and the length of the subnet's prefix by family; absent: the network is routed. */
  bridge?: { name: string; prefixLengths: { 4?: number; 6?: number } };
  /** Only the agent knows what else a pod is to have: an ADD waits for it. */
  needsAgent?: boolean;
  /** Why pods that should have IPv6 cannot have it, in words: until then none can be added. */
  narrow?: string;
}

const prefixLength = (family: Family) =>
  v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(addressBits(family))));

const fields = v.object({
  version: v.pipe(v.literal(PUBLISHED_VERSION), v.metadata({ allowed: String(PUBLISHED_VERSION) })),
  network: networkName,
  node: nodeName,
  vni,
  device: interfaceName,
  mtu,
  podCidrs: v.pipe(
    v.array(cidr),
    v.minLength(1),
    v.maxLength(1024),
    v.metadata({ allowed: "one CIDR a family, or blocks of one in a network with a namespace of its own" }),
  ),
  clusterCidrs: cidrList,
  hostNetns: v.optional(absolutePath),
  destinations: v.optional(cidrList),
  bridge: v.optional(
    v.object({ name: interfaceName, prefixLengths: v.object({ 4: prefixLength(4), 6: prefixLength(6) }) }),
  ),
  needsAgent: v.optional(v.boolean()),
  narrow: v.optional(v.pipe(v.string(), v.maxLength(1024))),
});

/** Only a network with a namespace of its own gets its addresses in blocks. */
const Published = v.pipe(
  fields,
  v.forward(
    v.check(
      ({ podCidrs, hostNetns }) =>
        hostNetns !== undefined || FAMILIES.every((f) => podCidrs.filter((one) => familyOf(one) === f).length <= 1),
      "has two CIDRs of one family",
    ),
    ["podCidrs"],
  ),
);

/** A node has a handful of CIDRs; anything longer is not this file. */
const MAX_BYTES = 64 * 1024;

const wrongFile = (file: string, detail: string, cause?: unknown): ConfigError =>
  new ConfigError([{ file, key: "", value: "", allowed: "", detail }], { cause });

/**
 * Path of a network's published state.
 * @throws ConfigError when the network's name cannot be a file name.
 */
export function publishedPath(runDir: string, network: string): string {
  if (!v.is(networkName, network)) throw wrongFile(runDir, `"${printable(network)}" is not a network name`);
  return join(runDir, `${network}.json`);
}

/** Parses published state strictly. @throws ConfigError naming file, key, value and what is allowed. */
export function parsePublished(text: string, file: string): PublishedNetwork {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw wrongFile(file, `is not JSON: ${printable((error as Error).message)}`, error);
  }
  const version = (value as { version?: unknown } | null)?.version;
  if (typeof version === "number" && version !== PUBLISHED_VERSION) {
    throw wrongFile(
      file,
      `has layout version ${version}, this plugin knows ${PUBLISHED_VERSION}; agent and plugin must come from the same release`,
    );
  }
  return checked(Published, value, inFile(file), "ignored");
}

/**
 * What the agent last published about a network; undefined while it has not yet.
 * @throws ConfigError when the file is there but cannot be used.
 */
export function readPublished(runDir: string, network: string): PublishedNetwork | undefined {
  const file = publishedPath(runDir, network);
  let text: string;
  try {
    const { size } = statSync(file);
    if (size > MAX_BYTES) throw wrongFile(file, `is ${size} bytes long; at most ${MAX_BYTES} are expected`);
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    if (error instanceof ConfigError) throw error;
    throw wrongFile(file, `cannot be read: ${(error as Error).message}`, error);
  }
  const published = parsePublished(text, file);
  if (published.network !== network) {
    const value = JSON.stringify(published.network);
    throw new ConfigError([{ file, key: "network", value, allowed: `"${network}", like the file's name` }]);
  }
  return published;
}

/** Publishes a network's state atomically: a reader sees the old or the new file, whole. @throws ConfigError, SysError */
export function writePublished(runDir: string, published: PublishedNetwork): void {
  const file = publishedPath(runDir, published.network);
  const text = `${JSON.stringify(published, undefined, 2)}\n`;
  parsePublished(text, file); // never publish what the plugin would refuse
  writeFileAtomic(file, text, { mode: 0o644 });
}
