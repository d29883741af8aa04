/**
 * Which endpoints a network has and on which nodes: this node's own, which it writes into one object, and all others',
 * which it watches. Who has an address that is in two lists follows from the lists alone (endpoints/owners.ts).
 */
import { cidrContains } from "../addr/index.ts";
import type { Endpoint, EndpointLists } from "../endpoints/index.ts";
import {
  ApiError,
  type Changes,
  createObject,
  deleteObject,
  getObject,
  type KubeClient,
  ObjectReflector,
  replaceObject,
  type Writable,
} from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import {
  endpointsName,
  endpointsObject,
  NETWORK_ENDPOINTS,
  NETWORK_LABEL,
  type NetworkEndpoints,
  ObjectError,
  parseNetworkEndpoints,
  type PodNetworkInfo,
  sameObject,
} from "../crd/index.ts";
import { Task } from "../reconcile/index.ts";
import type { NodeIdentity } from "../nodes/index.ts";

const RETRY = { baseMs: 200, maxMs: 30_000 };
/** A pod's start waits for so long while its endpoint cannot be published, in milliseconds; its runtime gives up much later. */
const PATIENCE_MS = 10_000;

export interface EndpointPublisherOptions {
  client: KubeClient;
  info: Pick<PodNetworkInfo, "name" | "cidrs">;
  /** Our own Node, to which the object belongs. */
  node: NodeIdentity;
  log: Logger;
  /** Another node's endpoints have changed, or ours are published. */
  onChange: () => void;
}

/** Keeps it from {@link start} to {@link stop}. */
export class EndpointPublisher {
  readonly #options: EndpointPublisherOptions;
  readonly #seen: ObjectReflector<NetworkEndpoints>;
  readonly #name: string;
  readonly #write: Task;
  /** What our object is to say, by MAC; undefined before anything was set. */
  #own: ReadonlyMap<string, Endpoint> | undefined;
  /** What it says, as text, and of which MACs. */
  #written: string | undefined;
  #macs: ReadonlySet<string> = new Set();
  /** Version of it after our last write. */
  #version: string | undefined;
  /** Why our object may not be what we wrote: the version of it that somebody else made, or in a word; undefined while it is. */
  #doubt: string | undefined;
  #error: string | undefined;
  #waiting: (() => void)[] = [];
  #stopped = false;
  /** Nodes whose addresses outside of the network were told. */
  readonly #told = new Set<string>();

