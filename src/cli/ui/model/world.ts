/**
 * What the live map knows: nodes, networks, pods, claims, pairs of nodes, flows, and what happened. It is told facts, makes the time line of what they
 * change, and gives everything, or what has changed since it was asked last. It has a bound whatever comes, does no I/O and knows no clock.
 */
import {
  type MapClaim,
  type MapDelta,
  type MapFlow,
  type MapFlowEnd,
  type MapNetwork,
  type MapNode,
  type MapPod,
  type MapSnapshot,
  type MapTrouble,
  MOST,
  type NodeState,
} from "../wire.ts";
import { type Heard, tell } from "./agents.ts";
import type { AgentFacts, ClaimFacts, EventFacts, FlowFacts, NodeFacts, PodFacts } from "./facts.ts";
import { Keyed } from "./keyed.ts";
import { type Measured, Pairs } from "./pairs.ts";
import { Stays } from "./stays.ts";
import { cut, TimeLine } from "./time-line.ts";

/** Kinds of objects whose first set says what there is, and not what has come. */
type Settling = "nodes" | "networks" | "pods" | "claims";

export class World {
  readonly #title: string;
  readonly #started: number;
  readonly #now: () => number;
  readonly #nodes = new Keyed<MapNode>();
  readonly #networks = new Keyed<MapNetwork>();
  readonly #pods = new Stays<MapPod>(MOST.pods);
  readonly #claims = new Stays<MapClaim>(MOST.claims);
  readonly #flows = new Keyed<MapFlow>();
  readonly #troubles = new Keyed<MapTrouble>();
  readonly #pairs = new Pairs();
  readonly #line = new TimeLine();
  readonly #heard = new Map<string, Heard>();
  /** How often each Event was told of. */
  readonly #events = new Map<string, number>();
  readonly #settled = new Set<Settling>();
  /** Names of pods that are there, by their addresses. */
  readonly #byIp = new Map<string, string>();
  #troublesChanged = false;
  #leftOut = 0;
  /** Called after whatever may have changed something. */
  onChange: () => void = () => undefined;

  /** @param title the cluster's name. @param now milliseconds since 1970 */
  constructor(title: string, now: () => number) {
    this.#title = title;
    this.#now = now;
    this.#started = now();
  }

