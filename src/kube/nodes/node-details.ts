/**
 * What the API server says about Nodes beside their metadata, which alone is watched: pod CIDRs, addresses, and whether their
 * kubelets are heard. Each Node is asked for once, when it is first seen or registered again (its pod CIDRs never change after
 * that), and again when somebody doubts. Many at a time come as one list, read object by object: of 60 MB for 5,000 Nodes
 * nothing else is kept. Questions are answered from the API server's memory, and never by it being older than
 * what the watch has brought.
 */
import { ApiError } from "../client/api-error.ts";
import { Backoff, type BackoffOptions } from "../client/backoff.ts";
import type { KubeClient } from "../client/client.ts";
import { listPages } from "../client/list.ts";
import type { KubeLog } from "../informer/store.ts";
import { nodeOf, readNode } from "../wire/node-wire.ts";
import { NODES } from "./nodes.ts";
import { transformDetails } from "../informer/transform.ts";
import { TIMINGS } from "../client/timings.ts";
import type { NodeDetails, NodeMeta } from "../types.ts";

/** Whole objects, in the form that costs a server, the wire and us least, where it can be had. */
const ACCEPT = "application/vnd.kubernetes.protobuf,application/json";
/** Questions at a time. */
const CONCURRENCY = 8;
/**
 * From so many on, and from such a part of all on, one list of all is cheaper: of a Node that is asked for by itself the server sends no more than
 * that Node, and hundreds that join thousands are asked for by every agent at the same time.
 */
const LIST_FROM = 256;
const LIST_FROM_PART = 1 / 4;
/** How often a question fails before its failure is said of the Node. */
const TOLERATED = 2;

/** A Node that is asked about. */
type Asked = Pick<NodeMeta, "name" | "uid" | "resourceVersion">;

export interface NodeDetailsOptions {
  log?: KubeLog;
  /** Something is known of these Nodes that was not, or their questions fail. Once a turn at most. */
  onNews: (names: readonly string[]) => void;
  backoff?: BackoffOptions;
}

/** See the header. */
export class NodeDetailsKeeper {
  readonly #client: KubeClient;
  readonly #options: NodeDetailsOptions;
  readonly #known = new Map<string, NodeDetails>();
  /** Nodes with an open question. */
  readonly #open = new Map<string, Asked>();
  /** Those of them that nobody is asking about at the moment. */
  readonly #queue = new Set<string>();
  readonly #failures = new Map<string, { attempts: number; message: string }>();
  readonly #backoff: Backoff;
  readonly #stopping = new AbortController();
  readonly #underWay = new Set<Promise<void>>();
  #retry: NodeJS.Timeout | undefined;
  #listing = false;
  #news = new Set<string>();
  #telling = false;

  constructor(client: KubeClient, options: NodeDetailsOptions) {
    this.#client = client;
    this.#options = options;
    this.#backoff = new Backoff(options.backoff ?? TIMINGS);
  }

  /** What is known of the Node with this uid. */
  of({ name, uid }: Pick<Asked, "name" | "uid">): NodeDetails | undefined {
    const known = this.#known.get(name);
    return known?.uid === uid ? known : undefined;
  }

  /** Why nothing is known of a Node, once it was asked for more than once. */
  failureOf(name: string): string | undefined {
    const failure = this.#failures.get(name);
    return failure && failure.attempts >= TOLERATED ? failure.message : undefined;
  }

