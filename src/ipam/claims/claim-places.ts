/**
 * Where claims are, for whoever asks whether a node may publish a claim's addresses: the status of all claims, from one watch of the agent.
 * A status is what an agent writes, so that a claim has gone from one node to another is believed when the API server knows its pod there; what
 * this node has written itself counts at once, however far behind the watch is.
 */
import type { FormerClaim } from "../../endpoints/index.ts";
import { setTimeout as delay } from "node:timers/promises";
import { type KubeClient, ObjectReflector, type ReflectorOptions } from "../../kube/index.ts";
import { IP_CLAIMS, type IPClaimInfo, parseIPClaim } from "../../crd/index.ts";
import { type ClaimObjects, holderText } from "./objects.ts";

/** A claim's place. */
export interface Place {
  ips: readonly string[];
  mac?: string;
  node?: string;
}

type Seen = Pick<
  IPClaimInfo,
  "namespace" | "name" | "uid" | "resourceVersion" | "network" | "allowedAddresses" | "status"
>;

interface Known {
  seen: Seen;
  /** The node that is believed to have it. */
  node: string | undefined;
}

export interface ClaimPlacesOptions {
  client: KubeClient;
  log: ReflectorOptions["log"];
  pods: Pick<ClaimObjects, "pod">;
  /** For tests: the first pause after a failed question, in milliseconds. */
  pauseMs?: number;
}

const PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;
/** Claims that are gone and remembered, in all networks. */
const MOST_FORMER = 4_096;
/** Questions to the API server at once. */
const AT_ONCE = 8;

/** See the header. Begins to watch with the first {@link start}. */
export class ClaimPlaces {
  readonly #o: ClaimPlacesOptions;
  readonly #claims: ObjectReflector<Seen>;
  /** By NAMESPACE/NAME/UID. */
  readonly #known = new Map<string, Known>();
  /** Nodes that had claims which are gone, the oldest first; of those alone whose end was seen. */
  readonly #former = new Map<string, FormerClaim>();
  readonly #listeners = new Set<(network: string) => void>();
  /** Networks of which changes of place are held against pods. */
  readonly #networks = new Map<string, number>();
  readonly #waiting = new Map<string, Seen>();
  readonly #stopping = new AbortController();
  #asking = 0;

