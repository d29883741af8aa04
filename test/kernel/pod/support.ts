/**
 * A node in small for pods' tests: a namespace that forwards, with an address that pods can reach.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { attachPod, detachPod, type PodLink, type PodLinkSpec } from "../../../src/dataplane/pod-link/index.ts";
import { withNetns } from "../../../src/sys/index.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";

/** The node's own addresses, on its loopback. */
export const NODE_IPS = { 4: "172.30.0.1", 6: "fd30::1" } as const;

export function testNode(label = "node"): TestNamespace {
  const node = testNamespace(label);
  node.exec("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  node.exec("ip", "address", "add", `${NODE_IPS[4]}/32`, "dev", "lo");
  node.exec("ip", "address", "add", `${NODE_IPS[6]}/128`, "dev", "lo");
  return node;
}

export interface TestPod extends PodLinkSpec {
  sandbox: TestNamespace;
}

let made = 0;

/** A sandbox and what its link is to be; nothing is attached yet. */
export function testPod(change: Partial<PodLinkSpec> = {}): TestPod {
  const sandbox = testNamespace("pod");
  const n = ++made + 1;
  return {
    sandbox,
    netns: sandbox.path,
    ifname: "eth0",
    containerId: randomBytes(32).toString("hex"),
    alias: `default/pod-${n}/eth0`,
    mtu: 1450,
    addresses: [`10.244.1.${n}`, `fd00:1::${n.toString(16)}`],
    ...change,
  };
}

export const attach = (node: TestNamespace, pod: PodLinkSpec): PodLink => withNetns(node.path, () => attachPod(pod));

export const detach = (node: TestNamespace, pod: { containerId: string; ifname: string; netns?: string }): void =>
  withNetns(node.path, () => detachPod(pod));

/** One packet each way of one family: no second one is sent, so the first must be answered. */
export function pingOnce(from: TestNamespace, ip: string): void {
  from.exec("ping", "-n", "-q", "-c", "1", "-W", "1", ip);
}

/** The kernel's view of everything that a link leaves in a namespace, for comparing before and after. */
export function everything(namespace: TestNamespace): unknown {
  return {
    links: namespace.json("ip", "-j", "link").map(({ ifname }) => ifname),
    // The kernel ends duplicate address detection in its own time.
    addresses: namespace
      .json("ip", "-j", "address")
      .map(({ addr_info }) => (addr_info as object[]).map((info) => ({ ...info, tentative: undefined }))),
    routes: [4, 6].map((family) => namespace.json("ip", "-j", `-${family}`, "route", "show", "table", "all")),
    neighbours: namespace.json("ip", "-j", "neigh", "show", "nud", "permanent"),
    rules: [4, 6].map((family) => namespace.json("ip", "-j", `-${family}`, "rule", "show")),
  };
}

/** Asserts that a failed attach left both namespaces as they were. */
export function leavesNothing(node: TestNamespace, pod: TestPod, attempt: () => void): void {
  const before = [everything(node), everything(pod.sandbox)];
  attempt();
  assert.deepEqual([everything(node), everything(pod.sandbox)], before);
}
