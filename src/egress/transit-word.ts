/**
 * What a node says of its transits on its own Node: by which of its addresses the pods of a pod network here leave behind an egress address, and how many
 * they are. The gateway's node translates what comes from there.
 */
import { familyOf, parseIp } from "../addr/index.ts";
import { type KubeClient, patchNodeAnnotations } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import { isObject } from "../json/index.ts";
import { Task } from "../reconcile/index.ts";

/** The annotation: JSON, a list of {address, via, pods}. */
export const EGRESS_ANNOTATION = "skylane.dev/egress";
/** More than a node has any use for. */
const MOST = 1_024;
/** How soon another transit is told of, and how soon another count, in milliseconds. */
const SOON_MS = 20;
const COUNT_MS = 5_000;

/** What is said of an egress address. */
export interface Transit {
  /** Egress address. */
  address: string;
  /** The node's own address that stands for these pods; of the same family. */
  via: string;
  pods: number;
}

/** Reads the annotation of a node, which may be anything: what makes no sense is not there. */
export function readTransits(text: string | undefined): Transit[] {
  if (text === undefined) return [];
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) ? (list as unknown[]).slice(0, MOST).flatMap(transitOf) : [];
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
}

function transitOf(one: unknown): Transit[] {
  if (!isObject(one)) return [];
  const { address, via, pods } = one;
  if (typeof address !== "string" || typeof via !== "string") return [];
  try {
    const entry = { address: parseIp(address), via: parseIp(via) };
    if (familyOf(entry.address) !== familyOf(entry.via)) return [];
    return [{ ...entry, pods: typeof pods === "number" && Number.isSafeInteger(pods) && pods > 0 ? pods : 0 }];
  } catch (error) {
    if (error instanceof RangeError) return [];
    throw error;
  }
}

/** The annotation's text; undefined where there is nothing to say. */
export const writeTransits = (transits: readonly Transit[]): string | undefined =>
  transits.length === 0
    ? undefined
    : JSON.stringify([...transits].sort((a, b) => (a.address < b.address ? -1 : Number(a.address > b.address))));

const withoutCounts = (text: string | undefined): string =>
  JSON.stringify(readTransits(text).map(({ address, via }) => [address, via]));

export interface TransitWordOptions {
  client: KubeClient;
  nodeName: string;
  log: Logger;
}

/** Keeps the annotation of this node. */
export class TransitWord {
  readonly #task: Task;
  #wanted: string | undefined;
  /** What the Node says, as far as is known. */
  #there: string | undefined;

  constructor({ client, nodeName, log }: TransitWordOptions) {
    const write = async (): Promise<void> => {
      const text = this.#wanted;
      if (text === this.#there) return;
      await patchNodeAnnotations(client, nodeName, { [EGRESS_ANNOTATION]: text ?? null });
      // Until the watch says the same.
      this.#there = text;
    };
    this.#task = new Task(write, { baseMs: 250, maxMs: 30_000 }, (error, attempt) => {
      if (attempt === 1)
        log.warn("other nodes cannot be told how pods of this node reach their egress gateways; trying again", {
          error,
        });
    });
  }

  /** The Node says this. */
  heard(text: string | undefined): void {
    if (!this.#task.running) this.#there = text;
  }

  /** This is to be said. */
  say(transits: readonly Transit[]): void {
    this.#wanted = writeTransits(transits);
    if (this.#wanted === this.#there) return;
    const countAlone = withoutCounts(this.#wanted) === withoutCounts(this.#there);
    this.#task.want(countAlone ? COUNT_MS : SOON_MS);
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }
}
