/**
 * What egress gateways are made from: the gateways themselves always, where the cluster knows them, and pods, namespaces and nodes' labels as long as
 * there are any.
 */
import { cidrContains } from "../addr/index.ts";
import { EGRESS_GATEWAYS, type Labels } from "../crd/index.ts";
import {
  type KubeClient,
  NamespaceReflector,
  NodeLabelReflector,
  type ObjectMeta,
  ObjectReflector,
  PodReflector,
  type ReflectorTimings,
} from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import { type GatewayObject, readGatewayObject } from "./gateway-object.ts";
import type { EgressPod } from "./selection.ts";
import { EGRESS_ANNOTATION, readTransits, type Transit } from "./transit-word.ts";

export interface EgressSourcesOptions {
  client: KubeClient;
  log: Logger;
  nodeName: string;
  /** Prefixes that the API server gives a node's pods; undefined while nobody knows. */
  granted: (node: string) => readonly string[] | undefined;
  onChange: () => void;
  timings?: Partial<ReflectorTimings>;
}

interface Followed {
  pods: PodReflector;
  namespaces: NamespaceReflector;
  nodes: NodeLabelReflector;
}

/** See the header. */
export class EgressSources {
  readonly #options: EgressSourcesOptions;
  readonly #gateways: ObjectReflector<GatewayObject>;
  #followed: Followed | undefined;
  readonly #heard = new Set<keyof Followed | "gateways">();
  readonly #stopping = new Set<Promise<unknown>>();
  #stopped = false;

  constructor(options: EgressSourcesOptions) {
    this.#options = options;
    const { client } = options;
    const same = (a: GatewayObject, b: GatewayObject): boolean => a.resourceVersion === b.resourceVersion;
    const source = { what: "egress gateways", path: EGRESS_GATEWAYS, parse: readGatewayObject, same };
    this.#gateways = new ObjectReflector(client, source, this.#reflectorOptions);
    this.#gateways.onChange(() => {
      this.#heard.add("gateways");
      if (this.#gateways.objects.size > 0) this.#follow();
      else this.#letGo();
      options.onChange();
    });
  }

  start(): void {
    this.#gateways.start();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#letGo();
    await Promise.all([this.#gateways.stop(), ...this.#stopping]);
  }

  /** All has been heard whole that gateways can ask for. Where there is no gateway that is nothing. */
  get synced(): boolean {
    if (!this.known) return false;
    return this.gateways.size === 0 || (["pods", "namespaces", "nodes"] as const).every((one) => this.#heard.has(one));
  }

  /** It is known which gateways there are. */
  get known(): boolean {
    return this.#heard.has("gateways");
  }

  /** A pod of this node, without addresses. @param key NAMESPACE/NAME */
  pod(key: string): (EgressPod & { uid: string }) | undefined {
    const entry = this.#followed?.pods.objects.get(key);
    if (!entry || entry.node !== this.#options.nodeName) return undefined;
    const { namespace, making, node, uid } = entry;
    return { key, namespace, labels: making.labels, node, ips: [], uid };
  }

  get gateways(): ReadonlyMap<string, GatewayObject> {
    return this.#gateways.objects;
  }

  *pods(): Generator<EgressPod> {
    for (const { key, namespace, making, node, ips } of this.#followed?.pods.objects.values() ?? []) {
      const granted = ips.length === 0 ? [] : (this.#options.granted(node) ?? []);
      const believed = ips.filter((ip) => granted.some((cidr) => cidrContains(cidr, ip)));
      yield { key, namespace, labels: making.labels, node, ips: believed };
    }
  }

  get namespaces(): ReadonlyMap<string, Labels> {
    return labelsIn(this.#followed?.namespaces.objects);
  }

  get nodes(): ReadonlyMap<string, Labels> {
    return labelsIn(this.#followed?.nodes.objects);
  }

  /** The transits that nodes say they have, by node. */
  get transits(): ReadonlyMap<string, readonly Transit[]> {
    return new Map(
      Array.from(this.#followed?.nodes.objects ?? []).flatMap(([name, { annotations }]) => {
        const transits = readTransits(annotations[EGRESS_ANNOTATION]);
        return transits.length > 0 ? [[name, transits] as const] : [];
      }),
    );
  }

  get #reflectorOptions(): { log: Logger; timings?: Partial<ReflectorTimings> } {
    const { log, timings } = this.#options;
    return { log, ...(timings && { timings }) };
  }

  #follow(): void {
    if (this.#followed || this.#stopped) return;
    const { client, nodeName, log, onChange } = this.#options;
    log.info("there are egress gateways: following pods, namespaces and nodes' labels");
    const followed: Followed = {
      pods: new PodReflector(client, nodeName, this.#reflectorOptions),
      namespaces: new NamespaceReflector(client, this.#reflectorOptions),
      nodes: new NodeLabelReflector(client, this.#reflectorOptions, [EGRESS_ANNOTATION]),
    };
    this.#followed = followed;
    for (const what of ["pods", "namespaces", "nodes"] as const) {
      followed[what].onChange(() => {
        if (this.#followed !== followed) return;
        this.#heard.add(what);
        onChange();
      });
      followed[what].start();
    }
  }

  #letGo(): void {
    const { pods, namespaces, nodes } = this.#followed ?? {};
    this.#followed = undefined;
    for (const what of ["pods", "namespaces", "nodes"] as const) this.#heard.delete(what);
    for (const one of [pods, namespaces, nodes]) {
      if (!one) continue;
      const stopping = one.stop().finally(() => this.#stopping.delete(stopping));
      this.#stopping.add(stopping);
    }
  }
}

const labelsIn = (objects: ReadonlyMap<string, ObjectMeta> | undefined): Map<string, Labels> =>
  new Map(Array.from(objects ?? [], ([name, { labels }]) => [name, labels]));
