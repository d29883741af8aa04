import assert from "node:assert/strict";
import type { FastPath } from "../../../src/dataplane/fast-path/index.ts";
import { come, fastCluster, type FastCluster, handshake, type HandPod, packets, send, back, tcp } from "./support.ts";

for (const underlay of [4, 6] as const)
  for (const family of [4, 6] as const)
    describe(`the fast path of IPv${family} pods over IPv${underlay}`, () => {
      let cluster: FastCluster;
      let paths: FastPath[];
      let pods: HandPod[];
      const ip = (pod: HandPod): string => pod.ips[family === 4 ? 0 : 1] as string;
      const [one, two] = [() => pods[0] as HandPod, () => pods[1] as HandPod];
      const [here, there] = [() => paths[0] as FastPath, () => paths[1] as FastPath];

      before(async () => {
        cluster = await fastCluster(underlay);
        pods = [cluster.pod(1, 2), cluster.pod(2, 2), cluster.pod(1, 3)];
        paths = await cluster.on();
      });

      it("is on", () => {
        for (const path of paths) assert.equal(path.status().on, true, path.status().message);
      });

      it("carries an established connection between nodes, and nothing of its beginning", async () => {
        const talk = { source: ip(one()), destination: ip(two()), sport: 4_001, dport: 80 };
        await handshake(one(), two(), talk);
        assert.equal(packets(here(), "pod", "sent"), 0);
        const data = tcp(talk, ["ACK"], 1_001, 5_001, Buffer.from("one two three"));
        send(one(), data);
        const [got] = await come(two(), 1);
        assert.equal(packets(here(), "pod", "sent"), 1);
        assert.equal(packets(there(), "wire", "delivered"), 1);
        // As by the ordinary path: two hops fewer, from the node's end to the pod's own MAC.
        const expected = tcp(talk, ["ACK"], 1_001, 5_001, Buffer.from("one two three"), 62);
        assert.equal(got?.subarray(14).toString("hex"), expected.toString("hex"));
        assert.equal(got?.subarray(0, 12).toString("hex"), `${two().mac.replaceAll(":", "")}eeeeeeeeeeee`);
        send(two(), tcp(back(talk), ["ACK"], 5_001, 1_014, Buffer.from("four")));
        await come(one(), 1);
        assert.equal(packets(there(), "pod", "sent"), 1);
        assert.equal(packets(here(), "wire", "delivered"), 1);
      });

      it("carries one between pods of a node", async () => {
        const three = pods[2] as HandPod;
        const talk = { source: ip(one()), destination: ip(three), sport: 4_002, dport: 80 };
        await handshake(one(), three, talk);
        const before = packets(here(), "pod", "delivered");
        send(one(), tcp(talk, ["ACK"], 1_001, 5_001, Buffer.from("near")));
        const [got] = await come(three, 1);
        assert.equal(packets(here(), "pod", "delivered"), before + 1);
        assert.equal(
          got?.subarray(14).toString("hex"),
          tcp(talk, ["ACK"], 1_001, 5_001, Buffer.from("near"), 63).toString("hex"),
        );
      });
    });
