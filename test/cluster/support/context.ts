/** What the parts of the cluster test share: one cluster, installed by the first part, taken down by the last. */
import type { Kube, TestPod } from "./kube.ts";
import type { Machine } from "./machine.ts";
import { skip } from "../../support/skip.ts";

export interface Context {
  machine: Machine;
  kube: Kube;
  /** Names of the nodes, in order. */
  nodes: string[];
  /** A pod of the probe on each node, which lives through all parts. */
  pods: TestPod[];
}

/** Skips a test by name where the cluster has no machine to reach behind the API. */
export function needs(test: Mocha.Context, what: unknown, name: string): void {
  if (what === undefined) skip(test, `it needs ${name}, which this cluster does not have`);
}
