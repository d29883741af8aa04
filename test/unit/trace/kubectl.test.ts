/** `kubectl skylane trace`: who is asked for what, and what comes of the answers. */
import assert from "node:assert/strict";
import { kubectlTrace } from "../../../src/cli/trace/kubectl.ts";
import { judge } from "../../../src/cli/trace/judge.ts";
import { planHalf } from "../../../src/cli/trace/plan/plan.ts";
import type { Half } from "../../../src/cli/trace/types.ts";
import { STATUS_ANNOTATION } from "../../../src/crd/index.ts";
import { healthy, knowledge } from "./knowledge.ts";

const halfOf = (number: 1 | 2): Half => {
  const { steps, ...half } = planHalf(knowledge(number, 4));
  return { ...half, hops: steps.map((step) => judge(half.node, step, healthy(step))) };
};

const podOn = (node: string, ip: string): object => ({
  metadata: {
    annotations: { [STATUS_ANNOTATION]: JSON.stringify([{ name: "ns/blue", ips: ["10.50.0.7"] }]) },
  },
  spec: { nodeName: node },
  status: { podIPs: [{ ip }] },
});

describe("kubectl skylane trace", () => {
  const asked: string[] = [];
  const ran: string[] = [];
  let printed = "";
  const write = process.stdout.write.bind(process.stdout);

  const get = (words: readonly string[]): Promise<unknown> => {
    asked.push(words.join(" "));
    if (words[1] === "a") return Promise.resolve(podOn("node1", "10.244.1.5"));
    if (words[1] === "c") return Promise.resolve(podOn("node2", "10.244.2.5"));
    return Promise.resolve({ items: [] });
  };
  const run = (node: string, words: readonly string[]) => {
    ran.push(`${node}: ${words.join(" ")}`);
    return Promise.resolve({
      status: 0,
      stdout: JSON.stringify({ half: halfOf(node === "node1" ? 1 : 2) }),
      stderr: "",
    });
  };
  const trace = async (words: readonly string[], node?: string, runThere = run): Promise<number> => {
    process.stdout.write = (text: string) => {
      printed += text;
      return true;
    };
    try {
      return await kubectlTrace(words, node, get, runThere);
    } finally {
      process.stdout.write = write;
    }
  };

  beforeEach(() => {
    asked.length = ran.length = 0;
    printed = "";
  });

  it("finds both pods, and asks both of their nodes", async () => {
    assert.equal(await trace(["a", "shop/c", "--port", "80", "-o", "json"]), 0);
    assert.deepEqual(asked, ["pod a --namespace=default", "pod c --namespace=shop"]);
    const words = "trace 10.244.1.5 10.244.2.5 --output=json --port=80";
    assert.deepEqual(ran, [`node1: ${words}`, `node2: ${words}`]);
    const { ok, whole, half } = JSON.parse(printed) as { ok: boolean; whole: boolean; half?: unknown };
    assert.deepEqual([ok, whole, half], [true, true, undefined]);
  });

  it("lets the source's node tell where an address is", async () => {
    assert.equal(await trace(["a", "10.244.2.5"]), 0);
    assert.deepEqual(asked, [
      "pod a --namespace=default",
      "pods --all-namespaces --field-selector=status.podIP=10.244.2.5",
    ]);
    assert.deepEqual(
      ran.map((line) => line.split(":")[0]),
      ["node1", "node2"],
    );
    assert.match(printed, /Nothing is wrong on this way/);
  });

  it("wants to know where an address is sent from", async () => {
    await assert.rejects(trace(["10.244.1.5", "c"]), /nobody knows the node of 10\.244\.1\.5: name it, --node NODE/);
    assert.equal(await trace(["10.244.1.5", "c"], "node1"), 0);
  });

  it("reads a pod's addresses in another network from its account of interfaces", async () => {
    await trace(["a", "10.50.0.9", "--network", "blue"]).catch(() => undefined);
    assert.deepEqual(ran, ["node1: trace 10.50.0.7 10.50.0.9 --output=json --network=blue"].concat(ran.slice(1)));
    await assert.rejects(trace(["a", "c", "--network", "green"]), /has no address in network "green"/);
  });

  it("says which node does not tell, and does not believe one that calls itself another", async () => {
    const one = (node: string, words: readonly string[]) =>
      node === "node1" ? run(node, words) : Promise.resolve({ status: 1, stdout: "", stderr: "connection refused" });
    assert.equal(await trace(["a", "c"], undefined, one), 1);
    assert.match(printed, /other-node on node2[^]*node2 does not tell: connection refused/);
    const liar = (node: string, words: readonly string[]) => run(node === "node2" ? "node1" : node, words);
    printed = "";
    assert.equal(await trace(["a", "c"], undefined, liar), 1);
    assert.match(printed, /node node2 calls itself node1/);
    const silent = () => Promise.resolve({ status: 1, stdout: "", stderr: "no such pod" });
    await assert.rejects(trace(["a", "c"], undefined, silent), /no such pod/);
  });
});
