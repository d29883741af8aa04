/** Flows of pods of two nodes as agents tell of them: with names, figures and verdicts, in both families; and nothing of it where they are off. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Talk } from "../../../lab/pods/talk.ts";
import type { Flow } from "../../../src/flows/index.ts";
import { eventually } from "../../support/eventually.ts";
import { useLab } from "./support.ts";

const ACCOUNTING = "net.netfilter.nf_conntrack_acct";

describe("flows of a cluster's pods", () => {
  const the = useLab({ nodes: 2, agentConfig: { flows: "on" } });
  const flowsOf = async (node: string, ...options: string[]): Promise<Flow[]> => {
    const skylanectl = join(the().context.binDir, "skylanectl");
    const said = await the().exec(node, skylanectl, "flows", "-o", "json", ...options);
    return said
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Flow);
  };
  const talks: Talk[] = [];

  before("a server and a client on two nodes", async () => {
    await the().addPod("node1", "server", { labels: { app: "server" } });
    await the().addPod("node2", "client", { labels: { app: "client" } });
    for (const node of ["node1", "node2"])
      await eventually(async () => (await the().status(the().node(node))).flows?.on === true);
    talks.push(await Talk.answering(the().context, the().pod("server"), 8080));
  });
  after("the programs in pods end", async () => {
    for (const talk of talks.splice(0)) await talk[Symbol.asyncDispose]();
  });

  it("names both ends of a connection across nodes in both families", async () => {
    for (const ip of the().pod("server").ips) {
      talks.push(await Talk.connected(the().context, the().pod("client"), ip, 8080));
      for (const [node, own] of [
        ["node1", "destination"],
        ["node2", "source"],
      ] as const)
        await eventually(
          async () => {
            const flow = (await flowsOf(node, "--port", "8080")).find((one) => one.destination.ip === ip);
            return (
              flow?.verdict === "allowed" &&
              flow[own].pod === `default/${own === "source" ? "client" : "server"}` &&
              flow.source.node === "node2" &&
              flow.destination.node === "node1"
            );
          },
          { message: `${node} tells of the connection to ${ip}` },
        );
    }
  });

  it("sets the kernel's accounting, and sets it again when somebody changes it", async () => {
    const value = async (): Promise<string> => (await the().exec("node1", "sysctl", "-n", ACCOUNTING)).trim();
    assert.equal(await value(), "1");
    await the().exec("node1", "sysctl", "-w", `${ACCOUNTING}=0`);
    await eventually(async () => (await value()) === "1");
  });
});
