/** Limits of pods whose host ends are in network namespaces of pod networks: kept there, and nothing keeps such a namespace once no pod is limited. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BandwidthKeeper, ifbOf, type LimitRequest, type Limits } from "../../../src/dataplane/bandwidth/index.ts";
import { hostIfname } from "../../../src/dataplane/pod-link/index.ts";
import { POD_LINK_GROUP, Rtnl } from "../../../src/netlink/index.ts";
import { eventually } from "../../support/eventually.ts";
import { recordingLogger } from "../overlay/cluster.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";

describe("limits in the namespaces of pod networks", () => {
  let dataDir: string;
  let keeper: BandwidthKeeper;
  let networks: [TestNamespace, TestNamespace];
  /** What annotations say, by pod. */
  const annotated = new Map<string, Limits>();
  const attached = new Map<string, LimitRequest>();
  let repaired = 0;

  const make = (): BandwidthKeeper =>
    new BandwidthKeeper({
      dataDir,
      log: recordingLogger(),
      isAttached: ({ owner }) => attached.has(owner.containerId),
      attachments: () => [...attached.values()],
      annotated: (pod) => annotated.get(pod),
      onRepair: (count) => void (repaired += count),
    });
  before(() => {
    dataDir = mkdtempSync(join(tmpdir(), "skylane-bandwidth-"));
    networks = [testNamespace("blue"), testNamespace("red")];
    keeper = make();
    keeper.start();
  });
  after(async () => {
    await keeper.stop();
    rmSync(dataDir, { recursive: true });
  });

  /** A pod's link, as an ADD leaves it, and what this ADD asks for. */
  function link(ns: TestNamespace, name: string, limits: Limits): LimitRequest {
    using rtnl = Rtnl.open({ netns: ns.path });
    const end = hostIfname(name, "eth0");
    const peer = { name: `pod-${name}` };
    const veth = { kind: "veth", name: end, group: POD_LINK_GROUP, queues: 1, peer } as const;
    rtnl.execute({ op: "add", kind: "link", link: veth });
    rtnl.execute({ op: "set", kind: "link", link: { index: rtnl.link(end)?.index ?? 0, up: true } });
    const owner = { containerId: name, ifname: "eth0" };
    const request = { owner, network: ns.name, pod: `shop/${name}`, bootId: "b", hostNetns: ns.path, limits };
    attached.set(name, request);
    return request;
  }
  /** Rates of what is received and sent, in bits a second, as the kernel has them. */
  function rates(ns: TestNamespace, name: string): (number | undefined)[] {
    using rtnl = Rtnl.open({ netns: ns.path });
    const qdiscs = rtnl.qdiscs();
    const end = hostIfname(name, "eth0");
    return [end, ifbOf(end)].map((device) => {
      const index = rtnl.link(device)?.index;
      const bucket = qdiscs.find(({ ifindex, at }) => ifindex === index && at === "root")?.bucket;
      return bucket && 8 * bucket.rate;
    });
  }

  it("are put in place, repaired and ended in each", async () => {
    const [blue, red] = networks;
    const [a, b] = [
      link(blue, "a", { ingress: { rate: 1e6 }, egress: { rate: 2e6 } }),
      link(red, "b", { egress: { rate: 3e6 } }),
    ];
    await Promise.all([keeper.limit(a), keeper.limit(b)]);
    assert.deepEqual(
      [rates(blue, "a"), rates(red, "b")],
      [
        [1e6, 2e6],
        [undefined, 3e6],
      ],
    );
    assert.deepEqual([keeper.differences(a.owner), keeper.differences(b.owner)], [[], []]);
    red.exec("ip", "link", "del", ifbOf(hostIfname("b", "eth0")));
    await eventually(() => rates(red, "b")[1] === 3e6 && keeper.differences(b.owner).length === 0);
    assert.ok(repaired > 0);
    await keeper.unlimit(a.owner);
    assert.deepEqual(rates(blue, "a"), [undefined, undefined]);
    assert.deepEqual(rates(red, "b"), [undefined, 3e6]);
    await keeper.unlimit(b.owner);
    assert.deepEqual(readdirSync(join(dataDir, "bandwidth")), []);
  });

  it("follow annotations, which win over what the runtime said, and end with them", async () => {
    const [blue] = networks;
    const pod = link(blue, "c", { ingress: { rate: 1e6 } });
    await keeper.limit(pod);
    annotated.set("shop/c", {});
    keeper.podsChanged(["shop/c"]);
    annotated.set("shop/d", { ingress: { rate: 8e6 } });
    const other = link(blue, "d", {});
    keeper.podsChanged(["shop/d"]);
    await eventually(() => rates(blue, "d")[0] === 8e6);
    assert.deepEqual(rates(blue, "c"), [1e6, undefined], "no annotation has ever said it");
    annotated.set("shop/c", { egress: { rate: 5e6 } });
    annotated.set("shop/d", {});
    keeper.podsChanged(["shop/c", "shop/d"]);
    await eventually(() => rates(blue, "c")[1] === 5e6 && rates(blue, "d")[0] === undefined);
    assert.deepEqual(rates(blue, "c"), [undefined, 5e6]);
    annotated.set("shop/c", {});
    keeper.podsChanged(["shop/c"]);
    await eventually(() => rates(blue, "c")[1] === undefined);
    for (const { owner } of [pod, other]) await keeper.unlimit(owner);
  });

  it("are given up with their namespace, and one that cannot be is refused by name", async () => {
    const [, red] = networks;
    const pod = link(red, "e", { egress: { rate: 1e6 } });
    await keeper.limit(pod);
    const lost = { ...pod, owner: { containerId: "nobody", ifname: "eth0" } };
    attached.set("nobody", lost);
    await assert.rejects(keeper.limit(lost), /the pod's bandwidth cannot be limited: /);
    assert.equal(keeper.status().find(({ container }) => container === "nobody")?.error, "not in place yet");
    await keeper.unlimit(lost.owner);
    attached.delete("nobody");
    attached.delete("e");
    red.delete();
    keeper.collect();
    await eventually(() => readdirSync(join(dataDir, "bandwidth")).length === 0);
    assert.deepEqual(keeper.status(), []);
  });
});
