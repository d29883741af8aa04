/** What the map is read from: a cluster, as whoever shows it reaches it. */
import type { KubeClient } from "../../kube/index.ts";
import type { RunThere } from "../trace/both.ts";
import type { PodFacts } from "./model/facts.ts";

/** What an agent is asked. */
export type Question = "status" | "probes" | "flows";

export interface Cluster {
  /** Which one, for people. */
  readonly title: string;
  /** Its API server. */
  readonly api: KubeClient;
  /** How long a node is left alone between two questions, at least, in milliseconds. */
  readonly everyMs: number;
  /** What the agent of a node answers to `/status`, `/probes`, or `/flows` of late. @throws Error saying why it does not */
  ask(node: string, question: Question): Promise<unknown>;
  /** Runs skylanectl on a node. */
  run: RunThere;
  /** Pods that the API server has no object of: a lab's. */
  pods?(): readonly PodFacts[];
  /** Ends what it keeps open. */
  close(): Promise<void>;
}
