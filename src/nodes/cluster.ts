/**
 * The cluster as this agent knows it: our own Node and all Nodes' annotations from the API server, and the cache
 * that stands in for them. Its only product is {@link Inputs}; where they come from is decided here:
 *
 * - Both watches in step: the API server's word.
 * - A machine without our device (it rebooted, so there is nothing to lose): the cache at once.
 * - A machine with our device (the agent alone restarted): the kernel already holds what was last planned, and a
 *   cache can only be older than that. It is used only once the API server has failed to answer for a while.
 *
 * The cached Nodes are also what the first list is held against: a list that comes back empty does not wipe
 * peers that the cache knows before the API server has said about each of them that it is gone.
 */
import {
  type Changes,
  growingPause,
  type KubeClient,
  longestPause,
  NodeDetailsKeeper,
  NodeLeases,
  type NodeMeta,
  NodeReflector,
  OwnNode,
  type OwnNodeInfo,
  type WatchState,
} from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import { type Granted, VTEP_ANNOTATION } from "../peers/index.ts";
import { POLICY_FAULTS_ANNOTATION } from "../policy/index.ts";
import { Task } from "../reconcile/index.ts";
import { CACHE_OLD_MS, type CacheWriter, type CachedInputs, type SavedInputs } from "./cache.ts";
import { Damper } from "./damper.ts";
import { isHeard } from "./heard.ts";
import type { Inputs, NodeChanges, NodeFacts, OwnFacts } from "./inputs.ts";
import type { ReservedCidrs } from "./reserved-here.ts";
import type { ApiStatus } from "../observe/index.ts";

/** The operator's override of the underlay address, on a Node. */
const UNDERLAY_ANNOTATION = "skylane.dev/underlay-ip";
/** The operator's word on how others reach this node, on a Node. */
const PUBLIC_ANNOTATION = "skylane.dev/public-ip";

/** How long a machine that still has its data path waits for the API server before it plans from the cache. */
const CACHE_GRACE_MS = 10_000;
/** Changes within this time are written to the cache together, and within so much more for each Node: all of them are written each time. */
const SAVE_DELAY_MS = 2_000;
const SAVE_DELAY_NODE_MS = 2;
/** What comes first is worth the most: until it is written a reboot finds nothing, or what was true before. By then this node's own word is known, too. */
const FIRST_SAVE_MS = 5_000;
/**
 * Contested Nodes are asked for again after this long, longer the more nodes ask and the longer nothing comes of it, and no more of them
 * at a time than so many, whose leases are followed meanwhile.
 */
const CONTEST_MS = 10_000;
const MOST_CONTESTED = 64;
/** What is added to that time at random, as a part of it. */
const CONTEST_SPREAD = 0.1;

/** What the view needs. */
export interface ClusterOptions {
  client: KubeClient;
  nodeName: string;
  log: Logger;
  /** What was last saved, if anything. */
  cached: CachedInputs | undefined;
  writer: CacheWriter;
  /** The kernel has our device: nothing is lost by waiting for the API server. */
  dataPathExists: boolean;
  /**
   * New inputs; `live` when they are the API server's.
   * @param changes of the Nodes since it was called last
   */
  onInputs: (inputs: Inputs, live: boolean, changes: NodeChanges) => void;
  /** Our own Node does not exist, and nothing is known of it. */
  onNoNode: () => void;
  /** What no peer may have, as far as the API server alone says it: it is saved beside the inputs. */
  reserved: () => ReservedCidrs;
  /** Emits an Event on our Node. */
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
  /** Nodes of which it depends on how they stand who gets what. */
  contested: () => Iterable<string>;
}

/** Watches the cluster. */
export class ClusterView {
  readonly #options: ClusterOptions;
  readonly #own: OwnNode;
  readonly #nodes: NodeReflector;
  readonly #details: NodeDetailsKeeper;
  /** Of Nodes that claim the same. */
  readonly #leases: NodeLeases;
  readonly #save: Task;
  /** Everything that was to be known of the first complete set of Nodes is known. */
  #complete = false;
  readonly #damper: Damper;
  #ownFacts: OwnFacts | undefined;
  /** Of our own Node, as long as this agent has known it. */
  #uid: string | undefined;
  #ownHeard = false;
  #usingCache = false;
  #grace: NodeJS.Timeout | undefined;
  #contest: NodeJS.Timeout | undefined;
  /** Contested Nodes that were asked for at the last time. */
  #asked: ReadonlySet<string> = new Set();
  #everSaved = false;
  /** Times in a row that asking for them has changed nothing. */
  #askedInVain = 0;

