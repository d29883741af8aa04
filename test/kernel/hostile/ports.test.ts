import assert from "node:assert/strict";
import { entering, run } from "../../../lab/exec.ts";
import { podNetns } from "../../../lab/pods/pods.ts";
import { eventuallyHolds } from "../../support/eventually.ts";
import { lost, useLab } from "../lab/support.ts";
import { attack, hostileNode } from "./support.ts";

/** Nobody listens there, and the kernel says so to whoever sends: proof that a datagram has come through. */
const OUTSIDE = ["172.30.0.1", "fd30::1"];

describe("the VXLAN port that a hostile node announces", () => {
  const the = useLab({ nodes: 3 });

  before("a pod on each node", async () => {
    for (const node of [1, 2, 3]) await the().addPod(`node${node}`, `pod${node}`);
  });

  /** What becomes of a datagram from a pod: "answered" where it has arrived. */
  function send(pod: string, ip: string, port: number): Promise<string> {
    const { context } = the();
    const script = `
      const s = require("node:dgram").createSocket("${ip.includes(":") ? "udp6" : "udp4"}");
      const end = (what) => { console.log(what); process.exit(); };
      s.on("error", ({ code }) => end(code === "ECONNREFUSED" ? "answered" : code));
      s.connect(${port}, "${ip}", () => setInterval(() => s.send("x"), 100));
      setTimeout(() => end("silence"), 3_000);`;
    const inside = { netns: podNetns(context, the().pod(pod)) };
    return run(entering(inside, process.execPath, ["-e", script]), { env: context.env }).then((text) => text.trim());
  }

  attack("node", "announces the port of DNS as its VXLAN port", async () => {
    const mallory = await hostileNode(the(), "node3");
    try {
      await mallory.change({ port: 53 });
      for (const node of ["node1", "node2"]) {
        await eventuallyHolds(async () => {
          const { networks, ready } = await the().status(the().node(node));
          assert.deepEqual(
            networks[0]?.refused.map(({ node: who, reason }) => `${who} ${reason}`),
            ["node3 ServicePort"],
          );
          assert.ok(ready.ready);
        });
      }
      for (const ip of OUTSIDE) assert.equal(await send("pod1", ip, 53), "answered");
    } finally {
      await mallory.repent();
    }
    await eventuallyHolds(async () => assert.deepEqual(await lost(the()), []));
    return "refused by name; pods still asked others on that port";
  });

  attack("node", "announces a port that pods use elsewhere", async () => {
    const mallory = await hostileNode(the(), "node3");
    try {
      await mallory.change({ port: 15_353 });
      await eventuallyHolds(
        async () => {
          const table = await the().exec("node1", "nft", "list", "table", "inet", "skylane");
          assert.match(table, /172\.30\.0\.13 \. 15353/);
        },
        { timeoutMs: 30_000 },
      );
      for (const ip of OUTSIDE) assert.equal(await send("pod1", ip, 15_353), "answered");
      assert.equal(await send("pod1", "172.30.0.12", 15_353), "answered");
      assert.equal(await send("pod1", "172.30.0.13", 15_353), "silence");
    } finally {
      await mallory.repent();
    }
    await eventuallyHolds(async () => assert.deepEqual(await lost(the()), []));
    return "closed to pods at that node alone";
  });
});
