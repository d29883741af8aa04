/**
 * The last known inputs on disk: what the Node objects said, not what was made of it. A node that reboots while
 * the API server is away plans from these exactly as it would from the API, so there is still only one way
 * to make the kernel right; when the API answers, its word replaces them. The file is synced before it is
 * renamed into place, since a power failure is one of the occasions it is for.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { type FileHandle, mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseCidr, parseIp } from "../addr/index.ts";
import type { AgentConfig } from "../config/index.ts";
import type { Logger } from "../log/index.ts";
import type { Granted } from "../peers/index.ts";
import type { Inputs, OwnFacts, NodeFacts } from "./inputs.ts";
import type { ReservedCidrs } from "./reserved-here.ts";

const VERSION = 1;
/** Nodes between two turns of the event loop. */
const AT_A_TIME = 100;
/** Unchanged inputs are written again after this long, so that the file's age says when they were last true. */
const REFRESH_MS = 3_600_000;
/** A cache older than this is used all the same, since it is the best there is, but it is said loudly. */
export const CACHE_OLD_MS = 24 * 3_600_000;

/** Inputs as they were at a time. */
export interface CachedInputs {
  /** Milliseconds since the epoch. */
  savedAt: number;
  inputs: Inputs & { nodes: NodeFacts[] };
  /** What no peer may have; absent in what an earlier version wrote. */
  reserved?: ReservedCidrs;
}

/** What is saved. */
export type SavedInputs = Inputs & Pick<CachedInputs, "reserved">;

/** Where the cache of a network is. */
export const cachePath = (dataDir: string, network: string): string => join(dataDir, "cache", `${network}.json`);

/**
 * Reads a cache. @returns undefined when there is none.
 * @throws Error naming the file and what is wrong with it: the caller goes on without.
 */
export async function readCache(path: string, node: string): Promise<CachedInputs | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return parseCache(text, node);
  } catch (error) {
    throw new Error(`the cache ${path} is not usable: ${(error as Error).message}`, { cause: error });
  }
}

/** Parses a cache strictly: it is a file, and files rot. @throws Error naming the part that is wrong. */
export function parseCache(text: string, node: string): CachedInputs {
  const value = record(JSON.parse(text), "the file");
  if (value["version"] !== VERSION) throw new Error(`layout version ${String(value["version"])} is not ${VERSION}`);
  const savedAt = Number(value["savedAt"]);
  if (!Number.isFinite(savedAt)) throw new Error("savedAt is no time");
  const own = record(value["own"], "own");
  const name = string(own["name"], "own.name");
  if (name !== node) throw new Error(`it is of node ${name}, and this node is ${node}`);
  const facts: OwnFacts = {
    name,
    podCidrs: strings(own["podCidrs"], "own.podCidrs").map(parseCidr),
    internalIps: strings(own["internalIps"], "own.internalIps").map(parseIp),
    ...(own["externalIps"] !== undefined && {
      externalIps: strings(own["externalIps"], "own.externalIps").map(parseIp),
    }),
    ...optional("underlayOverride", own),
    ...optional("publicOverride", own),
    ...optional("vtepAnnotation", own),
  };
  if (!Array.isArray(value["nodes"])) throw new Error("nodes is no list");
  // Of such a cache no peer could be made, and routes to all of them would be taken away.
  if (value["granted"] !== true)
    throw new Error("an earlier version wrote it, which did not keep the Nodes' pod CIDRs");
  const nodes = value["nodes"].map((entry, i): NodeFacts => {
    const node = record(entry, `nodes[${i}]`);
    const granted = node["granted"];
    return {
      name: string(node["name"], `nodes[${i}].name`),
      uid: string(node["uid"], `nodes[${i}].uid`),
      creationTimestamp: string(node["creationTimestamp"], `nodes[${i}].creationTimestamp`),
      ...optional("vtepAnnotation", node),
      ...(granted !== undefined && { granted: grantedOf(granted, `nodes[${i}].granted`) }),
    };
  });
  const reserved = value["reserved"];
  return { savedAt, inputs: { own: facts, nodes }, ...(reserved !== undefined && { reserved: reservedOf(reserved) }) };
}

