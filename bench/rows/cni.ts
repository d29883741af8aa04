/**
 * ADD and DEL of one pod at a time, against the reference plugins. Every plugin works in a node of its own (a namespace
 * with forwarding on), on pods whose namespaces are there already, and takes its turn with the others, so that
 * all of them see the same machine. IPv4 alone: with IPv6 the reference plugins wait for duplicate address
 * detection, for over a second, which would make any ratio look good.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { writePublished } from "../../src/config/index.ts";
import { BIN, type Context, type Measurement, native } from "../support/context.ts";
import { namespace } from "../support/namespace.ts";
import { type Call, type CallResult, runCalls } from "../support/plugins.ts";
import { compared, type Row, type Target } from "../support/row.ts";

const REFERENCE = "/usr/lib/cni";
const SUBNET = "10.244.1.0/24";

/** A plugin and its configuration. */
interface Contestant {
  name: string;
  path: string;
  config: object;
  /** Namespace of the node that it works in. */
  node: string;
}

/** A node for one plugin. */
function nodeFor(context: Context, label: string): string {
  const node = namespace(context, label);
  node.exec("sysctl", "-qw", "net.ipv4.ip_forward=1");
  return node.path;
}

/** Skylane, as an agent left its node. */
export function skylane(context: Context, label: string): Contestant {
  const dir = join(context.dir, label);
  mkdirSync(join(dir, "run"), { recursive: true });
  writePublished(join(dir, "run"), {
    version: 1,
    network: "default",
    node: "bench",
    vni: 4096,
    device: "sky.4096",
    mtu: 1450,
    podCidrs: [SUBNET],
    clusterCidrs: [],
  });
  const config = {
    cniVersion: "1.0.0",
    name: "skylane",
    type: "skylane",
    runDir: join(dir, "run"),
    dataDir: join(dir, "data"),
  };
  return { name: "skylane", path: join(BIN, "skylane"), config, node: nodeFor(context, label) };
}

/**
 * bridge or ptp with host-local: what a node does whose routes to other nodes somebody else makes. `ipMasq` is the
 * masquerading of traffic that leaves the cluster, by rules for each pod; Skylane's agent does it for all pods at once.
 */
export function reference(context: Context, type: "bridge" | "ptp", label: string, ipMasq = false): Contestant {
  const dataDir = join(context.dir, label);
  const ipam = { type: "host-local", dataDir, ranges: [[{ subnet: SUBNET }]], routes: [{ dst: "0.0.0.0/0" }] };
  const more = type === "bridge" ? { bridge: "cni0", isGateway: true } : {};
  const config = { cniVersion: "1.0.0", name: label, type, mtu: 1450, ipMasq, ipam, ...more };
  return {
    name: `${type} + host-local${ipMasq ? ", ipMasq" : ""}`,
    path: join(REFERENCE, type),
    config,
    node: nodeFor(context, label),
  };
}

/** Times of every contestant, each round with a new pod for each. */
function rounds(context: Context, contestants: readonly Contestant[], count: number): Map<Contestant, CallResult[][]> {
  const meter = native(context, "meter");
  const times = new Map<Contestant, CallResult[][]>(contestants.map((one) => [one, [[], []]]));
  const pods = contestants.map((_, at) => namespace(context, `pod${at}`).path);
  for (let round = 0; round < count; round++) {
    for (const [at, contestant] of contestants.entries()) {
      const { path, config, node } = contestant;
      const pod = { path, containerId: `round${round}`, netns: pods[at] ?? "", config };
      const calls: Call[] = [
        { ...pod, command: "ADD" },
        { ...pod, command: "DEL" },
      ];
      const series = times.get(contestant);
      for (const [verb, result] of runCalls(meter, node, calls).results.entries()) series?.[verb]?.push(result);
    }
  }
  return times;
}

export const cni: Measurement = {
  name: "cni",
  title: "A pod's ADD and DEL",
  async run(context) {
    const ours = skylane(context, "ours");
    const bridge = reference(context, "bridge", "bridge");
    const ptp = reference(context, "ptp", "ptp");
    const masquerading = reference(context, "bridge", "masquerading", true);
    const count = context.quick ? 15 : 60;
    context.say(`${count} rounds of ADD and DEL with each plugin`);
    const times = rounds(context, [ours, bridge, ptp, masquerading], count + 2);
    // the first two of each fill caches and make the bridge
    const series = (who: Contestant, verb: 0 | 1, of: "wall" | "cpu"): number[] =>
      (times.get(who)?.[verb] ?? []).slice(2).map((result) => result[of]);
    const row = (verb: 0 | 1, of: "wall" | "cpu", peer: Contestant, target?: Target): Row =>
      compared(
        {
          group: "cni",
          measure: `${verb === 0 ? "ADD" : "DEL"} stand-alone${of === "cpu" ? ", CPU time" : ""}`,
          unit: "ms",
          ...(target && { target }),
        },
        series(ours, verb, of),
        peer.name,
        series(peer, verb, of),
      );
    return [
      row(0, "wall", bridge, { of: "ratio", atMost: 1.5 }),
      row(0, "wall", masquerading, { of: "ratio", atMost: 1.5 }),
      row(0, "wall", ptp),
      row(1, "wall", bridge),
      row(1, "wall", masquerading),
      row(1, "wall", ptp),
      row(0, "cpu", bridge),
      row(1, "cpu", bridge),
    ];
  },
};
