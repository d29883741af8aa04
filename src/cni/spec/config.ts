/**
 * The network configuration on stdin. Read in two steps on purpose: this file takes only what every verb
 * needs, so that DEL and GC still work when an optional key became malformed after ADD; what only ADD and
 * CHECK use is read in options.ts and result.ts. Keys that are not ours are left alone.
 */
import { isUtf8 } from "node:buffer";
import { normalize } from "node:path";
import { printable } from "../../addr/index.ts";
import { NAME } from "./environment.ts";
import { CniError, CODE } from "./errors.ts";
import { decodeObject, get, optionalObject, optionalString, refuse } from "./json.ts";
import { hasVerb, SUPPORTED_VERSIONS, sinceVersion, type Verb, VERSION_WHEN_ABSENT } from "./version.ts";
import type { Json } from "../../json/index.ts";

/** Where the agent publishes and where state is kept, unless the configuration says otherwise. */
export const DEFAULT_RUN_DIR = "/run/skylane";
export const DEFAULT_DATA_DIR = "/var/lib/cni/skylane";
/** The pod network that a configuration means when it names none. */
const DEFAULT_NETWORK = "default";

/** Largest request that is read, in bytes: a GC list of thousands of attachments stays far below. */
const MAX_REQUEST_BYTES = 1024 * 1024;

/** What every verb needs of the network configuration. */
export interface NetConfig {
  cniVersion: string;
  /** The CNI network's name (the conflist's `name`). */
  name: string;
  /** Skylane's pod network, "default" unless given. */
  network: string;
  runDir: string;
  dataDir: string;
  /** Name of the IPAM plugin to delegate to; absent: our own IPAM. */
  ipam?: string;
  /** The whole configuration as decoded. */
  raw: Json;
  /** The whole configuration as received, for a delegated plugin. */
  text: string;
}

/** The request as text. @throws CniError 6 when it is too large or not UTF-8. */
export function requestText(stdin: string | Uint8Array): string {
  const size = typeof stdin === "string" ? Buffer.byteLength(stdin) : stdin.length;
  if (size > MAX_REQUEST_BYTES) {
    throw new CniError(CODE.decode, `the network configuration on stdin is larger than ${MAX_REQUEST_BYTES} bytes`);
  }
  if (typeof stdin === "string") return stdin;
  if (!isUtf8(stdin)) throw new CniError(CODE.decode, "the network configuration on stdin is not UTF-8");
  return Buffer.from(stdin.buffer, stdin.byteOffset, stdin.byteLength).toString("utf8");
}

/** The version that a request is written in, as it says it. @throws CniError 6 when the key is no text. */
export function requestedVersion(raw: Json): string {
  const version = get(raw, "cniVersion") ?? VERSION_WHEN_ABSENT;
  if (typeof version !== "string") {
    throw new CniError(CODE.decode, 'network configuration key "cniVersion" is not a text', 'Write it as "1.1.0".');
  }
  return version === "" ? VERSION_WHEN_ABSENT : version;
}

/** @throws CniError 1 when the version is none of ours or does not have the verb. */
function requireVersion(version: string, verb: Verb): void {
  if (!SUPPORTED_VERSIONS.includes(version)) {
    throw new CniError(
      CODE.incompatibleVersion,
      `incompatible CNI version: the configuration is "${printable(version)}"`,
      `Skylane supports ${SUPPORTED_VERSIONS.join(", ")}; set cniVersion to one of them (absent means ${VERSION_WHEN_ABSENT}).`,
    );
  }
  if (!hasVerb(version, verb)) {
    throw new CniError(
      CODE.incompatibleVersion,
      `configuration version ${version} does not allow ${verb}`,
      `${verb} needs cniVersion ${sinceVersion(verb)} or newer.`,
    );
  }
}

function directory(raw: Json, key: string, otherwise: string): string {
  const path = optionalString(raw, key);
  if (path === undefined || path === "") return otherwise;
  if (!path.startsWith("/") || path.includes("\0") || path.length > 2048) throw refuse(key, path, "an absolute path");
  return normalize(path);
}

function plainName(raw: Json, key: string, path = key): string | undefined {
  const name = optionalString(raw, key, path);
  if (name === undefined || name === "") return undefined;
  if (!NAME.test(name) || name.length > 200) {
    throw refuse(path, name, 'a name of letters, digits, "_", "." and "-" that starts with a letter or digit');
  }
  return name;
}

function ipamPlugin(raw: Json): string | undefined {
  const ipam = optionalObject(raw, "ipam");
  const type = ipam && plainName(ipam, "type", "ipam.type");
  // A plugin that delegates to itself would start processes without end.
  if (type !== undefined && (type === "skylane" || type === get(raw, "type"))) {
    throw refuse("ipam.type", type, "an IPAM plugin; leave ipam out to use Skylane's own", CODE.unsupportedField);
  }
  return type;
}

/** Reads what every verb needs. @throws CniError 1, 2, 6 or 7, naming the key. */
function readConfig(raw: Json, text: string, verb: Verb): NetConfig {
  const cniVersion = requestedVersion(raw);
  requireVersion(cniVersion, verb);
  const name = plainName(raw, "name");
  if (name === undefined) throw refuse("name", undefined, "the network's name");
  const ipam = ipamPlugin(raw);
  return {
    cniVersion,
    name,
    network: plainName(raw, "network") ?? DEFAULT_NETWORK,
    runDir: directory(raw, "runDir", DEFAULT_RUN_DIR),
    dataDir: directory(raw, "dataDir", DEFAULT_DATA_DIR),
    ...(ipam !== undefined && { ipam }),
    raw,
    text,
  };
}

/** Decodes a whole request. @throws CniError */
export function decodeConfig(stdin: string | Uint8Array, verb: Verb): NetConfig {
  const text = requestText(stdin);
  return readConfig(decodeObject(text, "the network configuration on stdin"), text, verb);
}
