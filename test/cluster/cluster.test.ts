/**
 * Skylane on a real cluster: real etcd, API server, kubelets, containerd and kube-proxy. The parts run in order on one
 * cluster, as an operator's months would go by: install, load, restarts, failing nodes, hostile Nodes, uninstall.
 */
import { Kube } from "./support/kube.ts";
import { openMachine } from "./support/machine.ts";
import type { Context } from "./support/context.ts";
import { hostilePart } from "./parts/hostile.ts";
import { installPart } from "./parts/install.ts";
import { claimsPart } from "./parts/claims.ts";
import { connectivityPart } from "./parts/connectivity.ts";
import { liveMapPart } from "./parts/live-map.ts";
import { mountsPart } from "./parts/mounts.ts";
import { networksPart } from "./parts/networks.ts";
import { nodesPart } from "./parts/nodes.ts";
import { policiesPart } from "./parts/policies.ts";
import { restartsPart } from "./parts/restarts.ts";
import { rightsPart } from "./parts/rights.ts";
import { scalePart } from "./parts/scale.ts";
import { seeingPart } from "./parts/seeing.ts";
import { snapshot, uninstallPart } from "./parts/uninstall.ts";

describe("on a real cluster", () => {
  const context = { nodes: [], pods: [] } as unknown as Context;
  const asTheyWere = new Map<string, Record<string, string[]>>();

  before(async () => {
    context.machine = await openMachine();
    context.kube = new Kube(context.machine);
    const nodes = await context.kube.list("nodes");
    context.nodes.push(...nodes.map((node) => node.metadata.name).sort());
    const { hardware } = context.machine;
    const looks = context.nodes.map(
      async (node) => hardware && asTheyWere.set(node, await snapshot(context.machine, node)),
    );
    await Promise.all(looks);
  });

  afterEach(async function () {
    if (this.currentTest?.state !== "failed") return;
    console.log(await context.kube.whatIsWrong());
  });

  after(async () => {
    // SKYLANE_TEST_KEEP leaves the cluster up, to look around in it after a failure
    if (process.env["SKYLANE_TEST_KEEP"] === undefined) await context.machine?.down();
  });

  installPart(context);
  seeingPart(context);
  mountsPart(context);
  liveMapPart(context);
  connectivityPart(context);
  networksPart(context);
  claimsPart(context);
  policiesPart(context);
  scalePart(context);
  restartsPart(context);
  nodesPart(context);
  hostilePart(context);
  rightsPart(context);
  uninstallPart(context, asTheyWere);
});
