/** A lab for a suite of tests, in a directory of its own; it goes with the suite, also when a test failed. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Lab, type LabOptions } from "../../../lab/index.ts";
import type { KubeObject } from "../../../lab/api-client.ts";
import { VTEP_ANNOTATION } from "../../../src/peers/index.ts";
import { eventually, PATIENCE } from "../../support/eventually.ts";

/** A lab comes up in seconds; on a machine with ten times the work it can do, in ten times that. */
const UP_MS = 100_000;

/** A directory for labs that goes with the suite. */
export function labBase(): () => string {
  let base = "";
  before(() => {
    base = mkdtempSync(join(tmpdir(), "sky-"));
  });
  after(() => rmSync(base, { recursive: true, force: true }));
  return () => base;
}

/** A lab that is up for the suite. Call it in a `describe` body; the lab is there from the first `before` on. */
export function useLab(options: LabOptions = {}): () => Lab {
  let base = "";
  let lab: Lab | undefined;
  let coming: Promise<Lab> | undefined;
  const stop = new AbortController();
  before("the lab comes up", async function () {
    this.timeout(UP_MS);
    base = mkdtempSync(join(tmpdir(), "sky-"));
    coming = Lab.up({ name: "t", readyMs: UP_MS * PATIENCE, ...options, base, signal: stop.signal });
    lab = await coming;
  });
  afterEach("what the agents logged, after a failure", async function () {
    if (this.currentTest?.state !== "failed" || !lab) return;
    for (const node of lab.nodes().filter(({ init }) => init)) {
      const log = await lab.exec(node.name, "tail", "-n", "15", "/var/log/skylane-agent.log");
      process.stderr.write(`--- ${node.name}\n${log}`);
    }
  });
  after("the lab goes", async () => {
    // it may still be coming up, when that took longer than mocha would wait
    stop.abort(new Error("the suite is over"));
    await coming?.then(
      (up) => up.down(),
      () => undefined,
    );
    rmSync(base, { recursive: true, force: true });
  });
  return () => {
    if (!lab) throw new Error("the lab is not up");
    return lab;
  };
}

/** Has a pod ping an address 20 times a second, as long as `work` goes on once there are some answers. @param work is told how many there are by then */
export async function pinging(
  lab: Lab,
  from: string,
  ip: string,
  work: (answers: () => number) => Promise<unknown>,
): Promise<void> {
  const [command, ...args] = lab.enterPod(from, "ping", "-n", "-i", "0.05", ip);
  const ping = spawn(command as string, args, { stdio: ["ignore", "pipe", "inherit"], detached: true });
  const closed = once(ping, "close");
  try {
    let answers = 0;
    ping.stdout.on("data", (data: Buffer) => (answers += data.toString().split("icmp_seq=").length - 1));
    await eventually(() => answers > 3, { timeoutMs: 10_000 });
    await work(() => answers);
  } finally {
    // With what it had to start to get there.
    process.kill(-(ping.pid as number), "SIGKILL");
    await closed;
  }
}

/** A resource that somebody else defines, as far as the API server needs it. */
export interface Definition {
  group: string;
  version: string;
  plural: string;
  kind: string;
  scope: "Cluster" | "Namespaced";
  /** Its status is written by itself. */
  status: boolean;
}

/** ClusterNetworkPolicies, as their project defines them. */
export const CLUSTER_POLICIES: Definition = {
  group: "policy.networking.k8s.io",
  version: "v1alpha2",
  plural: "clusternetworkpolicies",
  kind: "ClusterNetworkPolicy",
  scope: "Cluster",
  status: true,
};

/** Has the API server know a resource from now on. */
export const define = (lab: Lab, { group, version, plural, kind, scope, status }: Definition): Promise<unknown> =>
  lab.api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      names: { plural, kind },
      scope,
      versions: [{ name: version, served: true, storage: true, ...(status && { subresources: { status: {} } }) }],
    },
  });

/** Waits until every agent is in step with the API server again, as after a fault; they back off for up to a minute. */
export async function inStep(lab: Lab): Promise<void> {
  for (const node of lab.nodes().filter(({ init }) => init)) {
    await eventually(async () => (await lab.status(node)).api.state === "synced", {
      timeoutMs: 70_000,
      message: `${node.name} is not in step with the API server`,
    });
  }
}

/** Echo requests that were not answered, in words: [] is what a test wants. */
export const lost = async (lab: Lab, timeoutMs = 2000): Promise<string[]> =>
  (await lab.ping(undefined, timeoutMs))
    .filter(({ rttMs }) => rttMs === undefined)
    .map(({ from, to, ip, error }) => `${from} → ${to} (${ip}): ${error}`);

/**
 * Waits until a node's agent has saved what all Nodes say now: a program that finds the agent held has only that to go by, and it is written
 * some seconds after it was heard.
 */
export async function remembered(lab: Lab, node: string): Promise<void> {
  const said = async (): Promise<Map<string, string | undefined>> => {
    const { items } = await lab.api.call<{ items: KubeObject[] }>("GET", "/api/v1/nodes");
    return new Map(items.map(({ metadata }) => [metadata.name, metadata.annotations?.[VTEP_ANNOTATION]]));
  };
  await eventually(
    async () => {
      const { nodes } = JSON.parse(await lab.exec(node, "cat", "/var/lib/cni/skylane/cache/default.json")) as {
        nodes: { name: string; vtepAnnotation?: string; granted?: object }[];
      };
      const saved = new Map(nodes.flatMap((one) => (one.granted ? [[one.name, one.vtepAnnotation] as const] : [])));
      assert.deepEqual(saved, await said());
      return true;
    },
    { timeoutMs: UP_MS, message: `${node} has not saved what the Nodes say` },
  );
}
