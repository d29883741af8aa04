/** What this node says of itself on its own Node: its part in pod networks, and which policies it cannot keep. */
import type { AgentConfig } from "../config/index.ts";
import { type KubeClient, patchNodeAnnotations } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import { type ClusterView, type Entries, type OwnFacts, type Publication, Publisher } from "../nodes/index.ts";
import type { CheckResult } from "../observe/index.ts";
import { VTEP_ANNOTATION } from "../peers/index.ts";
import { POLICY_FAULTS_ANNOTATION } from "../policy/index.ts";
import { PolicyFaults, type PolicyFaultsOptions } from "./policy-faults.ts";

export interface OwnWordOptions {
  config: Pick<AgentConfig, "nodeName">;
  client: KubeClient;
  log: Logger;
  cluster: () => Pick<ClusterView, "own" | "live" | "nodeless">;
  /** What to say of pod networks; undefined while there is nothing to say. */
  entries: () => Entries | undefined;
  names: PolicyFaultsOptions["names"];
  /** The part in pod networks is on the Node. */
  onPublished: () => void;
}

/** See the header. */
export class OwnWord {
  readonly #publisher: Publisher;
  readonly #faults: PolicyFaults;

  constructor({ config, client, log, cluster, entries, names, onPublished }: OwnWordOptions) {
    const annotate = (key: string, text: string | null): Promise<void> =>
      patchNodeAnnotations(client, config.nodeName, { [key]: text });
    const own = (): OwnFacts | undefined => {
      const { own, live, nodeless } = cluster();
      return live && !nodeless ? own : undefined;
    };
    const publication = (): Publication | undefined => {
      const [facts, wanted] = [own(), entries()];
      return facts && wanted && { own: facts, entries: wanted };
    };
    this.#publisher = new Publisher(log, (text) => annotate(VTEP_ANNOTATION, text).then(onPublished), publication);
    const annotateFaults = (text: string | null): Promise<void> => annotate(POLICY_FAULTS_ANNOTATION, text);
    this.#faults = new PolicyFaults({ log, own, names, annotate: annotateFaults });
  }

  /** A network may have something else to say. */
  networksChanged(): void {
    this.#publisher.poke();
  }

  /** Policies may have, or the Node is otherwise. */
  policiesChanged(): void {
    this.#faults.poke();
  }

  /** Whether the Node says of a network what it should. */
  verdict(network: string): CheckResult {
    return this.#publisher.verdict(network);
  }

  async stop(): Promise<void> {
    await Promise.all([this.#publisher.stop(), this.#faults.stop()]);
  }
}
