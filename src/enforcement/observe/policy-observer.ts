/**
 * What people can ask about network policies of the default network: which are in force here, and why a packet passes or not. It looks at what the
 * engine has, and changes nothing.
 */
import {
  type ClusterNode,
  type NamedAddress,
  type Namespace,
  type Packet,
  type Pod,
  type Policy,
  type PolicyModel,
  type World,
} from "../../policy/index.ts";
import type { Explanation, PolicyList, PolicyState } from "./documents.ts";
import { type Direction, type End, explainPackets, explainPod } from "./explain.ts";
import { type ListedPolicy, listPolicies } from "./policy-list.ts";
import { type Question, QuestionError, type Who } from "./question.ts";
import type { RuleCount } from "./rule-counters.ts";
import { keyOf } from "../../json/index.ts";

/** What the engine has to be looked at. */
export interface Observed {
  nodeName: string;
  state: () => PolicyState;
  policies: () => Iterable<ListedPolicy>;
  namespaces: () => Iterable<Namespace>;
  /** Nodes with their addresses, and the labels that are known of them; these at least. */
  nodes: (names: Iterable<string>) => ClusterNode[];
  /** A pod of any node, with the addresses that are believed. @param key namespace/name */
  pod: (key: string) => Pod | undefined;
  /** Undefined while there are no rules. */
  model: () => PolicyModel | undefined;
  counts: () => Promise<readonly RuleCount[]>;
  /** Addresses that domain names have. */
  named?: () => readonly NamedAddress[];
  /** Why rules with domain names allow nothing; undefined where they do. */
  namesFault?: () => string | undefined;
}

/** See the header. */
export class PolicyObserver {
  readonly #observed: Observed;

  constructor(observed: Observed) {
    this.#observed = observed;
  }

  /** All policies, with how they stand here. */
  async list(): Promise<PolicyList> {
    const { nodeName, state, policies, namespaces, model, counts, namesFault } = this.#observed;
    return listPolicies({
      node: nodeName,
      state: state(),
      policies: policies(),
      namespaces: [...namespaces()],
      model: model(),
      counts: await counts(),
      namesFault: namesFault?.(),
    });
  }

  /** Answers a question. @throws QuestionError when it is about somebody who is not known */
  explain(question: Question): Explanation {
    const { nodeName, state: stateNow } = this.#observed;
    const state = stateNow();
    // Pods are followed as long as there are policies.
    if (state.presence !== "some") return state;
    const ends = "pod" in question ? [question.pod] : [question.from, question.to];
    const [from, to] = ends.map((who) => this.#endOf(who)) as [End, End | undefined];
    const pods = [from, to].flatMap((end) => (end && "pod" in end ? end.pod : []));
    const world = this.#world(pods);
    const own = world.nodes.find(({ name }) => name === nodeName)?.ips ?? [];
    const context = {
      world,
      isHere: ({ node }: Pod) => node === nodeName,
      ruled: (direction: Direction, packet: Packet) =>
        state.inForce ? this.#ruled(direction, packet, own) : undefined,
    };
    if (to && "traffic" in question) return { ...state, packets: explainPackets(context, from, to, question.traffic) };
    if ("pod" in from) return { ...state, pod: explainPod(context, from.pod) };
    throw new QuestionError(`no pod is known to have address ${from.ip}`);
  }

  /** Two pods are enough: nobody else's labels decide about a packet between them. */
  #world(pods: readonly Pod[]): World {
    const { namespaces, nodes, policies, named } = this.#observed;
    return {
      ...(named && { named: named() }),
      pods,
      namespaces: [...namespaces()],
      nodes: nodes(pods.map(({ node }) => node)),
      policies: [...policies()].flatMap(({ policy }): Policy[] => (policy ? [policy] : [])),
    };
  }

  #endOf(who: Who): End {
    const { model, pod: podOf } = this.#observed;
    const owner = "ip" in who ? model()?.ownerOf(who.ip) : who;
    const pod = owner && "pod" in owner ? podOf(owner.pod) : undefined;
    if ("ip" in who) return pod ? { pod: { ...pod, ips: [who.ip] } } : who;
    if (!pod)
      throw new QuestionError(
        `no pod ${who.pod} is known: it does not exist, has ended, or is in the host's network, where it is its node (ask by the node's address)`,
      );
    if (pod.ips.length === 0) throw new QuestionError(`pod ${keyOf(pod)} has no address yet that can be believed`);
    return { pod };
  }

  /** @param own addresses of this node */
  #ruled(direction: Direction, packet: Packet, own: readonly string[]): boolean {
    const toNode = direction === "egress" && own.includes(packet.destination);
    return this.#observed.model()?.outcomeAt(toNode ? "node" : direction, packet)?.kind !== "deny";
  }
}
