import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { hostIfname } from "../../../src/dataplane/pod-link/index.ts";
import { eventually } from "../../support/eventually.ts";
import { BIN } from "../cni/node.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { Runtime } from "../support/runtime.ts";
import { Fabric, type TestNode } from "./harness.ts";

/** Attachments that may still be in the making are left alone for five seconds. */
const GROWN_UP_MS = 5_500;
/** Well under the ten seconds of the slow look, and far more than a busy machine needs. */
const SOON = { timeoutMs: 20_000 };
/** What the kernel does not announce is asked for every second; sooner than the slow looks at everything. */
const ASKED = { timeoutMs: 8_000 };

describe("an agent and the host ends of pods", function () {
  this.timeout(120_000);
  let fabric: Fabric;
  let node: TestNode;
  let runtime: Runtime;
  const pods: TestNamespace[] = [];
  const ips: string[][] = [];
  const end = hostIfname("c0", "eth0");
  const config = (): object => ({
    cniVersion: "1.0.0",
    name: "skylane",
    type: "skylane",
    runDir: join(node.dir, "run"),
    dataDir: join(node.dir, "data"),
  });
  const sysctl = (key: string): string => node.ns.exec("sysctl", "-n", key).trim();
  const link = (): Record<string, unknown> =>
    node.ns.json("ip", "-j", "-d", "link").find(({ ifname }) => ifname === end) ?? {};

  before(async () => {
    fabric = await Fabric.started();
    [node] = await fabric.pair();
    // as hardening guides have it: off for new devices, although the node forwards
    for (const key of ["net.ipv4.conf.default.forwarding", "net.ipv6.conf.default.forwarding"])
      node.ns.exec("sysctl", "-qw", `${key}=0`);
    runtime = new Runtime(node.ns, [BIN]);
    for (const n of [0, 1]) {
      const pod = testNamespace("pod");
      pods.push(pod);
      const added = await runtime.exec("skylane", "ADD", JSON.stringify(config()), {
        containerId: `c${n}`,
        netns: pod.path,
      });
      assert.equal(added.exitCode, 0, added.stdout);
      ips.push((added.json["ips"] as { address: string }[]).map(({ address }) => address.replace(/\/.*/, "")));
    }
    await delay(GROWN_UP_MS);
  });
  after(async () => {
    await fabric.stop();
    for (const pod of pods) pod.delete();
  });

  const reaches = (): void => {
    for (const ip of ips[1] ?? []) pods[0]?.exec("ping", "-n", "-q", "-c", "1", "-W", "3", ip);
  };

  it("lets pods reach each other in both families on a node that switches forwarding off for new devices", () => {
    assert.equal(ips[1]?.length, 2);
    reaches();
  });

  for (const [what, command, right, patience] of [
    [
      "MAC address",
      ["ip", "link", "set", end, "address", "02:00:00:00:00:09"],
      () => link()["address"] === "ee:ee:ee:ee:ee:ee",
      SOON,
    ],
    ["MTU", ["ip", "link", "set", end, "mtu", "1300"], () => link()["mtu"] === 1450, SOON],
    ["link group", ["ip", "link", "set", end, "group", "0"], () => link()["group"] === String(0x534b), SOON],
    ["name", ["ip", "link", "set", end, "down", "name", "renamed0"], () => link()["operstate"] === "UP", SOON],
    ["ARP", ["ip", "link", "set", end, "arp", "off"], () => !String(link()["flags"]).includes("NOARP"), SOON],
    [
      "IPv4 forwarding",
      ["sysctl", "-qw", `net.ipv4.conf.${end}.forwarding=0`],
      () => sysctl(`net.ipv4.conf.${end}.forwarding`) === "1",
      SOON,
    ],
    [
      "IPv6 forwarding",
      ["sysctl", "-qw", `net.ipv6.conf.${end}.forwarding=0`],
      () => sysctl(`net.ipv6.conf.${end}.forwarding`) === "1",
      SOON,
    ],
    [
      "IPv6",
      ["sysctl", "-qw", `net.ipv6.conf.${end}.disable_ipv6=1`],
      () => sysctl(`net.ipv6.conf.${end}.disable_ipv6`) === "0",
      SOON,
    ],
    [
      "forwarding of the whole node",
      ["sysctl", "-qw", "net.ipv4.ip_forward=0"],
      () => sysctl("net.ipv4.ip_forward") === "1",
      SOON,
    ],
    [
      "IPv6 forwarding of the whole node",
      ["sysctl", "-qw", "net.ipv6.conf.all.forwarding=0"],
      () => sysctl("net.ipv6.conf.all.forwarding") === "1" && sysctl(`net.ipv6.conf.${end}.forwarding`) === "1",
      SOON,
    ],
    [
      "forwarding of the overlay",
      ["sysctl", "-qw", "net.ipv4.conf.sky/4096.forwarding=0"],
      () => sysctl("net.ipv4.conf.sky/4096.forwarding") === "1",
      SOON,
    ],
    [
      "deafness to router advertisements",
      ["sysctl", "-qw", `net.ipv6.conf.${end}.accept_ra=2`],
      () => sysctl(`net.ipv6.conf.${end}.accept_ra`) === "0",
      ASKED,
    ],
    [
      "silence about others' addresses",
      ["sysctl", "-qw", `net.ipv4.conf.${end}.arp_filter=0`],
      () => sysctl(`net.ipv4.conf.${end}.arp_filter`) === "1",
      ASKED,
    ],
    [
      "answers of the gateway",
      ["sysctl", "-qw", `net.ipv4.conf.${end}.arp_ignore=2`],
      () => sysctl(`net.ipv4.conf.${end}.arp_ignore`) === "0",
      ASKED,
    ],
    [
      "loose reverse-path filter of the overlay",
      ["sysctl", "-qw", "net.ipv4.conf.sky/4096.rp_filter=1"],
      () => sysctl("net.ipv4.conf.sky/4096.rp_filter") === "2",
      ASKED,
    ],
    [
      "overlay's deafness to router advertisements",
      ["sysctl", "-qw", "net.ipv6.conf.sky/4096.accept_ra=2"],
      () => sysctl("net.ipv6.conf.sky/4096.accept_ra") === "0",
      ASKED,
    ],
  ] as [string, [string, ...string[]], () => boolean, { timeoutMs: number }][])
    it(`puts the ${what} back`, async () => {
      node.ns.exec(...command);
      await eventually(right, { ...patience, message: `${command.join(" ")}: not put back` });
      await eventually(() => {
        reaches();
        return true;
      }, SOON);
    });
});