  constructor(options: ClusterOptions) {
    this.#options = options;
    const { client, nodeName, log, cached, writer } = options;
    this.#own = new OwnNode(client, nodeName, { log });
    this.#nodes = new NodeReflector(client, { log });
    this.#ownFacts = cached?.inputs.own;
    if (cached) this.#own.expect();
    this.#damper = new Damper({
      onDue: (name) => this.#takeNodes(this.#damper.take(name) ? [name] : []),
      onHeld: (name) => {
        const message = `Node ${name} changes what it publishes too often: its changes are taken every few seconds from now on`;
        log.warn(message);
        options.event("Warning", "SkylaneNodeFlapping", message);
      },
    });
    this.#details = new NodeDetailsKeeper(client, { log, onNews: (names) => this.#learned(names) });
    this.#leases = new NodeLeases(client, {
      log,
      onNews: (name) => this.#learned([name]),
      mostMs: () => longestPause(this.#nodes.nodes().size),
    });
    for (const node of cached?.inputs.nodes ?? []) {
      this.#nodes.remember([cachedMeta(node)]);
      if (node.granted) this.#details.remember(node.name, { uid: node.uid, ...node.granted });
    }
    this.#save = new Task(
      async () => {
        await writer.save(this.#saved());
        this.#everSaved = true;
      },
      { baseMs: 5_000, maxMs: 300_000 },
      (error) =>
        log.warn("the cache of last known peers cannot be written; a reboot without API would miss them", { error }),
    );
  }

  /** Begins to watch. */
  start(): void {
    this.#own.onChange((node) => {
      this.#ownHeard = true;
      if (node) this.#take(ownFacts(node));
      else if (this.#ownFacts) this.#takeGone(this.#ownFacts);
      this.#changed();
    });
    this.#nodes.onChange((changes) => this.#nodesChanged(changes));
    this.#own.start();
    this.#nodes.start();
    this.#askContestedLater();
    const { cached, dataPathExists } = this.#options;
    if (!cached) return this.#details.askAll();
    if (dataPathExists) this.#grace = setTimeout(() => this.#fallBack(), CACHE_GRACE_MS);
    else this.#fallBack();
  }

  /** Where the inputs come from, for status and readiness. */
  get status(): ApiStatus {
    const { live } = this;
    const states = [this.#own.state, this.#nodes.state];
    const connected = states.every((state) => state.connected);
    // A stream that is open is in step, whenever the whole set came; one that broke was, until then.
    const lastSync = Math.min(
      ...states.map(({ connected, since, lastSync }) =>
        connected ? Date.now() : lastSync === undefined ? Number.NaN : Math.max(since, lastSync),
      ),
    );
    const error = states.find(({ lastError }) => lastError !== undefined)?.lastError;
    const away = live ? "away" : this.#usingCache ? "cached" : "connecting";
    return {
      state: live && connected ? "synced" : away,
      lastSync: Number.isNaN(lastSync) ? null : new Date(lastSync).toISOString(),
      ...(error === undefined || (live && connected) ? {} : { error }),
    };
  }

  /** Our own Node as last known. */
  get own(): OwnFacts | undefined {
    return this.#ownFacts;
  }

  /** Status of our Node's condition NetworkUnavailable; undefined where it has none, or nothing is known of it. */
  get networkUnavailable(): string | undefined {
    return this.#own.node?.networkUnavailable;
  }

  /** The API server has said of our own Node, which this agent or the one before it knew, that it is not there any more. */
  get nodeless(): boolean {
    return this.live && this.#ownFacts !== undefined && this.#ownFacts.uid === undefined;
  }

  /** Both watches have been in step since the start, and what they do not say is known. */
  get live(): boolean {
    if (!this.#ownHeard || !this.#nodes.synced) return false;
    return (this.#complete ||= this.#details.settled);
  }

  /** The inputs come from somewhere: the API server, or the cache. */
  get known(): boolean {
    return this.live || this.#usingCache;
  }

  /** The two watches, for metrics. */
  get watches(): { own: WatchState; nodes: WatchState } {
    return { own: this.#own.state, nodes: this.#nodes.state };
  }

  /** Saves the inputs anew where somebody has removed what was saved. @returns whether somebody has */
  keepCache(): boolean {
    if (!this.live || !this.#options.writer.lost()) return false;
    this.#save.want();
    return true;
  }

  /** Something that is saved has changed beside the inputs. */
  save(): void {
    if (this.live && this.#ownFacts) this.#saveSoon();
  }

  #saveSoon(): void {
    const usual = SAVE_DELAY_MS + SAVE_DELAY_NODE_MS * this.#nodes.nodes().size;
    this.#save.want(this.#everSaved ? usual : Math.min(usual, FIRST_SAVE_MS));
  }

  /** Stops watching and saves what is not saved yet. */
  async stop(): Promise<void> {
    clearTimeout(this.#grace);
    clearTimeout(this.#contest);
    this.#damper.stop();
    await Promise.all([this.#own.stop(), this.#nodes.stop(), this.#details.stop(), this.#leases.stop()]);
    await this.#save.stop();
    if (this.live && this.#ownFacts) await this.#options.writer.save(this.#saved());
  }

  /** Our own Node as it is now: perhaps another object than the one before, when the node was registered again. */
  #take(facts: OwnFacts): void {
    const { log, event } = this.#options;
    if (this.#uid !== undefined && this.#uid !== facts.uid) {
      const message = `Node ${facts.name} was deleted and registered again: what this node has in the API server is put back`;
      log.warn(message, { before: this.#uid, now: facts.uid });
      event("Warning", "SkylaneNodeRegisteredAgain", message);
    }
    this.#uid = facts.uid;
    this.#ownFacts = facts;
  }

  /** Our own Node is gone. The data path stays as it is: the node runs, and is likely to be registered again. */
  #takeGone({ uid: _gone, ...rest }: OwnFacts): void {
    this.#options.log.warn("the Node of this agent was deleted; the other nodes cannot reach this node's pods", {
      node: rest.name,
    });
    this.#ownFacts = rest;
  }

  #nodesChanged({ added, changed, removed }: Changes<NodeMeta>): void {
    const names = [...removed, ...added, ...changed.map(({ after }) => after)].map(({ name }) => name);
    // Before all of them are known none of them has changed.
    this.#takeNodes(this.live ? names.filter((name) => this.#damper.take(name)) : names);
  }

  /** Nodes of these names have come, changed or gone. */
  #takeNodes(names: readonly string[]): void {
    const known = this.#nodes.nodes();
    const now = names.flatMap((name) => known.get(name) ?? []);
    const gone = names.filter((name) => !known.has(name));
    for (const name of gone) this.#details.forget(name);
    // Before it has published anything there is nothing to hold its word against; what is known of it by then may be "none yet".
    const speaking = now.filter(({ annotations }) => annotations[VTEP_ANNOTATION] !== undefined);
    this.#details.ask(speaking);
    this.#details.ask(
      speaking.filter((node) => this.#details.of(node)?.podCidrs.length === 0),
      true,
    );
    this.#changed(
      new Map([
        ...gone.map((name) => [name, undefined] as const),
        ...now.map((node) => [node.name, this.#facts(node)] as const),
      ]),
    );
  }

  /** The API server has said something about Nodes that their metadata does not. */
  #learned(names: readonly string[]): void {
    const nodes = names.flatMap((name) => this.#nodes.nodes().get(name) ?? []);
    this.#changed(new Map(nodes.map((node) => [node.name, this.#facts(node)] as const)));
  }

  #facts(node: NodeMeta): NodeFacts {
    const { name, uid, creationTimestamp, annotations } = node;
    const vtep = annotations[VTEP_ANNOTATION];
    if (vtep === undefined) return { name, uid, creationTimestamp };
    const granted = this.#granted(node);
    const failure = this.#details.failureOf(name);
    const policyFaults = annotations[POLICY_FAULTS_ANNOTATION];
    return {
      name,
      uid,
      creationTimestamp,
      vtepAnnotation: vtep,
      ...(granted && { granted }),
      ...(failure !== undefined && { unknown: failure }),
      ...(policyFaults !== undefined && { policyFaults }),
    };
  }

  #granted(node: NodeMeta): Granted | undefined {
    const details = this.#details.of(node);
    if (!details) return undefined;
    const lease = this.#leases.of(node.name);
    // Of all but a few it is what it was.
    if (lease === undefined) return details;
    const { podCidrs, addresses } = details;
    const heard = isHeard(details.heard, lease);
    return { podCidrs, addresses, ...(heard !== undefined && { heard }) };
  }

  #changed(changes: NodeChanges = new Map()): void {
    // Each watch tells what it knows in its own time: that ours has answered is no answer yet.
    if (this.#ownHeard && !this.#ownFacts) return this.#options.onNoNode();
    if (!this.live) {
      if (this.#usingCache) this.#options.onInputs(this.#inputs(), false, changes);
      return;
    }
    clearTimeout(this.#grace);
    if (this.#usingCache) this.#options.log.info("in step with the API server; the cache is no longer used");
    this.#usingCache = false;
    this.#options.onInputs(this.#inputs(), true, changes);
    this.#saveSoon();
    // Behind the choice of peers, which may wait for the end of this turn.
    setImmediate(() => this.#askContested(this.#asked));
  }

  /** @param inVain times in a row that nothing came of it */
  #askContestedLater(inVain = 0): void {
    this.#askedInVain = inVain;
    clearTimeout(this.#contest);
    const pause = growingPause(CONTEST_MS, inVain, longestPause(this.#nodes.nodes().size));
    // Not all agents at the same time: they all saw the same claim at the same time.
    this.#contest = setTimeout(
      () => {
        this.#askContestedLater(this.#askedInVain + 1);
        this.#askContested();
      },
      pause * (1 + Math.random() * CONTEST_SPREAD),
    );
  }

  /** How Nodes stand that claim the same may have changed since they were asked for, and no metadata says so: nor does it say whose kubelet is alive. @param but those who were asked for */
  #askContested(but: ReadonlySet<string> = new Set()): void {
    if (!this.live) return;
    const names = [...new Set(this.#options.contested())].slice(0, MOST_CONTESTED);
    if (names.some((name) => !this.#asked.has(name))) this.#askContestedLater();
    this.#asked = new Set(names);
    const nodes = names.flatMap((name) => (but.has(name) ? [] : (this.#nodes.nodes().get(name) ?? [])));
    if (nodes.length > 0) this.#details.ask(nodes, true);
    this.#leases.follow(names);
  }

  #fallBack(): void {
    const { cached, log } = this.#options;
    if (!cached || this.live) return;
    this.#usingCache = true;
    const seconds = Math.round((Date.now() - cached.savedAt) / 1000);
    const fields = { savedSecondsAgo: seconds, nodes: cached.inputs.nodes.length };
    if (Date.now() - cached.savedAt > CACHE_OLD_MS)
      log.warn(
        "starting from last known peers that are more than a day old: the API server has not answered yet",
        fields,
      );
    else log.info("starting from last known peers: the API server has not answered yet", fields);
    this.#options.onInputs(this.#inputs(), false, new Map());
  }

  #saved(): SavedInputs {
    const { services, pods } = this.#options.reserved();
    return { ...this.#inputs(), reserved: { services, pods } };
  }

  #inputs(): Inputs {
    if (!this.#ownFacts) throw new Error("inputs were asked for before our own Node is known");
    const nodes = this.#nodes.nodes();
    return { own: this.#ownFacts, nodes: { [Symbol.iterator]: () => nodes.values().map((node) => this.#facts(node)) } };
  }
}

function ownFacts({ name, uid, podCidrs, internalIps, externalIps, annotations }: OwnNodeInfo): OwnFacts {
  const override = annotations[UNDERLAY_ANNOTATION];
  const publicly = annotations[PUBLIC_ANNOTATION];
  const vtep = annotations[VTEP_ANNOTATION];
  const policyFaults = annotations[POLICY_FAULTS_ANNOTATION];
  return {
    name,
    uid,
    podCidrs: [...podCidrs],
    internalIps: [...internalIps],
    ...(externalIps.length > 0 && { externalIps: [...externalIps] }),
    ...(override === undefined ? {} : { underlayOverride: override }),
    ...(publicly === undefined ? {} : { publicOverride: publicly }),
    ...(vtep === undefined ? {} : { vtepAnnotation: vtep }),
    ...(policyFaults === undefined ? {} : { policyFaults }),
  };
}

/** A Node as the cache knows it, at no version: the API server's word replaces it. */
const cachedMeta = ({ name, uid, creationTimestamp, vtepAnnotation }: NodeFacts): NodeMeta => ({
  name,
  uid,
  resourceVersion: "",
  creationTimestamp,
  annotations: vtepAnnotation === undefined ? {} : { [VTEP_ANNOTATION]: vtepAnnotation },
});