  constructor(options: EndpointPublisherOptions) {
    this.#options = options;
    const { client, info, node, log } = options;
    this.#name = endpointsName(info.name, node.name);
    this.#seen = new ObjectReflector(
      client,
      {
        what: `endpoints of network ${info.name}`,
        path: NETWORK_ENDPOINTS,
        labelSelector: `${NETWORK_LABEL}=${info.name}`,
        parse: (object) => this.#inside(parseNetworkEndpoints(object)),
        same: sameObject,
      },
      { log },
    );
    this.#write = new Task(
      () => this.#publish(),
      RETRY,
      (error, attempt) => {
        this.#error = error instanceof Error ? error.message : String(error);
        this.#tell();
        if (attempt === 1) log.warn("this node's endpoints cannot be published; trying again", { error });
      },
    );
  }

  start(): void {
    this.#seen.onChange((changes) => {
      this.#guard(changes);
      this.#options.onChange();
    });
    this.#seen.start();
  }

  /** Our Node is another object now, or gone: our object is to go with it as it is now. */
  adopt(): void {
    this.#doubtIt("its Node");
  }

  /** Whether there is an object of ours, as of an agent before this one. @throws ApiError */
  async exists(): Promise<boolean> {
    return (await this.#read()) !== undefined;
  }

  /** Resolves once all nodes' endpoints are known. */
  whenSynced(): Promise<void> {
    return this.#seen.whenSynced();
  }

  /** Our own endpoints by MAC: what we last set, before that what our object says. */
  get own(): ReadonlyMap<string, Endpoint> {
    return this.#own ?? new Map(this.#seen.objects.get(this.#name)?.endpoints.map((one) => [one.mac, one]));
  }

  /** All nodes' endpoints. */
  get lists(): EndpointLists {
    const { node } = this.#options;
    const lists = new Map<string, readonly Endpoint[]>([[node.name, [...this.own.values()]]]);
    for (const { node: name, endpoints } of this.#seen.objects.values())
      if (name !== node.name) lists.set(name, endpoints);
    return lists;
  }

  /** When a node's object was made, RFC 3339; "" where it has none. */
  since(node: string): string {
    return this.#seen.objects.get(endpointsName(this.#options.info.name, node))?.creationTimestamp ?? "";
  }

  /** Sets our own endpoints, to be published. */
  set(own: ReadonlyMap<string, Endpoint>): void {
    const object = this.#seen.objects.get(this.#name);
    // One that is not there says that there are none.
    if (this.#own === undefined) this.#say(textOf(object?.endpoints ?? []));
    this.#own = own;
    if (this.#text() !== this.#written) this.#write.want();
  }

  /** Whether the other nodes can know that a MAC is ours. */
  says(mac: string): boolean {
    return this.#macs.has(mac);
  }

  /** Resolves when what was set is published, after a while of trouble as well. @throws Error when that lasts for too long */
  async published(): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    await this.#write.settled();
    while (this.#error !== undefined) {
      if (this.#stopped || performance.now() > end) throw new Error(this.#error);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Watches and writes no more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#tell();
    await this.#write.stop();
    await this.#seen.stop();
  }

  /** Takes our object away, after the stop. @throws ApiError */
  async remove(): Promise<void> {
    const { client } = this.#options;
    const there = await this.#read();
    if (there) await deleteObject(client, NETWORK_ENDPOINTS, this.#name, there.uid);
  }

  /** Whoever deletes our object, or brings an older one back, cuts our pods off: it is put back at once. */
  #guard({ added, changed, removed }: Changes<NetworkEndpoints>): void {
    const now = [...added, ...changed.map(({ after }) => after)].find(({ name }) => name === this.#name);
    if (now && textOf(now.endpoints) !== this.#text()) this.#doubtIt(now.resourceVersion);
    else if (removed.some(({ name }) => name === this.#name)) this.#doubtIt("it is gone");
  }

  #doubtIt(why: string): void {
    // Before anything was set, what is there is not ours to say.
    if (this.#written === undefined) return;
    this.#doubt = why;
    this.#write.want();
  }

  /** An attempt has ended. */
  #tell(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #text(): string {
    return textOf(this.own.values());
  }

  #say(text: string): void {
    this.#written = text;
    this.#macs = new Set((JSON.parse(text) as Endpoint[]).map(({ mac }) => mac));
  }

  /** Our object as it is now: whatever somebody wrote into it, its name makes it ours to write over. @throws ApiError */
  async #read(): Promise<Ours | undefined> {
    const object = await getObject(this.#options.client, NETWORK_ENDPOINTS, this.#name);
    if (object === undefined) return undefined;
    const { uid, resourceVersion, ownerReferences = [] } = (object as { metadata: OursMeta }).metadata;
    return { uid, resourceVersion, owners: ownerReferences.map((one) => one.uid), text: readable(object) };
  }

  /** One request as a rule: over the version that we have seen. Where that is not the latest, the latest is read. */
  async #publish(): Promise<void> {
    const text = this.#text();
    const doubt = this.#doubt;
    const sound = doubt === undefined || doubt === this.#version;
    if (sound) this.#doubt = undefined;
    if (text === this.#written && sound) return;
    const { info, node, log } = this.#options;
    const object = endpointsObject(info.name, node, JSON.parse(text) as Endpoint[]);
    if (sound) {
      try {
        await this.#put(object, this.#version ?? this.#seen.objects.get(this.#name)?.resourceVersion);
      } catch (error) {
        if (!(error instanceof ApiError && (error.status === 409 || error.status === 404 || error.status === 0)))
          throw error;
        await this.#put(object, (await this.#read())?.resourceVersion);
      }
    } else if (await this.#putBack(object, text))
      log.warn("put this node's endpoints of a network back, which somebody had changed", { network: info.name });
    if (this.#doubt === doubt) this.#doubt = undefined;
    this.#say(text);
    this.#error = undefined;
    this.#tell();
    log.debug("published this node's endpoints", { network: info.name, node: node.name });
    if (this.#text() === text) this.#options.onChange();
    else await this.#publish();
  }

  /** Whether our object had to be written: it was gone, or said something else, or belonged to another Node. @throws ApiError */
  async #putBack(object: Readonly<Record<string, unknown>>, text: string): Promise<boolean> {
    const { uid } = this.#options.node;
    const there = await this.#read();
    this.#version = there?.resourceVersion;
    const owned = there?.owners.join() === (uid ?? "");
    if (there && owned && there.text === text) return false;
    await this.#put(object, this.#version);
    return true;
  }

  async #put(object: Readonly<Record<string, unknown>>, resourceVersion: string | undefined): Promise<void> {
    const { client } = this.#options;
    this.#version = undefined;
    const metadata = { ...(object["metadata"] as object), ...(resourceVersion !== undefined && { resourceVersion }) };
    const body: Writable = { ...object, metadata };
    const now = await (resourceVersion === undefined
      ? createObject(client, NETWORK_ENDPOINTS, body)
      : replaceObject(client, NETWORK_ENDPOINTS, body));
    this.#version = (now as { metadata: OursMeta }).metadata.resourceVersion;
  }

  /** An object without what it has outside of the network: looked at once, when it comes, as thousands are gone through at every change. */
  #inside(object: NetworkEndpoints): NetworkEndpoints {
    const { info, node, log } = this.#options;
    // By its label it is this network's: it would be taken for what its node has here.
    if (object.network !== info.name)
      throw new ObjectError(
        `NetworkEndpoints ${object.name}: its label ${NETWORK_LABEL} is not its network's, ${object.network}`,
      );
    const isOurs = (ip: string): boolean => info.cidrs.some((cidr) => cidrContains(cidr, ip));
    const endpoints = object.endpoints.filter(({ ips }) => ips.every(isOurs));
    if (object.node === node.name || endpoints.length === object.endpoints.length) return object;
    if (!this.#told.has(object.node)) {
      this.#told.add(object.node);
      const where = `network ${info.name} (${info.cidrs.join(", ")})`;
      log.warn(`node ${object.node} publishes endpoints outside of ${where}; they are passed over`);
    }
    return { ...object, endpoints };
  }
}

interface OursMeta {
  uid: string;
  resourceVersion: string;
  ownerReferences?: { uid: string }[];
}

/** Our object as the API server has it. */
interface Ours extends Pick<OursMeta, "uid" | "resourceVersion"> {
  /** uids of its owners. */
  owners: string[];
  /** Its endpoints; undefined when they make no sense. */
  text: string | undefined;
}

function readable(object: unknown): string | undefined {
  try {
    return textOf(parseNetworkEndpoints(object).endpoints);
  } catch (error) {
    if (error instanceof ObjectError) return undefined;
    throw error;
  }
}

/** Endpoints as text, the same for the same endpoints. */
const textOf = (endpoints: Iterable<Endpoint>): string =>
  JSON.stringify(
    [...endpoints].map(({ mac, ips, moves }) => ({ mac, ips, moves })).sort((a, b) => (a.mac < b.mac ? -1 : 1)),
  );
