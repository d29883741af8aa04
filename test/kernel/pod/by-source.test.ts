import assert from "node:assert/strict";
import {
  attachPod,
  checkPod,
  detachPod,
  forgetSource,
  type PodLinkExpectation,
  PodLinkError,
} from "../../../src/dataplane/pod-link/index.ts";
import { withNetns } from "../../../src/sys/index.ts";
import { echoes } from "../networks/support.ts";
import { everything, leavesNothing, NODE_IPS, pingOnce, testNode, testPod } from "./support.ts";

/** Both are there on the node and in the network: who answers tells which way a packet went. */
const OUTSIDE = ["192.0.2.1", "2001:db8::1"] as const;

/** In the destinations of the first interface. */
const CLUSTER = ["10.244.9.9", "fd00:9::9"] as const;

describe("a pod whose default route leads through another interface than its first one", () => {
  const node = testNode();
  const network = testNode("blue");
  const first = testPod({ destinations: ["10.244.0.0/16", "fd00::/16"], bySource: true });
  const further = {
    ...testPod(),
    netns: first.netns,
    ifname: "net1",
    addresses: ["10.50.0.2", "fd50::2"],
    destinations: ["0.0.0.0/0", "::/0"],
    hostNetns: network.path,
  };
  const { sandbox } = first;
  const on = <T>(work: () => T): T => withNetns(node.path, work);
  const check = (which: PodLinkExpectation): string[] => on(() => checkPod(which));
  const inside = (command: string) => sandbox.exec("ip", ...command.split(" "));
  /** Who answered echo requests that a command caused. */
  const answered = (work: () => void): string[] => {
    const ends = { node: { ns: node }, network: { ns: network } };
    const before = Object.entries(ends).map(([name, end]) => [name, end, echoes(end)] as const);
    work();
    return before.flatMap(([name, end, count]) => (echoes(end) > count ? [name] : []));
  };
  let empty: unknown;

  before(() => {
    for (const ns of [node, network]) for (const ip of OUTSIDE) ns.exec("ip", "address", "add", ip, "dev", "lo");
    for (const ip of CLUSTER) node.exec("ip", "address", "add", ip, "dev", "lo");
    sandbox.exec("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1");
    empty = everything(sandbox);
  });
  beforeEach(() =>
    on(() => {
      attachPod(first);
      attachPod(further);
    }),
  );
  afterEach(() =>
    on(() => {
      detachPod(first);
      detachPod(further);
      forgetSource(sandbox.path);
    }),
  );

  it("reaches everything through that one, and its destinations through the first", () => {
    for (const ip of OUTSIDE)
      assert.deepEqual(
        answered(() => pingOnce(sandbox, ip)),
        ["network"],
        ip,
      );
    for (const ip of CLUSTER)
      assert.deepEqual(
        answered(() => pingOnce(sandbox, ip)),
        ["node"],
        ip,
      );
  });

  it("answers through the interface at which it was asked, also with the strict reverse-path filter", () => {
    // The network has the node's addresses, too: an answer that went there would not come back.
    for (const ip of first.addresses) pingOnce(node, ip);
    for (const ip of further.addresses) pingOnce(network, ip);
  });

  it("sends from its first interface's addresses through that, wherever it goes", () => {
    for (const [i, ip] of OUTSIDE.entries()) {
      const from = first.addresses[i] as string;
      const asked = () => sandbox.exec("ping", "-n", "-q", "-c1", "-W1", "-I", from, ip);
      assert.deepEqual(answered(asked), ["node"], ip);
    }
    assert.deepEqual(
      answered(() => pingOnce(sandbox, NODE_IPS[4])),
      ["network"],
    );
  });

  it("is as it should be, and what is not is named", () => {
    assert.deepEqual([check(first), check(further)], [[], []]);
    const [four, six] = first.addresses as [string, string];
    inside(`rule del from ${four} lookup 8300`);
    inside("-6 route del default table 8300");
    inside("route del 10.244.0.0/16");
    inside("-6 route del default dev net1");
    assert.deepEqual(check(first), [
      "the sandbox has no route 10.244.0.0/16 via 169.254.1.1 on eth0",
      `the sandbox has no rule that sends what is from ${four} by table 8300`,
      "table 8300 of the sandbox has no default IPv6 route via fe80::1 on eth0",
    ]);
    assert.deepEqual(check(further), ["the sandbox has no default IPv6 route via fe80::1 on net1"]);
    assert.ok(six);
  });

  it("leaves nothing in a sandbox that lives on, and nothing is there to be found the next time", () => {
    on(() => {
      for (const _ of [1, 2]) {
        detachPod(first);
        detachPod(further);
        forgetSource(sandbox.path);
        assert.deepEqual(everything(sandbox), empty);
        attachPod(first);
        attachPod(further);
      }
    });
    on(() => forgetSource("/run/netns/there-is-none"));
  });

  it("leaves no rule behind when it cannot be made", () => {
    const pod = testPod({ destinations: [], bySource: true });
    // Through no device: a device's routes say in its own time whether it has a carrier.
    pod.sandbox.exec("ip", "-6", "route", "add", "unreachable", "default", "table", "8300", "metric", "1024");
    leavesNothing(node, pod, () => assert.throws(() => on(() => attachPod(pod)), PodLinkError));
  });
});
