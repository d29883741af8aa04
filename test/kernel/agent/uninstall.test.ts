import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { eventually } from "../../support/eventually.ts";
import { Fabric, type TestNode } from "./harness.ts";

const child = fileURLToPath(new URL("uninstall-child.ts", import.meta.url));

describe("uninstalling", function () {
  this.timeout(120_000);
  let fabric: Fabric;
  before(async () => {
    fabric = await Fabric.started();
  });
  after(() => fabric.stop());

  /** Runs the uninstallation inside the node, as the command line would. */
  const uninstall = (
    node: TestNode,
    more: object = {},
  ): { removed: string[]; problems: string[]; refused?: string } => {
    const options = {
      runDir: `${node.dir}/run`,
      dataDir: `${node.dir}/data`,
      cni: { confDir: `${node.dir}/conf`, confName: "10-skylane.conflist" },
      node: { name: node.name, connect: { kubeconfig: fabric.kubeconfig } },
      ...more,
    };
    const args = [`--net=${node.ns.path}`, "--", process.execPath, "--disable-warning=ExperimentalWarning", child];
    return JSON.parse(execFileSync("nsenter", [...args, JSON.stringify(options)], { encoding: "utf8" }));
  };

  /** Everything of the network that a user can see. */
  const dump = (node: TestNode): string =>
    [
      node.ns.exec("ip", "-o", "link"),
      node.ns.exec("ip", "-o", "addr"),
      node.ns.exec("ip", "route", "show", "table", "all"),
      node.ns.exec("ip", "-6", "route", "show", "table", "all"),
      node.ns.exec("ip", "rule"),
      node.ns.exec("ip", "-6", "rule"),
      node.ns.exec("nft", "list", "ruleset"),
      node.ns.exec("bridge", "fdb"),
    ]
      .join("\n")
      .replaceAll(/valid_lft \d+sec|preferred_lft \d+sec/g, "")
      .replaceAll(/counter packets \d+ bytes \d+/g, "counter");

  /** Has a node be the way out for pods, and lead one of its own out by another one. */
  async function leaveByGateways(here: TestNode, there: TestNode): Promise<void> {
    for (const { name } of [here, there]) await fabric.patchNode(name, { metadata: { labels: { out: name } } });
    const gateway = (name: string, node: TestNode, address: string) => ({
      metadata: { name },
      spec: {
        podSelector: { matchLabels: { out: name } },
        nodeSelector: { matchLabels: { out: node.name } },
        egressAddresses: [address],
      },
    });
    const gateways = [gateway("here", here, "172.30.0.100"), gateway("there", there, "172.30.0.101")];
    await fabric.create("/apis/skylane.dev/v1alpha1/egressgateways", gateways);
    const ip = "10.244.1.9";
    const pod = {
      metadata: { name: "away", namespace: "default", labels: { out: "there" } },
      spec: { nodeName: here.name },
    };
    await fabric.api("POST", "/api/v1/namespaces/default/pods", pod);
    const status = { phase: "Running", podIP: ip, podIPs: [{ ip }] };
    await fabric.api(
      "PATCH",
      "/api/v1/namespaces/default/pods/away/status",
      { status },
      "application/merge-patch+json",
    );
    const said = (...argv: [string, ...string[]]): string => here.ns.exec(...argv);
    await eventually(() => said("ip", "addr").includes("172.30.0.100/32"), { message: "the egress address" });
    await eventually(() => said("ip", "rule").includes("8400:"), { message: "the rule of the way out" });
    await eventually(() => said("nft", "list", "tables").includes("skylane_egress"), { message: "the table" });
  }

  it("leaves the node as it was before, and says what it removed", async () => {
    const n1 = fabric.node(1);
    const n2 = fabric.node(2);
    // Somebody else's things, some of them close to ours.
    n1.ns.exec("ip", "link", "add", "sky9", "type", "bridge");
    n1.ns.exec("ip", "route", "add", "10.99.0.0/16", "via", "172.30.0.1", "proto", "84");
    n1.ns.exec("ip", "link", "add", "vxlan7", "type", "vxlan", "id", "7", "dstport", "8472", "local", "172.30.0.11");
    n1.ns.exec("nft", "add", "table", "inet", "skylane2");
    n1.ns.exec("nft", "add", "table", "ip", "filter");
    n1.ns.exec("nft", "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }");
    writeFileSync(`${n1.dir}/conf/99-other.conf`, "{}");
    writeFileSync(`${n1.dir}/data/mine.txt`, "an operator's note");
    // Forwarding stays on and shows itself in anycast addresses; a link-local address takes its time.
    n1.ns.exec("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
    await eventually(() => !n1.ns.exec("ip", "-6", "addr").includes("tentative"));
    const before = dump(n1);
    await n1.register();
    await n2.register();
    n1.start();
    n2.start();
    await n1.ready(["n2"]);
    await eventually(() => n1.ns.exec("nft", "list", "ruleset").includes("SKYLANE-FORWARD"));
    await leaveByGateways(n1, n2);

    assert.match(uninstall(n1).refused ?? "", /skylane-agent runs on this node/);
    assert.equal(existsSync(n1.conflist), true);
    await n1.stop();
    const { removed, problems } = uninstall(n1);
    assert.deepEqual(problems, []);
    for (const what of [
      "sky.4096",
      "10-skylane.conflist",
      "default.json",
      "table inet skylane_egress",
      "172.30.0.100",
      "annotation",
      "cache",
    ])
      assert.ok(
        removed.some((line) => line.includes(what)),
        `${what} in ${removed.join("; ")}`,
      );
    assert.equal(dump(n1), before);
    assert.deepEqual(readdirSync(`${n1.dir}/conf`), ["99-other.conf"]);
    assert.deepEqual(readdirSync(`${n1.dir}/data`), ["mine.txt"]);
    assert.equal(existsSync(`${n1.dir}/run`), false);
    assert.equal(await fabric.vtepOf("n1"), undefined);
    await n2.ready([]);
    assert.deepEqual(
      uninstall(n1).removed.filter((line) => !line.startsWith("annotation")),
      [],
    );
  });

  it("asks before it cuts off pods, and names what it could not do", async () => {
    const n3 = fabric.node(3);
    await n3.register();
    n3.start();
    await n3.ready(["n2"]);
    await n3.stop();
    const pod = ["link", "add", "sky0123456789a", "group", "0x534b", "type", "veth", "peer", "name", "p0"];
    n3.ns.exec("ip", ...pod);
    const uplink = ["group", "0x534d", "type", "veth", "peer", "name", "uplink"];
    n3.ns.exec("ip", "link", "add", "skyout.5000", ...uplink);
    n3.ns.exec("ip", "link", "set", "sky0123456789a", "alias", "shop/web-1/eth0");
    assert.match(uninstall(n3).refused ?? "", /1 pod interfaces .*shop\/web-1\/eth0.*--pods/);
    assert.equal(existsSync(n3.conflist), true);
    await fabric.faults({ away: true });
    const { removed, problems } = uninstall(n3, { pods: true });
    assert.equal(problems.length, 1, problems.join("\n"));
    assert.match(problems[0] as string, /kubectl annotate node n3 skylane\.dev\/vtep-/);
    for (const link of ["sky0123456789a", "skyout.5000"])
      assert.ok(
        removed.some((line) => line.includes(link)),
        link,
      );
    assert.deepEqual(
      n3.ns.json("ip", "-j", "link").map(({ ifname }) => ifname),
      ["lo", "eth0"],
    );
    await fabric.faults({ away: false });
  });
});
