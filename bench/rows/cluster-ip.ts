/**
 * Through a ClusterIP of the real kube-proxy, in each mode that the one here has (before 1.31 it has none with nftables; rules like its own stand for it), on the wire and beside the others of `fast-path`. A connection's packets are translated by connection
 * tracking on the node where it begins, so they go the ordinary path there; what programs save is the tunnel's own way through the hosts.
 */
import { join } from "node:path";
import { Cluster } from "../simulator/cluster.ts";
import { type Measurement, native } from "../support/context.ts";
import { hasKubeProxy, startKubeProxy } from "../support/kube-proxy.ts";
import {
  flannel,
  inTurns,
  MODES,
  nodesOf,
  PORTS,
  serve,
  serviceRules,
  skylane,
  toAddress,
  WORDS,
} from "../support/paths.ts";
import { compared, type Row } from "../support/row.ts";

/** All pods of all contestants. */
const PODS = "10.0.0.0/10";
const ROUNDS = 40;

export const clusterIp: Measurement = {
  name: "cluster-ip",
  title: "Through a ClusterIP of kube-proxy",
  async run(context) {
    if (context.quick || !Cluster.realIsThere || !hasKubeProxy("iptables")) {
      context.say(context.quick ? "left out in a quick run" : "no binaries of Kubernetes here: left out");
      return [];
    }
    const cluster = await Cluster.start(context, "real");
    const { kubeconfig } = cluster.files(join(context.dir, "proxy"));
    const flow = native(context, "flow");
    const [fast, slow] = [
      await skylane(context, cluster, { first: 11, fastPath: "auto" }),
      await skylane(context, cluster, { first: 21 }),
    ];
    const [flannelNodes, octets] = nodesOf(cluster, 13);
    const theirs = flannel(context, flannelNodes, octets, true);
    await cluster.ask({ what: "own", name: "flannel", ip: `172.30.0.${octets[0]}`, podCidr: "10.42.0.0/24" });
    const contestants = [
      { path: fast.across, node: { name: "node11", ns: fast.nodes[0] } },
      { path: slow.across, node: { name: "node21", ns: slow.nodes[0] } },
      { path: theirs, node: { name: "flannel", ns: flannelNodes[0] } },
    ];
    for (const [at, { path }] of contestants.entries()) {
      await serve(context, flow, path, MODES);
      await cluster.ask({
        what: "service",
        name: `of${at}`,
        clusterIp: ipOf(at),
        endpoint: path.address,
        ports: PORTS,
      });
    }
    const rows: Row[] = [];
    const paths = contestants.map(({ path }, at) => toAddress(path, ipOf(at)));
    const measure = (what: string): void => {
      const series = inTurns(flow, paths, MODES, ROUNDS);
      for (const mode of MODES) {
        const [ours = [], ordinary = [], flannels = []] = series.get(mode) ?? [];
        const { measure, unit } = WORDS[mode];
        const head = { group: "ClusterIP", measure: `${measure} through a ClusterIP, ${what}`, unit };
        const atLeast = (least: number) => ({ target: { of: "ratio" as const, atLeast: least } });
        rows.push(compared({ ...head, ...atLeast(1) }, ours, "the ordinary path", ordinary));
        rows.push(compared({ ...head, ...atLeast(1.2) }, ours, theirs.name, flannels));
      }
    };
    const known = ipOf(contestants.length - 1);
    for (const mode of ["iptables", "nftables"] as const) {
      if (!hasKubeProxy(mode)) continue;
      const ends = [];
      for (const { node } of contestants)
        ends.push(await startKubeProxy(context, node, { kubeconfig, mode, pods: PODS, known }));
      measure(`kube-proxy with ${mode}`);
      for (const end of ends) await end();
    }
    if (!hasKubeProxy("nftables")) {
      for (const [at, { path, node }] of contestants.entries()) serviceRules(node.ns, ipOf(at), path.address);
      measure("rules like kube-proxy's with nftables");
    }
    return rows;
  },
};

const ipOf = (at: number): string => `10.96.0.${100 + at}`;
