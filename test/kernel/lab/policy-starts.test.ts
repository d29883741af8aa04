/**
 * Pods that start under default deny, while one that may not and one that may send to all of the node's addresses all the time:
 * of the one nothing comes through at any moment, of the other's everything once ADD has answered. SKYLANE_STARTS says how many.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { entering } from "../../../lab/exec.ts";
import { podNetns } from "../../../lab/pods/pods.ts";
import { eventually } from "../../support/eventually.ts";
import { useLab } from "./support.ts";

const STARTS = Number(process.env["SKYLANE_STARTS"] ?? 25);
const POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
/** Where the packets go that may not pass, and those that may. */
const PORTS = { stranger: 4001, client: 4002 };
/** Sends a datagram to each host of a /24 after the other, to all of them sixty times a second. */
const FLOOD = `
  const [prefix, port] = process.argv.slice(1);
  const socket = require("node:dgram").createSocket("udp4");
  let host = 0;
  const send = () => {
    for (let n = 0; n < 16; n++) socket.send("x", Number(port), prefix + (2 + host++ % 253), () => {});
  };
  socket.on("error", () => {}).bind(0, () => setInterval(send, 1));
`;

describe("pods that start under default deny", () => {
  const the = useLab({ nodes: 2 });

  describe("and meet with packets all the time", () => {
    const running: ChildProcess[] = [];
    const start = (argv: readonly string[]): ChildProcess => {
      const [command = "", ...args] = argv;
      const child = spawn(command, args, {
        stdio: ["ignore", "pipe", "ignore"],
        detached: true,
        env: the().context.env,
      });
      running.push(child);
      return child;
    };
    /** Times that packets to a port went to a pod of node1, by its address. */
    const seen = { stranger: new Map<string, number>(), client: new Map<string, number>() };

    before("a policy, and two who send", async () => {
      await the().addPod("node1", "first", { labels: { app: "server" } });
      for (const name of ["stranger", "client"]) await the().addPod("node2", name, { labels: { app: name } });
      const peers = [{ podSelector: { matchLabels: { app: "client" } } }];
      await the().api.call("POST", POLICIES, {
        apiVersion: "networking.k8s.io/v1",
        kind: "NetworkPolicy",
        metadata: { name: "server" },
        spec: {
          podSelector: { matchLabels: { app: "server" } },
          policyTypes: ["Ingress", "Egress"],
          ingress: [{ from: peers }],
          egress: [{ to: peers }],
        },
      });
      const [ip = ""] = the().pod("first").ips;
      await eventually(async () => (await the().pingFrom(the().pod("stranger"), ip, 500)).rttMs === undefined);
      for (const name of ["stranger", "client"] as const) {
        const filter = `udp dst port ${PORTS[name]}`;
        // What leaves the node's namespace for a pod; on the overlay's device they come in.
        const tcpdump = start(the().enter("node1", "tcpdump", "-n", "-l", "-i", "any", "-Q", "out", filter));
        tcpdump.stdout?.setEncoding("utf8").on("data", (text: string) => {
          for (const [, to = ""] of text.matchAll(/ > (\d+\.\d+\.\d+\.\d+)\.\d+:/g))
            seen[name].set(to, (seen[name].get(to) ?? 0) + 1);
        });
        // A program of this machine in a pod's network: a node's own files need not have it.
        const inside = { netns: podNetns(the().context, the().pod(name)) };
        start(entering(inside, process.execPath, ["-e", FLOOD, ip.replace(/\d+$/, ""), String(PORTS[name])]));
      }
      await eventually(() => (seen.client.get(ip) ?? 0) > 0, { message: "the client's packets do not arrive" });
    });

    after(async () => {
      for (const child of running) {
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Error(`${child.spawnargs.join(" ")} has ended`);
        process.kill(-(child.pid as number), "SIGKILL");
        await once(child, "exit");
      }
    });

    it(`get nothing that is forbidden, and refuse nothing that is allowed, ${STARTS} times`, async function () {
      this.timeout(60_000 + STARTS * 5_000);
      const [clientIp = ""] = the().pod("client").ips;
      for (let n = 0; n < STARTS; n++) {
        const name = `late${n}`;
        const { ips } = await the().addPod("node1", name, { labels: { app: "server" } });
        const [ip = ""] = ips;
        // The very first packet in either direction.
        const [out, into] = await Promise.all([
          the().pingFrom(the().pod(name), clientIp),
          the().pingFrom(the().pod("client"), ip),
        ]);
        assert.ok(out.rttMs !== undefined, `${name} does not reach the client: ${out.error}`);
        assert.ok(into.rttMs !== undefined, `the client does not reach ${name}: ${into.error}`);
        seen.client.delete(ip);
        await eventually(() => (seen.client.get(ip) ?? 0) > 0, {
          message: `${name} gets nothing of what the client sends`,
        });
        await the().deletePod(name);
      }
      assert.deepEqual([...seen.stranger], [], "packets of the stranger reached pods");
    });

    it("are seen to get what nothing forbids", async () => {
      await the().api.call("DELETE", `${POLICIES}/server`);
      const [ip = ""] = the().pod("first").ips;
      await eventually(() => (seen.stranger.get(ip) ?? 0) > 0, {
        message: "what the stranger sends is not seen at all",
      });
    });
  });
});
