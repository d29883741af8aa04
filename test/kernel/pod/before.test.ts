/** A link whose pod has something to wait for: its devices are made meanwhile, and no packet passes before. */
import assert from "node:assert/strict";
import { attachPodAsync, hostIfname } from "../../../src/dataplane/pod-link/index.ts";
import { Rtnl } from "../../../src/netlink/index.ts";
import { eventually } from "../../support/eventually.ts";
import { detach, everything, pingOnce, testNode, testPod } from "./support.ts";

describe("a pod's link that waits for something", () => {
  const node = testNode();

  it("is there before that, down at both ends and without addresses and routes, and whole after it", async () => {
    const pod = testPod();
    using host = Rtnl.open({ netns: node.path });
    const { promise, resolve } = Promise.withResolvers<void>();
    const making = attachPodAsync({ ...pod, hostNetns: node.path }, host, promise);
    const name = hostIfname(pod.containerId, pod.ifname);
    await eventually(() => host.link(name));
    // Whatever went on by itself would do so in turns of the event loop.
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    const there = pod.sandbox.json("ip", "-j", "address", "show", "dev", pod.ifname)[0];
    assert.deepEqual([host.link(name)?.up, there?.["operstate"], there?.["addr_info"]], [false, "DOWN", []]);
    assert.deepEqual(node.json("ip", "-j", "route", "show", "dev", name), []);
    resolve();
    await making;
    for (const ip of pod.addresses) pingOnce(node, ip);
    detach(node, pod);
  });

  it("is made at once where that is so already", async () => {
    const pod = testPod();
    using host = Rtnl.open({ netns: node.path });
    await attachPodAsync({ ...pod, hostNetns: node.path }, host, Promise.resolve());
    for (const ip of pod.addresses) pingOnce(node, ip);
    detach(node, pod);
  });

  it("leaves nothing where that fails, whether sooner or later than the devices are made", async () => {
    const pod = testPod();
    using host = Rtnl.open({ netns: node.path });
    const before = [everything(node), everything(pod.sandbox)];
    const name = hostIfname(pod.containerId, pod.ifname);
    for (const later of [false, true]) {
      const { promise, reject } = Promise.withResolvers<void>();
      const making = attachPodAsync({ ...pod, hostNetns: node.path }, host, promise);
      const refused = assert.rejects(making, /no rules/);
      if (later) await eventually(() => host.link(name));
      reject(new Error("no rules"));
      await refused;
      assert.deepEqual([everything(node), everything(pod.sandbox)], before);
    }
  });

  it("says who is there already, and makes room where that is a leftover", async () => {
    const pod = testPod();
    using host = Rtnl.open({ netns: node.path });
    const spec = { ...pod, hostNetns: node.path };
    await attachPodAsync(spec, host, Promise.resolve());
    await assert.rejects(attachPodAsync(spec, host, Promise.resolve()), /is attached already/);
    // The sandbox is another one, and the host end that of an ADD that was cut short.
    await attachPodAsync({ ...spec, netns: testPod().netns }, host, Promise.resolve());
    detach(node, pod);
  });
});
