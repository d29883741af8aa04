import assert from "node:assert/strict";
import { DOOMED_LINK_GROUPS, type Link, Monitor, POD_LINK_GROUP, Rtnl } from "../../../src/netlink/index.ts";
import { DetachQueue, detachPod, hostIfname } from "../../../src/dataplane/pod-link/index.ts";
import { withNetns } from "../../../src/sys/index.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";

describe("removing many pods' links at once", () => {
  let node: TestNamespace;
  let pod: TestNamespace;
  let rtnl: Rtnl;
  let queue: DetachQueue;
  let monitor: Monitor;
  let removals = 0;
  before(() => {
    node = testNamespace("node");
    pod = testNamespace("pod");
  });
  beforeEach(() => {
    rtnl = Rtnl.open({ netns: node.path });
    queue = new DetachQueue(rtnl);
    removals = 0;
    monitor = Monitor.open({
      netns: node.path,
      kinds: ["link"],
      onEvents: (events) => {
        removals += events.filter(({ kind, event }) => kind === "link" && event === "del").length;
        queue.notice(events);
      },
      onResync: () => undefined,
    });
  });
  afterEach(async () => {
    await monitor.close();
    rtnl.close();
  });

  const pairs = (count: number, group = POD_LINK_GROUP): string[] =>
    Array.from({ length: count }, (_, n) => {
      const name = hostIfname("many", `net${n}`);
      pod.exec("ip", "link", "add", `net${n}`, "type", "veth", "peer", "name", name, "netns", node.name);
      node.exec("ip", "link", "set", name, "group", String(group), "up");
      return name;
    });
  const names = (ns: TestNamespace): string[] =>
    ns
      .json("ip", "-j", "link")
      .map(({ ifname }) => String(ifname))
      .filter((name) => name !== "lo");
  const detach = (ifname: string): Promise<void> => queue.detach({ containerId: "many", ifname, netns: pod.path });

  it("is over when the kernel has let go of each, and leaves nothing in the sandboxes either", async () => {
    pairs(40);
    await Promise.all(Array.from({ length: 40 }, (_, n) => detach(`net${n}`)));
    assert.deepEqual([names(node), names(pod), removals], [[], [], 40]);
  });

  it("is over for each although one goes away meanwhile, and although nobody announces anything", async () => {
    const [, second] = pairs(4);
    await monitor.close();
    const all = Promise.all([0, 1, 2, 3].map((n) => detach(`net${n}`)));
    // Already looked up, not yet removed.
    node.exec("ip", "link", "del", second as string);
    await all;
    assert.deepEqual([names(node), names(pod)], [[], []]);
  });

  it("touches nothing that is not a pod's: not by its name, not by its group", async () => {
    pairs(1, 7);
    pod.exec("ip", "link", "add", "net9", "type", "veth", "peer", "name", "other", "netns", node.name);
    node.exec("ip", "link", "set", "other", "group", "8");
    await Promise.all(["net0", "net9", "net5"].map((ifname) => detach(ifname)));
    assert.deepEqual([names(node).length, names(pod).length], [2, 2]);
    for (const name of names(node)) node.exec("ip", "link", "del", name);
  });

  it("finds a link whose removal was cut short, by whichever way it is removed next", async () => {
    pairs(2, (DOOMED_LINK_GROUPS << 16) | 7);
    withNetns(node.path, () => detachPod({ containerId: "many", ifname: "net0" }));
    await detach("net1");
    assert.deepEqual([names(node), names(pod)], [[], []]);
  });

  it("says by name what the kernel does not remove, and removes the others", async () => {
    const all = pairs(3);
    // A lookup that leads to a device that cannot be removed: loopback of the node.
    const wrong = new DetachQueue({
      link: (name) => (name === all[1] ? { ...(rtnl.link(name) as Link), index: 1 } : rtnl.link(name)),
      deleteLinks: (links) => rtnl.deleteLinks(links),
    });
    const [first, second, third] = await Promise.allSettled(
      [0, 1, 2].map((n) => wrong.detach({ containerId: "many", ifname: `net${n}` })),
    );
    assert.deepEqual([first?.status, third?.status], ["fulfilled", "fulfilled"]);
    assert.match(String((second as PromiseRejectedResult).reason), new RegExp(`deleting link ${all[1]}`));
    assert.deepEqual([names(node), names(pod)], [[all[1]], ["net1"]]);
    await detach("net1");
    assert.deepEqual([names(node), names(pod)], [[], []]);
  });
});
