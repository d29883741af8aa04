/** From the API server into the map: nodes, pods, networks, claims and our Events, each listed once and then watched. */
import { IP_CLAIMS, POD_NETWORKS } from "../../../crd/index.ts";
import { type Changes, type KubeClient, NODES, ObjectReflector, type ReflectorTimings } from "../../../kube/index.ts";
import type { World } from "../model/world.ts";
import { claimFacts, eventFacts, type Identity, networkFacts, nodeFacts, podFacts } from "./parse.ts";

/** The agents' name as they write Events. */
const COMPONENT = "skylane-agent";
/** How often it is looked whether everything can be read, in milliseconds. */
const LOOK_MS = 1_000;

/** A kind of objects. */
interface Kind<T extends Identity> {
  what: string;
  path: string;
  fieldSelector?: string;
  builtIn?: boolean;
  parse: (object: unknown) => T;
  /** Those that changed; with the first set, all. */
  seen: (objects: readonly T[]) => void;
  gone: (object: T) => void;
  first?: () => void;
}

/** From {@link start} to {@link stop}. */
export class ObjectFeed {
  readonly #world: World;
  readonly #reflectors: { what: string; reflector: Pick<ObjectReflector<Identity>, "start" | "stop" | "state"> }[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(client: KubeClient, world: World, timings: Partial<ReflectorTimings> = {}) {
    this.#world = world;
    const podKey = ({ namespace, name }: Identity): string => `${namespace}/${name}`;
    this.#add(client, timings, {
      what: "nodes",
      path: NODES,
      builtIn: true,
      parse: nodeFacts,
      seen: (nodes) => nodes.forEach(({ facts }) => world.nodeSeen(facts)),
      gone: ({ name }) => world.nodeGone(name),
      first: () => world.settled("nodes"),
    });
    this.#add(client, timings, {
      what: "pods",
      path: "/api/v1/pods",
      builtIn: true,
      parse: podFacts,
      seen: (pods) => pods.forEach((pod) => (pod.facts ? world.podSeen(pod.facts) : world.podGone(podKey(pod)))),
      gone: (pod) => world.podGone(podKey(pod)),
      first: () => world.settled("pods"),
    });
    this.#add(client, timings, {
      what: "pod networks",
      path: POD_NETWORKS,
      parse: networkFacts,
      seen: (networks) => networks.forEach(({ facts }) => world.networkSeen(facts)),
      gone: ({ name }) => world.networkGone(name),
      first: () => world.settled("networks"),
    });
    this.#add(client, timings, {
      what: "claims",
      path: IP_CLAIMS,
      parse: claimFacts,
      seen: (claims) => claims.forEach(({ facts }) => world.claimSeen(facts)),
      gone: ({ facts }) => world.claimGone(facts.key),
      first: () => world.settled("claims"),
    });
    this.#add(client, timings, {
      what: "Events",
      path: "/api/v1/events",
      fieldSelector: `source=${COMPONENT}`,
      builtIn: true,
      parse: eventFacts,
      seen: (events) =>
        events.toSorted((a, b) => a.facts.at - b.facts.at).forEach(({ facts }) => world.eventSeen(facts)),
      // It has happened all the same.
      gone: () => undefined,
    });
  }

  start(): void {
    for (const { reflector } of this.#reflectors) reflector.start();
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#reflectors.map(({ reflector }) => reflector.stop()));
  }

  #add<T extends Identity>(client: KubeClient, timings: Partial<ReflectorTimings>, kind: Kind<T>): void {
    const { what, path, fieldSelector, builtIn = false, parse, seen, gone, first } = kind;
    const same = (a: T, b: T): boolean => shape(a) === shape(b);
    const source = { what, path, parse, same, builtIn, ...(fieldSelector !== undefined && { fieldSelector }) };
    const reflector = new ObjectReflector<T>(client, source, { timings });
    let begun = false;
    reflector.onChange(({ added, changed, removed }: Changes<T>) => {
      for (const one of removed) gone(one);
      seen([...added, ...changed.map(({ after }) => after)]);
      if (begun) return;
      begun = true;
      first?.();
    });
    this.#reflectors.push({ what, reflector });
  }

  /** What cannot be read is said, until it can. */
  #look(): void {
    for (const { what, reflector } of this.#reflectors) {
      const { connected, absent, lastError } = reflector.state;
      this.#world.trouble(what, connected || absent ? undefined : lastError);
    }
  }
}

/** All of it but its version. */
const shape = ({ resourceVersion: _version, ...rest }: Identity): string => JSON.stringify(rest);
