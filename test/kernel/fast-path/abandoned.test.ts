/** Programs by filters (clsact) outlive the agent: then they do nothing, and whoever comes next has them replaced, or taken away. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { removePrograms } from "../../../src/dataplane/fast-path/index.ts";
import { Rtnl } from "../../../src/netlink/index.ts";
import type { TestNode } from "../overlay/cluster.ts";
import {
  come,
  fastCluster,
  type FastCluster,
  handshake,
  type HandPod,
  packets,
  send,
  type Talk,
  tcp,
} from "./support.ts";

const CHILD = fileURLToPath(new URL("abandoned-child.ts", import.meta.url));

describe("programs that outlive the agent", () => {
  let cluster: FastCluster;
  let pods: HandPod[];
  let child: ChildProcess | undefined;
  let which: Talk;
  const [one, two] = [() => pods[0] as HandPod, () => pods[1] as HandPod];
  const [here, there] = [0, 1].map((n) => () => cluster.cluster.nodes[n] as TestNode) as [
    () => TestNode,
    () => TestNode,
  ];
  const data = (): Buffer => tcp(which, ["ACK"], 1_001, 5_001, Buffer.from("data"));

  /** Packets that have gone the ordinary path through the first node. */
  const forwarded = (): number =>
    Number(/packets (\d+)/.exec(here().ns.exec("nft", "list", "table", "inet", "seen"))?.[1]);

  /** Sends one packet, which comes. @returns whether it went the ordinary path */
  async function ordinary(): Promise<boolean> {
    const before = forwarded();
    send(one(), data());
    await come(two(), 1);
    return forwarded() > before;
  }
  async function eventuallyOrdinary(wanted: boolean): Promise<void> {
    for (const end = performance.now() + 20_000; performance.now() < end; ) if ((await ordinary()) === wanted) return;
    assert.fail(`packets go ${wanted ? "past" : "by"} the ordinary path`);
  }

  const filters = (device: string, side: "ingress" | "egress"): string[] =>
    here()
      .ns.exec("tc", "filter", "show", "dev", device, side)
      .split("\n")
      .flatMap((line) => /handle 0x1 (sky_\w+)/.exec(line)?.[1] ?? []);
  const hooks = (): number => here().ns.exec("tc", "qdisc", "show").split("clsact").length - 1;

  /** Has an agent attach programs, and be killed. */
  async function abandon(): Promise<void> {
    const options = { netns: here().ns.path, local: here().local, peers: [there().peer] };
    const args = ["--disable-warning=ExperimentalWarning", CHILD, JSON.stringify(options)];
    child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    const [said] = (await once(child.stdout as NodeJS.ReadableStream, "data")) as [Buffer];
    assert.equal(said.toString(), "on\n");
    await eventuallyOrdinary(false);
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  before(async () => {
    cluster = await fastCluster(4, "tunnel", "clsact");
    pods = [cluster.pod(1, 2), cluster.pod(2, 2)];
    here().ns.exec("nft", "table inet seen {\nchain seen { type filter hook forward priority 10; counter; }\n}");
    which = { source: one().ips[0] as string, destination: two().ips[0] as string, sport: 7_001, dport: 80 };
    await handshake(one(), two(), which);
  });

  after(() => child?.kill("SIGKILL"));

  it("leave every packet alone once nobody has looked after them for some seconds", async () => {
    await abandon();
    assert.deepEqual(filters(one().hostIfname, "ingress"), ["sky_from_pod"]);
    assert.deepEqual(filters("eth0", "ingress"), ["sky_from_wire"]);
    await eventuallyOrdinary(true);
    // It stays so.
    for (let n = 0; n < 5; n++) assert.equal(await ordinary(), true);
  });

  it("are replaced by the next agent's, which takes them off when it stops", async () => {
    const [path] = await cluster.on();
    assert.match(path?.status().message ?? "", /clsact/);
    await eventuallyOrdinary(false);
    assert.ok(path && packets(path, "pod", "sent") > 0);
    assert.deepEqual(filters(one().hostIfname, "ingress"), ["sky_from_pod"]);
    assert.deepEqual(filters("eth0", "ingress"), ["sky_from_wire"]);
    await cluster.off();
    assert.equal(hooks(), 0);
    assert.equal(await ordinary(), true);
  });

  it("are taken off when Skylane is uninstalled, and nothing of anybody else's", async () => {
    await abandon();
    const { ns } = here();
    const other = ["filter", "add", "dev", "eth0", "egress", "pref", "7", "protocol", "ip"];
    ns.exec("tc", ...other, "u32", "match", "u32", "0", "0", "flowid", "1:1");
    using rtnl = Rtnl.open({ netns: ns.path });
    assert.ok(removePrograms(rtnl).some((what) => what.includes("sky_from_pod")));
    assert.deepEqual(filters(one().hostIfname, "ingress"), []);
    assert.deepEqual(filters("eth0", "ingress"), []);
    assert.equal(hooks(), 1);
    assert.match(ns.exec("tc", "filter", "show", "dev", "eth0", "egress"), /pref 7 u32/);
    assert.equal(await ordinary(), true);
  });
});
