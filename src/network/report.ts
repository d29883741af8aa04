/** How a pod network stands, for readiness, status and metrics, from what its parts say. Pure. */
import { errorText } from "../log/index.ts";
import { identityOf } from "../dataplane/vxlan/index.ts";
import { type LocalNetwork, type Loss, type Refusal } from "../peers/index.ts";
import type { DataPathStatus } from "../data-path/index.ts";
import type { Metrics, NetworkStatus, Question, CheckResult } from "../observe/index.ts";

/** What the parts say. */
export interface NetworkView {
  /** What is being waited for. */
  waiting: string | undefined;
  local: LocalNetwork | undefined;
  /** How many are accepted. */
  peers: number;
  /** Undefined until the kernel has been looked at. */
  overlay: DataPathStatus | undefined;
  /** The data path has worked since the agent's start. */
  worked: boolean;
  firewall: CheckResult;
  selfTest: CheckResult;
  published: CheckResult;
  files: CheckResult;
  refused: readonly Refusal[];
  /** What of ours the other nodes give to somebody else. */
  losses: readonly Loss[];
}

/** How the files stand that the plugin and the runtime read. @param error why they could not be written */
export function filesVerdict(worked: boolean, error: unknown): CheckResult {
  if (!worked) return { ok: false, message: "the CNI configuration waits for the data path" };
  if (error === undefined) return { ok: true, message: "the CNI configuration is there" };
  return { ok: false, message: `cannot write the CNI configuration: ${errorText(error)}` };
}

/** The network's lines of `/readyz`. */
export function questionsOf(view: NetworkView): Question[] {
  const { waiting, overlay } = view;
  const narrow = view.local?.narrow;
  const entries = Object.entries(overlay?.entries ?? {});
  const counts = entries.map(([kind, { expected, present }]) => `${kind} ${present}/${expected}`).join(", ");
  const line = (name: string, verdict: CheckResult): Question => ({ name, ask: () => verdict });
  return [
    line("inputs", { ok: waiting === undefined, message: waiting ?? "Node, pod CIDRs and underlay are known" }),
    line("device", {
      ok: overlay !== undefined && overlay.error === undefined && narrow === undefined,
      message: overlay?.error ?? narrow ?? (overlay ? `${overlay.device} is up` : "not made yet"),
    }),
    line("entries", {
      ok: entries.length > 0 && entries.every(([, { expected, present }]) => present >= expected),
      message: counts || "none yet",
    }),
    line("firewall", view.firewall),
    line("selftest", view.selfTest),
    line("published", lossOf(view.losses) ?? view.published),
    line("cni", view.files),
  ];
}

/** A node whose address the others give to another Node receives nothing, whatever its own kernel says. */
function lossOf(losses: readonly Loss[]): CheckResult | undefined {
  if (losses.length === 0) return undefined;
  const who = losses.map(({ node }) => node).join(", ");
  const what = losses.map(({ message }) => message).join("; ");
  return {
    ok: false,
    message: `the other nodes prefer ${who} to this node: ${what}, which is this node's as well; delete that Node if its machine is gone, or give one of the two another address`,
  };
}

/** The network's part of `/status`; undefined until there is something to tell. */
export function statusOf({ local, overlay, worked, refused, losses }: NetworkView): NetworkStatus | undefined {
  if (!local || !overlay) return undefined;
  const { ready, peers, entries, repairs, fastPath } = overlay;
  const error = overlay.error ?? local.narrow;
  return {
    ...identityOf(local),
    mode: "Routed",
    ready: ready && worked && local.narrow === undefined,
    ...(local.publicIp !== undefined && { publicIp: local.publicIp }),
    ...(local.encryption && { encryption: local.encryption }),
    ...(error === undefined ? {} : { error }),
    // In an order that does not depend on who came first.
    peers: peers
      .toSorted((a, b) => (a.node < b.node ? -1 : 1))
      .map(({ node, mac, underlayIp, podCidrs, hosts, vni, port, direct, pathMtu, state, error }) => ({
        node,
        mac,
        underlayIp,
        podCidrs,
        ...(hosts !== undefined && hosts.length > 0 && { hosts }),
        ...(vni === undefined ? {} : { vni }),
        ...(port === undefined ? {} : { port }),
        ...(direct !== undefined && direct.length > 0 && { direct }),
        ...(pathMtu && { pathMtu }),
        state,
        ...(error === undefined ? {} : { error }),
      })),
    refused: [...refused],
    ...(losses.length > 0 && { losses: [...losses] }),
    entries,
    repairs,
    ...(fastPath && { fastPath }),
  };
}

/** Sets the network's gauges. */
export function sampleInto(metrics: Metrics, network: string, view: NetworkView): void {
  metrics.peers.set({ network }, view.peers);
  for (const { reason } of view.refused) metrics.refusedPeers.inc({ network, reason });
  for (const [kind, { expected, present }] of Object.entries(view.overlay?.entries ?? {})) {
    metrics.entries.set({ network, kind, state: "expected" }, expected);
    metrics.entries.set({ network, kind, state: "present" }, present);
  }
}