  /** Whether every question has been answered, or fails again and again. */
  get settled(): boolean {
    if (this.#listing) return false;
    for (const name of this.#open.keys()) if (this.failureOf(name) === undefined) return false;
    return true;
  }

  /** Takes over what an earlier run knew. */
  remember(name: string, details: NodeDetails): void {
    this.#known.set(name, details);
  }

  /** Asks about all Nodes at once, before it is known which there are. */
  askAll(): void {
    this.#start(this.#list());
  }

  /** Asks about those of which nothing is known, and about all of them when `anew`. */
  ask(nodes: Iterable<Asked>, anew = false): void {
    for (const node of nodes) {
      if (!anew && this.of(node)) continue;
      if (this.#open.get(node.name)?.uid === node.uid) continue;
      this.#open.set(node.name, node);
      this.#queue.add(node.name);
    }
    this.#pump();
  }

  /** A Node is gone. */
  forget(name: string): void {
    this.#known.delete(name);
    this.#close(name);
  }

  /** Ends everything under way; nobody is called back any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#retry);
    await Promise.all(this.#underWay);
  }

  #close(name: string): void {
    this.#open.delete(name);
    this.#queue.delete(name);
    this.#failures.delete(name);
  }

  #pump(): void {
    if (this.#listing || this.#stopping.signal.aborted) return;
    if (this.#queue.size >= Math.max(LIST_FROM, this.#known.size * LIST_FROM_PART)) return this.#start(this.#list());
    for (const name of this.#queue) {
      if (this.#underWay.size >= CONCURRENCY) return;
      this.#queue.delete(name);
      const asked = this.#open.get(name);
      if (asked) this.#start(this.#get(asked));
    }
  }

  #start(work: Promise<void>): void {
    const ended = work.finally(() => {
      this.#underWay.delete(ended);
      this.#pump();
    });
    this.#underWay.add(ended);
  }

  async #get({ name, uid, resourceVersion }: Asked): Promise<void> {
    const { signal } = this.#stopping;
    const path = `${NODES}/${encodeURIComponent(name)}`;
    // Where that did not help the API server's memory may be behind for good, as after a restore: then from its storage.
    const query = this.#failures.has(name) || resourceVersion === "" ? {} : { resourceVersion };
    try {
      const details = transformDetails(await this.#client.read({ path, query, accept: ACCEPT, signal }, nodeOf));
      if (signal.aborted) return;
      this.#learn(name, details);
      // Registered again, and one of the two is not the latest: the watch, or this answer.
      if (this.#open.has(name)) throw new Error(`it has uid ${details.uid}, and not ${uid}`);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.isGone(name)) this.#close(name);
      else this.#failed([name], error);
    }
  }

  async #list(): Promise<void> {
    this.#listing = true;
    this.#queue.clear();
    const { signal } = this.#stopping;
    const before = new Set(this.#open.keys());
    try {
      const onItem = (item: unknown): void => {
        const details = understood(item);
        if (!details) return;
        this.#learn(details.name, details);
      };
      await listPages(this.#client, {
        path: NODES,
        query: {},
        accept: ACCEPT,
        fromMemory: true,
        signal,
        onItem,
        read: readNode,
      });
    } catch (error) {
      if (!signal.aborted) this.#failed(before, error);
    } finally {
      this.#listing = false;
      // Of what the list did not say, each is asked for; what failed waits for its time.
      for (const name of this.#open.keys()) if (!this.#failures.has(name)) this.#queue.add(name);
      this.#tell();
    }
  }

  #learn(name: string, { uid, podCidrs, addresses, heard }: NodeDetails): void {
    const asked = this.#open.get(name);
    // One text for both: of thousands of Nodes it is kept with their metadata anyway.
    if (asked?.uid === uid) ({ uid } = asked);
    this.#known.set(name, { uid, podCidrs, addresses, ...(heard !== undefined && { heard }) });
    if (asked?.uid === uid) this.#close(name);
    this.#news.add(name);
    this.#tell();
  }

  #failed(names: Iterable<string>, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    for (const name of names) {
      if (!this.#open.has(name)) continue;
      const attempts = (this.#failures.get(name)?.attempts ?? 0) + 1;
      this.#failures.set(name, { attempts, message });
      this.#news.add(name);
      if (attempts === TOLERATED)
        this.#options.log?.warn("cannot read a Node's pod CIDRs and addresses; trying again", { name, error });
    }
    const retryAfter = error instanceof ApiError ? error.retryAfterMs : undefined;
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      for (const name of this.#failures.keys()) if (this.#open.has(name)) this.#queue.add(name);
      this.#pump();
    }, this.#backoff.next(retryAfter));
    this.#tell();
  }

  #tell(): void {
    if (this.#telling) return;
    this.#telling = true;
    setImmediate(() => {
      this.#telling = false;
      if (this.#stopping.signal.aborted) return;
      const names = [...this.#news];
      this.#news = new Set();
      if (this.#open.size === 0) this.#backoff.reset();
      this.#options.onNews(names);
    });
  }
}

/** A Node that makes no sense must not cost the others: it is asked for by itself, which says why. */
function understood(item: unknown): (NodeDetails & { name: string }) | undefined {
  try {
    return transformDetails(item);
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}
