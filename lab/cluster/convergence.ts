/**
 * Waiting until a lab's nodes agree. Agents tell nobody when they are done, so their status is asked again and again;
 * it is the same that an operator sees.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { AgentStatus } from "../../src/cli/index.ts";
import type { Lab } from "../lab.ts";
import type { NodeRecord } from "./records.ts";

/** How long to wait. */
export interface WaitOptions {
  timeoutMs: number;
  signal?: AbortSignal;
}

const INTERVAL_MS = 50;

async function until(what: () => Promise<string | undefined>, { timeoutMs, signal }: WaitOptions): Promise<void> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const missing = await what();
    if (missing === undefined) return;
    if (performance.now() > end) throw new Error(`after ${timeoutMs / 1000} s: ${missing}`);
    await delay(INTERVAL_MS, undefined, signal ? { signal } : {});
  }
}

/** What keeps a node from being ready with those peers; undefined when nothing does. */
function missingOn(status: AgentStatus, peers: readonly string[]): string | undefined {
  const [network] = status.networks;
  if (!status.ready.ready || !network?.ready) {
    const why = status.ready.checks.filter(({ ok }) => !ok).map(({ name, message }) => `${name}: ${message}`);
    return `${status.node} is not ready (${why.join("; ") || "no pod network yet"})`;
  }
  for (const peer of peers) {
    const found = network.peers.find(({ node }) => node === peer);
    if (found?.state === "programmed") continue;
    const refused = network.refused.find(({ node }) => node === peer);
    return `${status.node} has not programmed ${peer} (${found?.error ?? refused?.message ?? found?.state ?? "unknown there"})`;
  }
  return undefined;
}

async function check(lab: Lab, node: NodeRecord, peers: readonly string[]): Promise<string | undefined> {
  try {
    return missingOn(await lab.status(node), peers);
  } catch (error) {
    return `${node.name}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

const running = (lab: Lab): NodeRecord[] => lab.nodes().filter((node) => node.init && !node.partition);

/** Waits until every running node is ready and has every other one as a peer. @throws Error naming what is missing */
export function converged(lab: Lab, options: WaitOptions): Promise<void> {
  const nodes = running(lab);
  const names = nodes.map(({ name }) => name);
  return until(async () => {
    for (const node of nodes) {
      const missing = await check(
        lab,
        node,
        names.filter((name) => name !== node.name),
      );
      if (missing !== undefined) return missing;
    }
    return undefined;
  }, options);
}

/** Waits until one node is ready and all others have it as a peer. @throws Error naming what is missing */
export function joined(lab: Lab, node: NodeRecord, options: WaitOptions): Promise<void> {
  const others = running(lab).filter(({ name }) => name !== node.name);
  return until(async () => {
    const own = await check(
      lab,
      node,
      others.map(({ name }) => name),
    );
    if (own !== undefined) return own;
    for (const other of others) {
      const missing = await check(lab, other, [node.name]);
      if (missing !== undefined) return missing;
    }
    return undefined;
  }, options);
}

/** Waits until nobody has a node as a peer any more. @throws Error naming who still has */
export function forgotten(lab: Lab, name: string, options: WaitOptions): Promise<void> {
  return until(async () => {
    for (const node of running(lab)) {
      const status = await lab.status(node);
      if (status.networks.some(({ peers }) => peers.some((peer) => peer.node === name)))
        return `${node.name} still has ${name} as a peer`;
    }
    return undefined;
  }, options);
}