  /** Names of all nodes. */
  get nodes(): string[] {
    return [...this.#nodes.all.keys()];
  }

  /** A pod that is there. */
  pod(key: string): MapPod | undefined {
    const pod = this.#pods.keyed.get(key);
    return pod?.gone === undefined ? pod : undefined;
  }

  /** The first set of a kind is complete: what comes from now on is new. */
  settled(kind: Settling): void {
    this.#settled.add(kind);
  }

  nodeSeen({ name, kubelet, ips }: NodeFacts): void {
    const now = this.#now();
    const known = this.#nodes.get(name);
    if (!known && this.#nodes.all.size >= MOST.nodes) {
      this.trouble("nodes", `there are more than ${MOST.nodes}; the rest is left out`);
      return;
    }
    const fresh: MapNode = {
      name,
      slot: this.#pairs.slotOf(name),
      state: "unknown",
      since: now,
      ips: [],
      vteps: [],
      refused: [],
    };
    this.#nodes.set(name, { ...(known ?? fresh), ips, ...(kubelet !== undefined && { kubelet }) });
    if (!known && this.#settled.has("nodes")) this.#line.add(now, "node", false, name, "the node has joined");
    if (known?.kubelet !== undefined && kubelet !== undefined && known.kubelet !== kubelet)
      this.#line.add(now, "node", kubelet !== "ready", name, `its kubelet is ${kubelet}`);
    this.onChange();
  }

  nodeGone(name: string): void {
    if (!this.#nodes.delete(name)) return;
    this.#pairs.forget(name);
    this.#heard.delete(name);
    this.#line.add(this.#now(), "node", true, name, "the node was removed");
    this.onChange();
  }

  networkSeen(network: MapNetwork): void {
    const known = this.#networks.get(network.name) !== undefined;
    if (!this.#networks.set(network.name, network)) return;
    if (!known && this.#settled.has("networks"))
      this.#line.add(this.#now(), "network", false, network.name, `the network was defined, VNI ${network.vni}`);
    this.onChange();
  }

  networkGone(name: string): void {
    if (!this.#networks.delete(name)) return;
    this.#line.add(this.#now(), "network", false, name, "the network was removed");
    this.onChange();
  }

  podSeen(facts: PodFacts): void {
    const now = this.#now();
    const before = this.#pods.keyed.get(facts.key);
    const turn = this.#pods.put({ ...facts, was: [] }, now);
    this.#forgetIps(facts.key, before?.ips);
    if (turn !== undefined) for (const ip of facts.ips) this.#byIp.set(ip, facts.key);
    const on = facts.node === undefined ? "" : ` on ${facts.node}`;
    if (turn === "moved") this.#line.add(now, "pod", false, facts.key, `moved from ${before?.node} to ${facts.node}`);
    else if (turn === "back") this.#line.add(now, "pod", false, facts.key, `is there again${on}`);
    else if (turn === "came" && this.#settled.has("pods"))
      this.#line.add(now, "pod", false, facts.key, `has come${on}`);
    else if (turn === "same" && before?.node === undefined && facts.node !== undefined)
      this.#line.add(now, "pod", false, facts.key, `was placed${on}`);
    this.onChange();
  }

  podGone(key: string): void {
    const now = this.#now();
    const known = this.#pods.remove(key, now);
    this.#forgetIps(key, known?.ips);
    if (known)
      this.#line.add(now, "pod", false, key, `is gone${known.node === undefined ? "" : ` from ${known.node}`}`);
    this.onChange();
  }

  /** Addresses that a pod had: another one may have them by now. */
  #forgetIps(key: string, ips: readonly string[] = []): void {
    for (const ip of ips) if (this.#byIp.get(ip) === key) this.#byIp.delete(ip);
  }

  /** With the pod's name where an agent knows the node alone: it knows the pods of its own. */
  #named(end: MapFlowEnd): MapFlowEnd {
    const pod = end.pod ?? this.#byIp.get(end.ip);
    return pod === undefined ? end : { ...end, pod };
  }

  claimSeen(facts: ClaimFacts): void {
    const now = this.#now();
    const before = this.#claims.keyed.get(facts.key);
    const turn = this.#claims.put({ ...facts, was: [] }, now);
    const has = facts.ips.join(" ");
    if (turn === "moved")
      this.#line.add(now, "claim", false, facts.key, `${has} moved from ${before?.node} to ${facts.node}`);
    else if (turn === "came" && this.#settled.has("claims"))
      this.#line.add(now, "claim", false, facts.key, `was made in network ${facts.network}`);
    if (turn !== undefined && facts.fault !== undefined && facts.fault !== before?.fault)
      this.#line.add(now, "claim", true, facts.key, facts.fault);
    this.onChange();
  }

  claimGone(key: string): void {
    const now = this.#now();
    if (this.#claims.remove(key, now)) this.#line.add(now, "claim", false, key, "was removed");
    this.onChange();
  }

  eventSeen({ key, at, bad, reason, subject, message, count }: EventFacts): void {
    if ((this.#events.get(key) ?? 0) >= count) return;
    // The one that was told of longest ago goes first.
    this.#events.delete(key);
    this.#events.set(key, count);
    if (this.#events.size > MOST.moments) this.#events.delete(this.#events.keys().next().value as string);
    this.#line.add(at, "event", bad, subject, `${reason}: ${message}${count > 1 ? ` (${count} times)` : ""}`);
    this.onChange();
  }

  agentAnswered(name: string, facts: AgentFacts): void {
    const known = this.#nodes.get(name);
    if (!known) return;
    const { ready, why, uptimeSeconds: _up, vteps, ...more } = facts;
    const now = this.#now();
    this.#heard.set(name, tell(this.#line, name, this.#heard.get(name), facts, now));
    const { why: _why, version: _version, api: _api, probes: _probes, flows: _flows, ...rest } = known;
    this.#node(
      {
        ...rest,
        ...more,
        ...(why !== undefined && { why: cut(why) }),
        vteps: vteps.map(({ byKind: _by, ...vtep }) => vtep),
      },
      ready ? "ready" : "not-ready",
    );
  }

  /** A node's agent does not answer: what it has said stays, what it has measured does not hold any more. */
  agentSilent(name: string, why: string): void {
    const known = this.#nodes.get(name);
    if (!known) return;
    this.#pairs.unknown(name);
    this.#node({ ...known, why: cut(why) }, "silent");
  }

  #node(next: MapNode, state: NodeState): void {
    const now = this.#now();
    const changed = next.state !== state;
    this.#nodes.set(next.name, { ...next, state, since: changed ? now : next.since });
    // That an agent is well when it is heard for the first time is nothing that happened.
    if (changed && !(next.state === "unknown" && state === "ready"))
      this.#line.add(now, "node", state !== "ready", next.name, sentence(state, next.why));
    this.onChange();
  }

  /** What a node has measured of its peers. */
  measured(name: string, found: readonly Measured[]): void {
    if (this.#nodes.get(name)?.state !== "silent" && this.#nodes.get(name) && this.#pairs.measured(name, found))
      this.onChange();
  }

  /** What a node tells of flows. */
  flowed(by: string, flows: readonly FlowFacts[]): void {
    for (const one of flows) {
      const flow = { ...one, source: this.#named(one.source), destination: this.#named(one.destination) };
      const known = this.#flows.get(flow.key);
      if (!this.#flows.set(flow.key, { ...flow, by })) continue;
      if (!known && flow.verdict === "denied") {
        const { source, destination, policy } = flow;
        const to = `${destination.pod ?? destination.ip} port ${destination.port}`;
        this.#line.add(
          flow.at,
          "flow",
          true,
          source.pod ?? source.ip,
          `denied to ${to}${policy ? ` by ${policy}` : ""}`,
        );
      }
      if (this.#flows.all.size > MOST.flows) this.#flows.delete(this.#flows.all.keys().next().value as string);
    }
    this.onChange();
  }

  /** Something that the map is read from cannot be read, or can again. */
  trouble(what: string, why: string | undefined): void {
    const changed = why === undefined ? this.#troubles.delete(what) : this.#troubles.set(what, { what, why: cut(why) });
    if (!changed) return;
    this.#troublesChanged = true;
    this.onChange();
  }

  snapshot(): MapSnapshot {
    return {
      title: this.#title,
      started: this.#started,
      now: this.#now(),
      nodes: [...this.#nodes.all.values()],
      networks: [...this.#networks.all.values()],
      pods: [...this.#pods.keyed.all.values()],
      claims: [...this.#claims.keyed.all.values()],
      rows: this.#pairs.rows(),
      flows: [...this.#flows.all.values()],
      moments: this.#line.all(),
      troubles: [...this.#troubles.all.values()],
      podsLeftOut: this.#pods.leftOut,
    };
  }

  /** What has changed since the last call; undefined for nothing. */
  take(): MapDelta | undefined {
    const [nodes, networks] = [this.#nodes.take(), this.#networks.take()];
    const [pods, claims] = [this.#pods.keyed.take(), this.#claims.keyed.take()];
    const lists = {
      nodes: nodes.set,
      networks: networks.set,
      pods: pods.set,
      claims: claims.set,
      rows: this.#pairs.take(),
      // The page forgets the oldest by itself.
      flows: this.#flows.take().set,
      moments: this.#line.take(),
    };
    const gone = { nodes: nodes.gone, networks: networks.gone, pods: pods.gone, claims: claims.gone };
    const troubles = this.#troublesChanged ? [...this.#troubles.all.values()] : undefined;
    const leftOut = this.#pods.leftOut === this.#leftOut ? undefined : this.#pods.leftOut;
    this.#leftOut = this.#pods.leftOut;
    this.#troublesChanged = false;
    const delta = {
      ...filled(lists),
      ...(Object.values(gone).some(({ length }) => length > 0) && { gone: filled(gone) }),
      ...(troubles && { troubles }),
      ...(leftOut !== undefined && { podsLeftOut: leftOut }),
    };
    return Object.keys(delta).length === 0 ? undefined : { now: this.#now(), ...delta };
  }
}

function sentence(state: NodeState, why: string | undefined): string {
  if (state === "silent") return `its agent does not answer: ${why ?? "nobody knows why"}`;
  return state === "ready" ? "its agent is ready" : `its agent is not ready: ${why ?? "it does not say why"}`;
}

/** Without the lists that are empty. */
const filled = <T extends Record<string, readonly unknown[]>>(lists: T): Partial<T> =>
  Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0)) as Partial<T>;
