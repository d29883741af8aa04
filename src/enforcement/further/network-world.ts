/**
 * What the cluster has, in the words of one pod network beside the default one: pods with the addresses that they have there. Pods of other nodes that
 * have none are left out; nobody there can be them.
 */
import { type Changes, namedBy, type Namespace, type Pod } from "../../policy/index.ts";
import type { NetworkAddresses, PodAddresses } from "./network-addresses.ts";
import { keyOf } from "../../json/index.ts";

export interface NetworkWorldOptions {
  nodeName: string;
  addresses: Pick<NetworkAddresses, "nodes" | "of">;
  /** A pod of any node by namespace/name, as the API server has it. */
  pod: (key: string) => Pod | undefined;
  podsHere: () => Iterable<Pod>;
  namespaces: () => Iterable<Namespace>;
}

/** See the header. */
export class NetworkWorld {
  readonly #options: NetworkWorldOptions;
  /** Node → its pods' addresses, as they were last told. */
  #byNode = new Map<string, PodAddresses>();
  /** Pods and namespaces that were told of and are not gone. */
  readonly #pods = new Set<string>();
  readonly #namespaces = new Set<string>();

  constructor(options: NetworkWorldOptions) {
    this.#options = options;
  }

  /** Everything that there is. */
  whole(): Changes {
    const { addresses, podsHere, namespaces } = this.#options;
    this.#byNode = new Map(Array.from(addresses.nodes(), (node) => [node, addresses.of(node)]));
    const remote = [...this.#byNode].flatMap(([node, pods]) => this.#podsOf(node, pods.keys()));
    return this.translate({ pods: { set: [...podsHere(), ...remote] }, namespaces: { set: [...namespaces()] } });
  }

  /** All that was told of is gone. */
  nothing(): Changes {
    const pods = { gone: [...this.#pods].map(namedBy) };
    const namespaces = { gone: [...this.#namespaces] };
    this.#byNode = new Map();
    this.#pods.clear();
    this.#namespaces.clear();
    return { pods, namespaces };
  }

  /** What has changed of pods and namespaces; nodes and policies are none of it. */
  translate({ pods, namespaces }: Changes): Changes {
    const [set, gone]: [Pod[], Pick<Pod, "namespace" | "name">[]] = [[], []];
    for (const pod of pods?.set ?? []) {
      const key = keyOf(pod);
      const ips = this.ipsOf(pod);
      if (ips.length > 0 || pod.node === this.#options.nodeName) {
        this.#pods.add(key);
        set.push({ ...pod, ips });
      } else if (this.#pods.delete(key)) gone.push(pod);
    }
    for (const pod of pods?.gone ?? []) if (this.#pods.delete(keyOf(pod))) gone.push(pod);
    for (const { name } of namespaces?.set ?? []) this.#namespaces.add(name);
    for (const name of namespaces?.gone ?? []) this.#namespaces.delete(name);
    return { pods: { set, gone }, ...(namespaces && { namespaces }) };
  }

  /** Addresses that a pod of another node has; of pods here their attachments tell. */
  ipsOf(pod: Pod): readonly string[] {
    if (pod.node === this.#options.nodeName) return [];
    return this.#byNode.get(pod.node)?.get(keyOf(pod)) ?? [];
  }

  /** What follows from other addresses of some nodes' pods. @param nodes all by default */
  readdressed(nodes: Iterable<string> = [...this.#byNode.keys(), ...this.#options.addresses.nodes()]): Changes {
    const changed: Pod[] = [];
    for (const node of new Set(nodes)) {
      const before = this.#byNode.get(node) ?? NOBODY;
      const after = this.#options.addresses.of(node);
      if (after.size > 0) this.#byNode.set(node, after);
      else this.#byNode.delete(node);
      const keys = new Set([...before.keys(), ...after.keys()]);
      const other = [...keys].filter((key) => String(before.get(key)) !== String(after.get(key)));
      changed.push(...this.#podsOf(node, other));
    }
    return this.translate({ pods: { set: changed } });
  }

  /** Those pods of a node: what it says of others' is nothing. */
  #podsOf(node: string, keys: Iterable<string>): Pod[] {
    if (node === this.#options.nodeName) return [];
    return Array.from(keys, (key) => this.#options.pod(key)).filter(
      (pod): pod is Pod => pod !== undefined && pod.node === node,
    );
  }
}

const NOBODY: PodAddresses = new Map();
