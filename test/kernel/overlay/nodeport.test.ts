import assert from "node:assert/strict";
import { once } from "node:events";
import { setTxChecksum, txChecksum, withNetns } from "../../../src/sys/index.ts";
import type { OverlayReconciler } from "../../../src/dataplane/vxlan/index.ts";
import { eventually } from "../../support/eventually.ts";
import { reaches, startOverlay, testCluster, type TestCluster, type TestNode, type TestPod } from "./cluster.ts";
import type { TestNamespace } from "../support/netns.ts";

/** What a service proxy does for a NodePort, the way that once stalled: the mark stays on the packet around the packet. */
const PROXY = `
table ip proxy {
  chain prerouting {
    type nat hook prerouting priority dstnat
    tcp dport 30080 meta mark set meta mark or 0x4000 dnat to 10.244.2.2:8080
  }
  chain postrouting {
    type nat hook postrouting priority srcnat
    meta mark & 0x4000 == 0x4000 masquerade fully-random
  }
}
`;

describe("NodePort traffic over the overlay", () => {
  let cluster: TestCluster;
  let client: TestNamespace;
  let pod: TestPod;
  const overlays: OverlayReconciler[] = [];
  const first = (): TestNode => cluster.nodes[0] as TestNode;
  const overlay = (): OverlayReconciler => overlays[0] as OverlayReconciler;
  const offload = (): boolean => withNetns(first().ns.path, () => txChecksum("sky.4096"));

  before(async () => {
    cluster = testCluster(2);
    client = cluster.machine("client", 77);
    pod = (cluster.nodes[1] as TestNode).pod(2);
    for (const node of cluster.nodes) {
      // Checksums are then worked out in the packet, as on a wire, and looked at by the receiver.
      withNetns(node.ns.path, () => setTxChecksum("eth0", false));
      overlays.push(await startOverlay(cluster, node));
    }
    for (const ip of pod.ips) await reaches(first().ns, ip);
    first().ns.exec("sh", "-c", `printf '%s' "$1" | nft -f -`, "nft", PROXY);
  });

  after(() => Promise.all(overlays.map((overlay) => overlay.stop())));

  async function answer(): Promise<string> {
    const serve = `
      import { createServer } from "node:net";
      createServer((socket) => socket.end("hello from " + socket.remoteAddress)).listen(8080, "0.0.0.0", () => console.log("ready"));
    `;
    const ask = `
      import { connect } from "node:net";
      const socket = connect(30080, "172.30.0.1").setEncoding("utf8").on("data", (text) => console.log(text));
      socket.setTimeout(5000, () => process.exit(1));
    `;
    const module = (code: string) => ["--input-type=module", "-e", code];
    const server = pod.ns.spawn(process.execPath, module(serve), { stdio: ["ignore", "pipe", "inherit"] });
    const closed = once(server, "close");
    try {
      let output = "";
      server.stdout?.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
      await eventually(() => output.includes("ready"));
      return client.exec(process.execPath, ...module(ask)).trim();
    } finally {
      server.kill("SIGKILL");
      await closed;
    }
  }

  it("comes through with the offload that this kernel gets, and without", async () => {
    assert.equal(offload(), true);
    assert.equal(await answer(), "hello from 10.244.1.0");
    overlay().setLocal({ ...first().local, txChecksum: "off" });
    await overlay().settled();
    assert.equal(offload(), false);
    assert.equal(await answer(), "hello from 10.244.1.0");
    overlay().setLocal(first().local);
    await overlay().settled();
    assert.equal(offload(), true);
    assert.deepEqual(overlay().status().problems, []);
    assert.equal(overlay().status().repairs.total, 0);
  });
});
