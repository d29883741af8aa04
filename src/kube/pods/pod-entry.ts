/**
 * Pods as they are kept: a hundred thousand of them. What pods of one making have in common (namespace, labels, named ports) is one object for
 * all, texts that many say are one text, and of a pod itself its key, node and addresses are left.
 */
import { parseIp } from "../../addr/index.ts";
import { metadataOf } from "../informer/transform.ts";
import { isObject } from "../../json/index.ts";

/** A port with a name, of a container that runs as long as its pod. */
export interface PodPort {
  readonly name: string;
  readonly protocol: "TCP" | "UDP" | "SCTP";
  readonly port: number;
}

/** What pods of one making have in common. */
export interface PodMaking {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ports: readonly PodPort[];
}

/** A pod as it is kept. */
export class PodEntry {
  /** `<namespace>/<name>`. */
  readonly key: string;
  readonly making: PodMaking;
  /** The node it is on; "" while it has none. */
  readonly node: string;
  /** `status.podIPs` that are addresses, canonical: what its node's kubelet says they are. */
  readonly ips: readonly string[];
  /** Of pods of the own node; "" for others. */
  readonly uid: string;

  constructor(key: string, making: PodMaking, node: string, ips: readonly string[], uid: string) {
    this.key = key;
    this.making = making;
    this.node = node;
    this.ips = ips;
    this.uid = uid;
  }

  get namespace(): string {
    return this.making.namespace;
  }

  get name(): string {
    return this.key.slice(this.namespace.length + 1);
  }

  /** Nobody asks for it, and it would be another text for each pod. */
  get resourceVersion(): string {
    return "";
  }
  set resourceVersion(_version: string) {
    // see above
  }
}

/** Whether nothing has changed that anybody here looks at. */
export const samePod = (a: PodEntry, b: PodEntry): boolean =>
  a.node === b.node && a.uid === b.uid && sameTexts(a.ips, b.ips) && sameMaking(a.making, b.making);

function sameTexts(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((one, i) => one === b[i]);
}

function sameMaking(a: PodMaking, b: PodMaking): boolean {
  if (a === b) return true;
  if (a.namespace !== b.namespace || a.ports.length !== b.ports.length) return false;
  const keys = Object.keys(a.labels);
  if (keys.length !== Object.keys(b.labels).length || keys.some((key) => a.labels[key] !== b.labels[key])) return false;
  return a.ports.every(({ name, protocol, port }, i) => {
    const other = b.ports[i] as PodPort;
    return name === other.name && protocol === other.protocol && port === other.port;
  });
}

/** Texts that are kept as one; forgotten where too many are different. */
const MOST_TEXTS = 10_000;
const NO_IPS: readonly string[] = [];
const NO_PORTS: readonly PodPort[] = [];
/** Fewer makings than this are not worth looking for those that no pod has any more. */
const FEW_MAKINGS = 2_048;

/** Makes entries, and equal parts of them one. */
export class PodEntries {
  readonly #ownNode: string;
  readonly #texts = new Map<string, string>();
  /** By a number that equal ones have in common; of different ones with the same number only one is shared. */
  #makings = new Map<number, PodMaking>();
  #sweepAt = FEW_MAKINGS;
  readonly #live: () => Iterable<PodMaking>;

  /** @param ownNode of whose pods the uid is kept @param live what pods have that are there */
  constructor(ownNode: string, live: () => Iterable<PodMaking>) {
    this.#ownNode = ownNode;
    this.#live = live;
  }

  /** How many makings are known. */
  get makings(): number {
    return this.#makings.size;
  }