function reservedOf(value: unknown): ReservedCidrs {
  const reserved = record(value, "reserved");
  const cidrs = (key: string): string[] => strings(reserved[key], `reserved.${key}`).map(parseCidr);
  return { services: cidrs("services"), pods: cidrs("pods") };
}

/** Whether its kubelet was heard says nothing any more. */
function grantedOf(value: unknown, what: string): Granted {
  const granted = record(value, what);
  return {
    podCidrs: strings(granted["podCidrs"], `${what}.podCidrs`).map(parseCidr),
    addresses: strings(granted["addresses"], `${what}.addresses`).map(parseIp),
  };
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error(`${what} is no object`);
  return value as Record<string, unknown>;
}

function string(value: unknown, what: string): string {
  if (typeof value !== "string") throw new Error(`${what} is no string`);
  return value;
}

function strings(value: unknown, what: string): string[] {
  if (!Array.isArray(value)) throw new Error(`${what} is no list`);
  return value.map((entry, i) => string(entry, `${what}[${i}]`));
}

function optional<K extends string>(key: K, from: Record<string, unknown>): { [key in K]?: string } {
  const value = from[key];
  return value === undefined ? {} : ({ [key]: string(value, key) } as { [key in K]?: string });
}

/** Conditions and failures of the moment are not kept: they would have the file written again and again. */
const kept = ({ name, uid, creationTimestamp, vtepAnnotation, granted }: NodeFacts): NodeFacts => ({
  name,
  uid,
  creationTimestamp,
  ...(vtepAnnotation !== undefined && { vtepAnnotation }),
  ...(granted && { granted: { podCidrs: granted.podCidrs, addresses: granted.addresses } }),
});

/**
 * The text behind the head of the file, in parts: that of thousands of Nodes takes tens of milliseconds to make, for which an event would have
 * to wait, and megabytes, which would have to be collected.
 */
function* bodyOf({ own, nodes, reserved }: SavedInputs): Generator<string> {
  yield `${reserved ? `"reserved":${JSON.stringify(reserved)},` : ""}"own":${JSON.stringify(own)},"nodes":[`;
  let part = "";
  let count = 0;
  for (const node of nodes) {
    part += `${count === 0 ? "" : ","}${JSON.stringify(kept(node))}`;
    if (++count % AT_A_TIME !== 0) continue;
    yield part;
    part = "";
  }
  yield `${part}]}\n`;
}

/** Writes a file part by part, letting others come between two of them. @returns what tells the body from another */
async function write(file: FileHandle, head: string, body: Iterable<string>): Promise<string> {
  const digest = createHash("sha256");
  await file.write(head);
  for (const part of body) {
    digest.update(part);
    await file.write(part);
  }
  return digest.digest("base64");
}

/** Writes a cache when its inputs changed or it grew old. */
export class CacheWriter {
  readonly #path: string;
  #hash = "";
  #savedAt = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** Whether what was saved is gone; if so, the next save writes. */
  lost(): boolean {
    if (this.#hash === "" || existsSync(this.#path)) return false;
    this.#hash = "";
    return true;
  }

  /** @returns whether something was written. @throws Error with the system's code; the former file is then still whole. */
  async save(inputs: SavedInputs, now = Date.now()): Promise<boolean> {
    const folder = dirname(this.#path);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const draft = `${this.#path}.${process.pid}.tmp`;
    let hash: string;
    try {
      const file = await open(draft, "w", 0o600);
      try {
        hash = await write(file, `{"version":${VERSION},"granted":true,"savedAt":${now},`, bodyOf(inputs));
        if (hash === this.#hash && now - this.#savedAt < REFRESH_MS) {
          await rm(draft);
          return false;
        }
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(draft, this.#path);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
    this.#hash = hash;
    this.#savedAt = now;
    return true;
  }
}

/** The last known inputs; one that cannot be read is said and done without. */
export async function loadCache(
  { dataDir, network, nodeName }: AgentConfig,
  log: Logger,
): Promise<CachedInputs | undefined> {
  try {
    return await readCache(cachePath(dataDir, network), nodeName);
  } catch (error) {
    log.warn("going on without last known peers", { error });
    return undefined;
  }
}
