/** The way to a peer is the kernel's, and no older than a moment: also while the agent does nothing. */
import assert from "node:assert/strict";
import type { FastPath } from "../../../src/dataplane/fast-path/index.ts";
import { WAY_NS } from "../../../src/dataplane/fast-path/programs/way.ts";
import { eventually } from "../../support/eventually.ts";
import type { TestNode } from "../overlay/cluster.ts";
import type { PathMtu } from "../../../src/peers/index.ts";
import {
  come,
  fastCluster,
  type FastCluster,
  handshake,
  type HandPod,
  type How,
  packets,
  send,
  type Talk,
  tcp,
} from "./support.ts";

/** Longer than programs believe what the kernel said of a way, in milliseconds; its clock may tick as seldom as each ten. */
const A_MOMENT = (3 * WAY_NS) / 1e6;

describe("the way to a peer, while nobody looks after the fast path", () => {
  let cluster: FastCluster;
  let path: FastPath;
  let pods: HandPod[];
  let port = 6_000;
  const [one, two] = [() => pods[0] as HandPod, () => pods[1] as HandPod];
  const nodes = (): [TestNode, TestNode] => cluster.cluster.nodes as [TestNode, TestNode];
  const data = (which: Talk): Buffer => tcp(which, ["ACK"], 1_001, 5_001, Buffer.from("data"));
  /** Nothing else of this process runs meanwhile, as with an agent that hangs. */
  const stall = (ms = A_MOMENT): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
  /** Sends, and waits in the same manner until a program has seen it: on a busy machine that is later than the call's end. */
  const sendStalled = (frame: Buffer): void => {
    const seen = (): number =>
      path
        .status()
        .packets.filter(({ from }) => from === "pod")
        .reduce((sum, { packets: count }) => sum + count, 0);
    const before = seen();
    send(one(), frame);
    for (let waited = 0; seen() === before; waited++) {
      assert.ok(waited < 10_000, "no program has seen a packet that was sent");
      stall(1);
    }
  };

  /** A connection that is on the fast path. */
  async function settled(): Promise<Talk> {
    const which = { source: one().ips[0] as string, destination: two().ips[0] as string, sport: ++port, dport: 80 };
    await handshake(one(), two(), which);
    await eventually(() => {
      const before = packets(path, "pod", "sent");
      send(one(), data(which));
      return packets(path, "pod", "sent") > before;
    });
    await come(two(), 1);
    two().receiver.take();
    return which;
  }

  before(async () => {
    cluster = await fastCluster();
    pods = [cluster.pod(1, 2), cluster.pod(2, 2)];
    [path] = (await cluster.on()) as [FastPath];
  });

  it("follows the peer's MAC", async () => {
    const which = await settled();
    const [here, there] = nodes();
    const mac = "02:00:00:00:77:01";
    there.ns.exec("ip", "link", "set", "eth0", "address", mac);
    here.ns.exec("ip", "neigh", "replace", "172.30.0.2", "lladdr", mac, "dev", "eth0", "nud", "permanent");
    stall();
    const before = packets(path, "pod", "sent");
    for (let n = 0; n < 3; n++) sendStalled(data(which));
    assert.equal(packets(path, "pod", "sent"), before + 3);
    // The other node has programs for its own MAC in time; what comes before goes the ordinary path there.
    await come(two(), 3);
  });

  it("is the ordinary path's where the route leads elsewhere, and the fast path's again after that", async () => {
    const which = await settled();
    const [here] = nodes();
    here.ns.exec("ip", "route", "add", "blackhole", "172.30.0.2/32");
    stall();
    const [sent, route] = [packets(path, "pod", "sent"), packets(path, "pod", "route")];
    for (let n = 0; n < 3; n++) sendStalled(data(which));
    assert.deepEqual([packets(path, "pod", "sent"), packets(path, "pod", "route")], [sent, route + 3]);
    here.ns.exec("ip", "route", "del", "blackhole", "172.30.0.2/32");
    sendStalled(data(which));
    assert.equal(packets(path, "pod", "sent"), sent + 1);
    await come(two(), 1);
  });

  it("is the ordinary path's for what is larger than the way takes", async () => {
    const which = await settled();
    const [here] = nodes();
    here.ns.exec("ip", "route", "add", "172.30.0.2/32", "dev", "eth0", "mtu", "lock", "1000");
    stall();
    const sent = packets(path, "pod", "sent");
    sendStalled(tcp(which, ["ACK"], 1_005, 5_001, Buffer.alloc(1_200)));
    assert.equal(packets(path, "pod", "sent"), sent);
    sendStalled(data(which));
    assert.equal(packets(path, "pod", "sent"), sent + 1);
    here.ns.exec("ip", "route", "del", "172.30.0.2/32");
  });
});

for (const how of ["tunnel", "direct", "isolated"] satisfies How[])
  describe(`the way to a peer that was measured to take less than it should (${how})`, () => {
    let cluster: FastCluster;
    let path: FastPath;
    let pods: [HandPod, HandPod];

    before(async () => {
      cluster = await fastCluster(4, how);
      pods = [cluster.pod(1, 2), cluster.pod(2, 2)];
      [path] = (await cluster.on()) as [FastPath];
    });

    for (const [n, family] of [4, 6].entries())
      it(`is the ordinary path's for what is larger, and for that alone (IPv${family})`, async () => {
        const [one, two] = pods;
        const which = { source: one.ips[n] as string, destination: two.ips[n] as string, sport: 7_000, dport: 80 };
        await handshake(one, two, which);
        const sent = async (bytes: number): Promise<boolean> => {
          const before = packets(path, "pod", "sent");
          send(one, tcp(which, ["ACK"], 1_001, 5_001, Buffer.alloc(bytes)));
          await come(two, 1);
          return packets(path, "pod", "sent") > before;
        };
        await eventually(() => sent(1_300), { message: "the connection is on the fast path" });
        const { peer } = (cluster.cluster.nodes as [TestNode, TestNode])[1];
        const take = async (pathMtu?: PathMtu): Promise<void> => {
          path.changePeers([[peer.node, { ...peer, ...(pathMtu && { pathMtu }) }]]);
          await path.settled();
        };
        await take({ 4: 1_280, 6: 1_280 });
        const header = family === 4 ? 40 : 60;
        const before = packets(path, "pod", "mtu");
        assert.deepEqual([await sent(1_281 - header), await sent(1_280 - header)], [false, true]);
        assert.equal(packets(path, "pod", "mtu"), before + 1);
        await take();
        assert.equal(await sent(1_300), true, "it is whole again");
      });
  });