  constructor(options: ClaimPlacesOptions) {
    this.#o = options;
    const source = { what: "claims of all namespaces", path: IP_CLAIMS, parse: seenOf, same: sameSeen };
    this.#claims = new ObjectReflector(options.client, source, { ...(options.log && { log: options.log }) });
    this.#claims.onChange(({ added, changed, removed, ended }) => {
      const networks = new Set<string>();
      for (const one of ended) this.#remember(one);
      for (const one of [...removed, ...changed.map(({ before }) => before)]) networks.add(one.network);
      for (const one of removed) this.#known.delete(holderText(one));
      for (const { before, after } of changed) if (before.uid !== after.uid) this.#known.delete(holderText(before));
      for (const one of [...added, ...changed.map(({ after }) => after)]) {
        networks.add(one.network);
        this.#take(one);
      }
      this.#tell(networks);
    });
  }

  /** Begins to watch, once. */
  start(): void {
    this.#claims.start();
  }

  whenSynced(): Promise<void> {
    return this.#claims.whenSynced();
  }

  /**
   * Follows a network: `onChange` is told whenever a claim of it may be elsewhere. Returns the function that ends it.
   */
  follow(network: string, onChange: () => void): () => void {
    const listener = (one: string): void => {
      if (one === network) onChange();
    };
    this.#listeners.add(listener);
    this.#networks.set(network, (this.#networks.get(network) ?? 0) + 1);
    return () => {
      if (!this.#listeners.delete(listener)) return;
      const left = (this.#networks.get(network) ?? 1) - 1;
      if (left > 0) this.#networks.set(network, left);
      else this.#networks.delete(network);
    };
  }

  /** A claim's place by NAMESPACE/NAME/UID. */
  of(holder: string): Place | FormerClaim | "gone" | "unknown" {
    const known = this.#known.get(holder);
    if (!known) return this.#claims.synced ? (this.#former.get(holder) ?? "gone") : "unknown";
    const { ips, mac } = known.seen.status;
    return { ips, ...(mac !== undefined && { mac }), ...(known.node !== undefined && { node: known.node }) };
  }

  /** Where the claims of a network are that some node has, and whose: NAMESPACE/NAME of a pod of that node. */
  *in(network: string): Generator<{ holder: string; node: string; ips: readonly string[]; pod: string | undefined }> {
    for (const [holder, { seen, node }] of this.#known) {
      if (node === undefined || seen.network !== network) continue;
      const { ips, pod } = seen.status;
      const isThere = pod !== undefined && seen.status.node === node;
      yield { holder, node, ips, pod: isThere ? `${seen.namespace}/${pod}` : undefined };
    }
  }

  /** What a claim lets its pod send from besides its own addresses, by NAMESPACE/NAME/UID. */
  allowed(holder: string): readonly string[] {
    return this.#known.get(holder)?.seen.allowedAddresses ?? [];
  }

  /** Whether another node is said to have a claim than the one that is believed to, which may stay so. */
  doubtful(holder: string): boolean {
    const known = this.#known.get(holder);
    return known !== undefined && known.seen.status.node !== known.node;
  }

  /** What this node has read or written itself: it needs no proof, and the watch shows it later. */
  know(claim: IPClaimInfo): void {
    const holder = holderText(claim);
    const before = this.#known.get(holder);
    if (before && isNewer(before.seen, claim)) return;
    this.#known.set(holder, { seen: claim, node: claim.status.node });
    this.#tell(new Set([claim.network]));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#claims.stop();
  }

  #remember(seen: Seen): void {
    const holder = holderText(seen);
    const nodes = [seen.status.node, this.#known.get(holder)?.node].filter((node) => node !== undefined);
    this.#former.set(holder, { last: [...new Set(nodes)] });
    for (const oldest of this.#former.keys()) {
      if (this.#former.size <= MOST_FORMER) return;
      this.#former.delete(oldest);
    }
  }

  #take(seen: Seen): void {
    const holder = holderText(seen);
    const before = this.#known.get(holder);
    if (before && isNewer(before.seen, seen)) return;
    const { node } = seen.status;
    const moved = before?.node !== undefined && before.node !== node && this.#networks.has(seen.network);
    this.#known.set(holder, { seen, node: moved ? before.node : node });
    if (!moved || node === undefined) return;
    this.#waiting.set(holder, seen);
    this.#askNext();
  }

  #askNext(): void {
    for (const [holder, seen] of this.#waiting) {
      if (this.#asking >= AT_ONCE) return;
      this.#waiting.delete(holder);
      this.#asking++;
      void this.#ask(holder, seen).finally(() => {
        this.#asking--;
        this.#askNext();
      });
    }
  }

  /** Asks whether the pod that a status names is where it says, and believes it then. */
  async #ask(holder: string, { namespace, network, status }: Seen): Promise<void> {
    const { node, pod, podUid } = status;
    if (pod === undefined) return;
    const { signal } = this.#stopping;
    for (let attempt = 0; !signal.aborted; attempt++) {
      // Another status has come since, which is asked about itself.
      const current = () => this.#known.get(holder)?.seen.status.podUid === podUid;
      if (!current()) return;
      try {
        const there = await this.#o.pods.pod(namespace, pod);
        const known = this.#known.get(holder);
        if (!known || !current() || there?.node !== node || there?.uid !== podUid || there?.finished) return;
        known.node = node;
        this.#tell(new Set([network]));
        return;
      } catch (error) {
        this.#o.log?.debug("cannot see yet whether a claim's pod is where its status says", { holder, error });
        const pauseMs = Math.min((this.#o.pauseMs ?? PAUSE_MS) * 2 ** attempt, MAX_PAUSE_MS);
        await delay(pauseMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  #tell(networks: ReadonlySet<string>): void {
    for (const network of networks) for (const listener of this.#listeners) listener(network);
  }
}

function seenOf(object: unknown): Seen {
  const { namespace, name, uid, resourceVersion, network, allowedAddresses, status } = parseIPClaim(object);
  const { ready: _said, ...place } = status;
  const allowed = allowedAddresses && { allowedAddresses };
  return { namespace, name, uid, resourceVersion, network, ...allowed, status: place };
}

const sameSeen = (a: Seen, b: Seen): boolean =>
  a.uid === b.uid &&
  a.network === b.network &&
  String(a.allowedAddresses) === String(b.allowedAddresses) &&
  JSON.stringify(a.status) === JSON.stringify(b.status);

/** Whether `a` is of a later version than `b`; resourceVersions are compared as numbers (KEP-5504). */
function isNewer(
  { resourceVersion: a }: Pick<Seen, "resourceVersion">,
  { resourceVersion: b }: Pick<Seen, "resourceVersion">,
): boolean {
  return a.length === b.length ? a > b : a.length > b.length;
}
