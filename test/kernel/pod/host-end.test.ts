import assert from "node:assert/strict";
import { Rtnl } from "../../../src/netlink/index.ts";
import { checkPod, hostIfname, repairHostEnds } from "../../../src/dataplane/pod-link/index.ts";
import { withNetns } from "../../../src/sys/index.ts";
import type { TestNamespace } from "../support/netns.ts";
import { attach, detach, NODE_IPS, pingOnce, testNode, testPod } from "./support.ts";

/** What somebody may do to a pod's host end, and what CHECK says of it. */
export const MISDEEDS: [what: string, command: (end: string) => string[], said: RegExp][] = [
  ["another MAC address", (end) => ["ip", "link", "set", end, "address", "02:00:00:00:00:09"], /MAC address 02:00/],
  ["another MTU", (end) => ["ip", "link", "set", end, "mtu", "1300"], /MTU 1300, expected 1450/],
  ["a smaller MTU than IPv6 needs", (end) => ["ip", "link", "set", end, "mtu", "1000"], /MTU 1000, expected 1450/],
  ["another link group", (end) => ["ip", "link", "set", end, "group", "0"], /in link group 0/],
  ["down", (end) => ["ip", "link", "set", end, "down"], /is down/],
  ["ARP off", (end) => ["ip", "link", "set", end, "arp", "off"], /NOARP/],
  ["multicast off", (end) => ["ip", "link", "set", end, "multicast", "off"], /multicast switched off/],
  ["IPv4 forwarding off", (end) => ["sysctl", "-qw", `net.ipv4.conf.${end}.forwarding=0`], /forwards no IPv4/],
  ["IPv6 forwarding off", (end) => ["sysctl", "-qw", `net.ipv6.conf.${end}.forwarding=0`], /no router of IPv6/],
  ["IPv6 off", (end) => ["sysctl", "-qw", `net.ipv6.conf.${end}.disable_ipv6=1`], /IPv6 is off/],
  ["router advertisements on", (end) => ["sysctl", "-qw", `net.ipv6.conf.${end}.accept_ra=2`], /router advertisements/],
  ["another MTU for IPv6", (end) => ["sysctl", "-qw", `net.ipv6.conf.${end}.mtu=1280`], /MTU for IPv6/],
  ["no answer to ARP", (end) => ["sysctl", "-qw", `net.ipv4.conf.${end}.arp_ignore=8`], /does not answer ARP/],
  ["no gateway for IPv4", (end) => ["ip", "address", "del", "169.254.1.1/32", "dev", end], /lacks address 169/],
  ["no gateway for IPv6", (end) => ["ip", "address", "del", "fe80::1/64", "dev", end], /lacks address fe80/],
];

describe("what a pod's host end must be", function () {
  this.timeout(60_000);
  const node = testNode();
  const pod = testPod();
  const end = hostIfname(pod.containerId, "eth0");
  const check = (): string[] => withNetns(node.path, () => checkPod(pod));
  const repair = (names?: ReadonlyMap<number, string>) =>
    withNetns(node.path, () => {
      using rtnl = Rtnl.open();
      return repairHostEnds(rtnl, [pod], { ...(names && { names }) });
    });
  const works = (): void => {
    for (const ip of Object.values(NODE_IPS)) pingOnce(pod.sandbox, ip);
    for (const ip of pod.addresses) pingOnce(node, ip);
  };
  const index = (): number => Number(node.json("ip", "-j", "link", "show", "dev", end)[0]?.["ifindex"]);
  beforeEach(() => attach(node, pod));
  afterEach(() => detach(node, pod));

  for (const [what, command, said] of MISDEEDS)
    it(`is one thing for CHECK and for the repair: ${what}`, () => {
      node.exec(...(command(end) as [string, ...string[]]));
      assert.match(check().join("\n"), said);
      const { done, set, failures } = repair();
      assert.deepEqual(failures, []);
      assert.ok(done.length + set.length > 0);
      assert.deepEqual(check(), []);
      assert.deepEqual([repair().done, repair().set], [[], []], "once is enough");
      works();
    });

  it("is no port of anything", () => {
    node.exec("ip", "link", "add", "br7", "type", "bridge");
    try {
      node.exec("ip", "link", "set", end, "master", "br7");
      assert.match(check().join("\n"), /is a port of another device/);
      assert.deepEqual(repair().failures, []);
      assert.deepEqual(check(), []);
      works();
    } finally {
      node.exec("ip", "link", "del", "br7");
    }
  });

  it("has its name back", () => {
    const names = new Map([[index(), end]]);
    node.exec("ip", "link", "set", end, "down");
    node.exec("ip", "link", "set", end, "name", "renamed0");
    node.exec("ip", "link", "set", "renamed0", "up");
    assert.deepEqual(repair(names).failures, []);
    assert.deepEqual(check(), []);
    works();
  });

  it("forwards on a node that switches forwarding off for new devices, as hardening does", () => {
    const hardened = (node: TestNamespace, value: 0 | 1): void => {
      for (const key of ["net.ipv4.conf.default.forwarding", "net.ipv6.conf.default.forwarding"])
        node.exec("sysctl", "-qw", `${key}=${value}`);
    };
    const other = testPod();
    hardened(node, 0);
    try {
      attach(node, other);
      const name = hostIfname(other.containerId, "eth0");
      for (const family of ["ipv4", "ipv6"])
        assert.equal(node.exec("sysctl", "-n", `net.${family}.conf.${name}.forwarding`).trim(), "1");
      // through the node, not only to it
      for (const ip of pod.addresses) pingOnce(other.sandbox, ip);
    } finally {
      hardened(node, 1);
      detach(node, other);
    }
  });
});
