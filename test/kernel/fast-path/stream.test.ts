/** Streams of real sockets while the fast path comes and goes, as with an agent that is restarted: nothing is lost and nothing stalls. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Readable } from "node:stream";
import type { FastPath } from "../../../src/dataplane/fast-path/index.ts";
import { eventually } from "../../support/eventually.ts";
import type { TestPod } from "../overlay/cluster.ts";
import { fastCluster, type FastCluster, packets } from "./support.ts";

const PORT = 5_201;
/** Reads to the end and says how many bytes it was; sends as long as it is not told to stop. */
const SERVER = `const net=require("node:net");net.createServer(s=>{let n=0;s.on("data",d=>{n+=d.length});s.on("end",()=>{s.end();console.log(n)})}).listen({port:${PORT},host:"::"},()=>console.log("listening"))`;
const CLIENT = `const net=require("node:net");let n=0,told=0,stop=false;const b=Buffer.alloc(65536,7);process.stdin.on("end",()=>{stop=true}).resume();
const s=net.connect({port:${PORT},host:process.argv[1]},()=>{const go=()=>{while(!stop){n+=b.length;const more=s.write(b);if(n-told>=1<<20){console.log("at "+n);told=n}
if(!more){s.once("drain",go);return}}s.end();console.log("sent "+n)};go()});s.on("close",()=>process.exit())`;

for (const family of [4, 6] as const)
  describe(`a stream over IPv${family} while the fast path comes and goes`, () => {
    let cluster: FastCluster;
    let pods: TestPod[];

    before(async () => {
      cluster = await fastCluster();
      pods = cluster.cluster.nodes.map((node) => {
        const pod = node.pod(2);
        const [{ address }] = pod.ns.json("ip", "-j", "link", "show", "eth0") as [{ address: string }];
        for (const ip of pod.ips)
          node.ns.exec("ip", "neigh", "replace", ip, "lladdr", address, "dev", pod.hostIfname, "nud", "permanent");
        return pod;
      });
    });

    it("arrives whole", async () => {
      const [from, to] = pods as [TestPod, TestPod];
      const server = to.ns.spawn(process.execPath, ["-e", SERVER], { stdio: ["ignore", "pipe", "inherit"] });
      const client = { said: "", server: "" };
      (server.stdout as Readable).on("data", (text) => (client.server += String(text)));
      await eventually(() => client.server.includes("listening"));
      const sender = from.ns.spawn(process.execPath, ["-e", CLIENT, to.ips[family === 4 ? 0 : 1] as string], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      try {
        (sender.stdout as Readable).on("data", (text) => (client.said += String(text)));
        const progress = async (): Promise<void> => {
          const before = client.said.length;
          await eventually(() => client.said.length > before, { timeoutMs: 60_000, message: "the stream has stalled" });
        };
        await progress();
        for (let times = 0; times < 3; times++) {
          const [path] = (await cluster.on()) as [FastPath];
          await eventually(
            () => {
              if (packets(path, "pod", "sent") > 100) return true;
              throw new Error(JSON.stringify(path.status()));
            },
            { timeoutMs: 60_000, message: "the stream is not on the fast path" },
          );
          await progress();
          await cluster.off();
          await progress();
        }
        sender.stdin?.end();
        await once(sender, "exit");
        const sent = /sent (\d+)/.exec(client.said)?.[1];
        await eventually(() => client.server.includes(`\n${sent}\n`), {
          message: `all ${sent} bytes`,
        });
        assert.ok(Number(sent) > 0);
      } finally {
        sender.kill("SIGKILL");
        server.kill("SIGKILL");
      }
    });
  });