  /**
   * A Pod; one of which {@link isInside} is false where it can have no part in policies: it is in the host's network, or its phase is Succeeded
   * or Failed, so that its address may be another's by now. @throws TypeError naming what is not as it must be
   */
  of(object: unknown): PodEntry {
    const metadata = metadataOf(object);
    const { spec, status } = object as { spec?: unknown; status?: unknown };
    const [name, namespace, uid] = [textIn(metadata, "name"), textIn(metadata, "namespace"), textIn(metadata, "uid")];
    const key = asOne(`${namespace}/${name}`);
    if (isOutside(spec, status)) return new PodEntry(key, OUTSIDE, "", NO_IPS, "");
    const node = isObject(spec) && typeof spec["nodeName"] === "string" ? this.#text(spec["nodeName"]) : "";
    const making = this.#making(namespace, metadata["labels"], portsOf(spec));
    return new PodEntry(key, making, node, ipsOf(status), node === this.#ownNode ? uid : "");
  }

  #text(text: string): string {
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    if (this.#texts.size >= MOST_TEXTS) this.#texts.clear();
    this.#texts.set(text, text);
    return text;
  }

  #making(namespace: string, labels: unknown, ports: readonly PodPort[]): PodMaking {
    let hash = hashOf(namespace, 0);
    const own: Record<string, string> = {};
    if (isObject(labels))
      for (const key of Object.keys(labels)) {
        const value = labels[key];
        if (typeof value !== "string") continue;
        hash = hashOf(value, hashOf(key, hash));
        own[key] = value;
      }
    for (const { name, port } of ports) hash = hashOf(name, hash ^ port);
    const making: PodMaking = { namespace, labels: own, ports };
    const known = this.#makings.get(hash);
    if (known && sameMaking(known, making)) return known;
    for (const key of Object.keys(own)) own[key] = this.#text(own[key] as string);
    const kept = { namespace: this.#text(namespace), labels: own, ports };
    if (this.#makings.size >= this.#sweepAt) this.#sweep();
    this.#makings.set(hash, kept);
    return kept;
  }

  /** Forgets what no pod has any more. */
  #sweep(): void {
    const live = new Set(this.#live());
    const before = this.#makings;
    this.#makings = new Map([...before].filter(([, making]) => live.has(making)));
    this.#sweepAt = FEW_MAKINGS + 2 * this.#makings.size;
  }
}

/** A text that was put together, as one that does not keep its parts in memory. */
const asOne = (text: string): string => Buffer.from(text).toString();

/** What a pod is that is not one for policies. */
const OUTSIDE: PodMaking = { namespace: "", labels: {}, ports: NO_PORTS };

/** Whether a pod can have a part in policies; others are none of the set. */
export const isInside = ({ making }: PodEntry): boolean => making !== OUTSIDE;

const isOutside = (spec: unknown, status: unknown): boolean =>
  (isObject(spec) && spec["hostNetwork"] === true) ||
  (isObject(status) && (status["phase"] === "Succeeded" || status["phase"] === "Failed"));

function textIn(from: Record<string, unknown>, key: string): string {
  const value = from[key];
  if (typeof value !== "string" || value === "") throw new TypeError(`metadata.${key} is no text`);
  return value;
}

const listIn = (from: unknown, key: string): readonly unknown[] =>
  isObject(from) && Array.isArray(from[key]) ? (from[key] as unknown[]) : [];

/** `status.podIPs`, else `status.podIP`; what is no address is left out. */
function ipsOf(status: unknown): readonly string[] {
  const listed = listIn(status, "podIPs").map((one) => (isObject(one) ? one["ip"] : undefined));
  const said = listed.length > 0 || !isObject(status) ? listed : [status["podIP"]];
  const ips: string[] = [];
  for (const one of said) {
    if (typeof one !== "string" || one === "") continue;
    const ip = canonical(one);
    if (ip !== undefined && !ips.includes(ip)) ips.push(ip);
  }
  return ips.length === 0 ? NO_IPS : ips;
}

function canonical(text: string): string | undefined {
  try {
    return parseIp(text);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return undefined;
  }
}

/** Ports with names, of containers and of those that run beside them from the start (init containers that are restarted always). */
function portsOf(spec: unknown): readonly PodPort[] {
  const sidecars = listIn(spec, "initContainers").filter((one) => isObject(one) && one["restartPolicy"] === "Always");
  const ports: PodPort[] = [];
  for (const container of [...listIn(spec, "containers"), ...sidecars])
    for (const one of listIn(container, "ports")) {
      if (!isObject(one)) continue;
      const { name, containerPort: port, protocol } = one;
      if (typeof name !== "string" || name === "" || typeof port !== "number" || port < 1 || port > 65_535) continue;
      if (isAbsentOr(protocol, "TCP")) ports.push({ name, protocol: "TCP", port });
      else if (protocol === "UDP" || protocol === "SCTP") ports.push({ name, protocol, port });
    }
  return ports.length === 0 ? NO_PORTS : ports;
}

const isAbsentOr = (value: unknown, word: string): boolean =>
  value === undefined || value === null || value === "" || value === word;

/** FNV-1a over the characters, from another hash on. */
function hashOf(text: string, seed: number): number {
  let hash = seed ^ 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash;
}
