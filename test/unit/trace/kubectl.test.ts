/** `kubectl skylane trace`: who is asked for what, and what comes of the answers. */
import assert from "node:assert/strict";
import { kubectlTrace } from "../../../src/cli/trace/kubectl.ts";
import { judge } from "../../../src/cli/trace/judge.ts";
import { planHalf } from "../../../src/cli/trace/plan/plan.ts";
import type { Half } from "../../../src/cli/trace/types.ts";
import { STATUS_ANNOTATION } from "../../../src/crd/index.ts";
import { healthy, knowledge } from "./knowledge.ts";
import { liveHalf } from "./live-halves.ts";

const halfOf = (number: 1 | 2): Half => {
  const { steps, ...half } = planHalf(knowledge(number, 4));
  return {
    ...half,
    hops: judge(
      half.node,
      steps.map((step) => ({ step, found: healthy(step) })),
    ),
  };
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
    if (words[0] === "service") return Promise.resolve(services.get(words[1] as string));
    if (words[0] === "endpointslices") return Promise.resolve({ items: slices });
    if (words[1] === "c") return Promise.resolve(podOn("node2", "10.244.2.5"));
    return Promise.resolve({ items: [] });
  };
  const services = new Map<string, object>();
  let slices: object[] = [];
  const run = (node: string, words: readonly string[]) => {
    ran.push(`${node}: ${words.join(" ")}`);
    return Promise.resolve({
      status: 0,
      stdout: JSON.stringify({ half: halfOf(node === "node1" ? 1 : 2) }),
      stderr: "",
    });
  };
  /** Commands that go on until they are told to end. */
  const started: string[] = [];
  let watched = (): Promise<string> => Promise.resolve(JSON.stringify(liveHalf("destination")));
  const start = (node: string, words: readonly string[]) => {
    started.push(`${node}: ${words.join(" ")}`);
    return Promise.resolve({
      finish: () => {
        started.push(`${node} ends`);
        return watched();
      },
    });
  };
  const trace = async (words: readonly string[], node?: string, runThere = run): Promise<number> => {
    process.stdout.write = (text: string) => {
      printed += text;
      return true;
    };
    try {
      return await kubectlTrace(words, node, get, runThere, start);
    } finally {
      process.stdout.write = write;
    }
  };

  beforeEach(() => {
    asked.length = ran.length = started.length = 0;
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

  describe("with --live", () => {
    const markOf = (line: string): string | undefined => /--mark=([0-9a-f]+)/.exec(line)?.[1];
    const sending = (seen: () => string) => (node: string, words: readonly string[]) => {
      if (!words.includes("--live")) return run(node, words);
      started.push(`${node} sends: ${words.join(" ")}`);
      return Promise.resolve({ status: 0, stdout: seen(), stderr: "" });
    };

    it("has the receiver's node watch before the sender's sends, both for the same packet", async () => {
      const sent = sending(() => JSON.stringify(liveHalf("source")));
      assert.equal(await trace(["a", "shop/c", "--port=80", "--live"], undefined, sent), 0);
      const mark = markOf(started[0] as string) as string;
      const words = `trace 10.244.1.5 10.244.2.5 --live --mark=${mark} --output=json --port=80`;
      assert.deepEqual(started, [`node2: ${words}`, `node1 sends: ${words}`, "node2 ends"]);
      assert.match(printed, /Marked packets sent: 1[^]*It arrived, and its answer came back\./);
      started.length = 0;
      await trace(["a", "shop/c", "--live"], undefined, sent);
      assert.notEqual(markOf(started[0] as string), mark);
    });

    it("tells what the sender's node has seen where the other one says nothing or nonsense", async () => {
      const half = { ...liveHalf("source"), seen: liveHalf("source").seen.filter(({ kind }) => kind === "request") };
      const sent = sending(() => JSON.stringify(half));
      const many = Array.from({ length: 1_000 }, () => liveHalf("destination").seen[0]);
      for (const [told, says] of [
        ["", /not JSON/],
        [JSON.stringify({ ...liveHalf("destination"), node: "node3" }), /node node2 calls itself node3/],
        [JSON.stringify(liveHalf("source")).replaceAll("node1", "node2"), /tells of the other end/],
        [JSON.stringify({ ...liveHalf("destination"), seen: many }), /nothing of marked packets/],
        [JSON.stringify({ ...liveHalf("destination"), passed: [7] }), /nothing of marked packets/],
      ] as const) {
        watched = () => Promise.resolve(told);
        printed = "";
        assert.equal(await trace(["a", "shop/c", "--live"], undefined, sent), 1);
        assert.match(printed, says);
        assert.match(printed, /seen last on node1, where it leaves the node inside VXLAN[^]*nobody watched there/);
      }
    });

    it("ends the watch also where the sender's node cannot send", async () => {
      const none = (node: string, words: readonly string[]) =>
        words.includes("--live") ? Promise.resolve({ status: 1, stdout: "", stderr: "no rights" }) : run(node, words);
      assert.equal(await trace(["a", "shop/c", "--live"], undefined, none), 1);
      assert.match(printed, /Nothing is wrong on this way[^]*Nothing was sent[^]*node1 does not send: no rights/);
      assert.equal(started.at(-1), "node2 ends");
    });

    it("refuses what it cannot send", async () => {
      await assert.rejects(trace(["a", "shop/svc/cart", "--port=80", "--live"]), /--live sends to a pod/);
      await assert.rejects(trace(["a", "c", "--network=blue", "--live"]), /default network alone/);
      await assert.rejects(trace(["a", "c", "--protocol=sctp", "--port=80", "--live"]), /tcp, udp or icmp, not sctp/);
      assert.deepEqual(started, []);
    });
  });

  describe("to a Service", () => {
    const endpoint = (ip: string, node: string, conditions = {}): object => ({
      addresses: [ip],
      nodeName: node,
      conditions,
      targetRef: { kind: "Pod", namespace: "shop", name: "c" },
    });
    const sliceOf = (endpoints: object[], port = 8080, name = "web"): object => ({
      addressType: "IPv4",
      endpoints,
      ports: [{ name, port, protocol: "TCP" }],
    });
    const service = (name: string, spec: object = {}): void => {
      const ports = [
        { name: "web", port: 80, targetPort: "http" },
        { name: "dns", port: 53, protocol: "UDP" },
      ];
      const whole = {
        clusterIP: "10.96.0.7",
        clusterIPs: ["10.96.0.7", "fd96::7"],
        ports,
        selector: { app: "c" },
        ...spec,
      };
      services.set(name, { metadata: { namespace: "shop", name }, spec: whole });
    };
    type Answer = { ok: boolean; traces: { missing?: string }[]; more: number; service: { wrong?: { is: string } } };
    const answer = (): Answer => JSON.parse(printed) as Answer;

    beforeEach(() => {
      services.clear();
      slices = [];
      service("cart");
    });

    it("follows the packet to the pods behind it, at their own port", async () => {
      slices = [sliceOf([endpoint("10.244.2.5", "node2")])];
      assert.equal(await trace(["a", "shop/svc/cart", "--port", "80"]), 0);
      assert.deepEqual(asked.slice(1), [
        "service cart --namespace=shop",
        "endpointslices --namespace=shop --selector=kubernetes.io/service-name=cart",
      ]);
      const words = "trace 10.244.1.5 10.244.2.5 --output=json --port=8080 --protocol=tcp --service=10.96.0.7:80";
      assert.deepEqual(ran, [`node1: ${words}`, `node2: ${words}`]);
      assert.match(
        printed,
        /shop\/cart, tcp port 80, at 10\.96\.0\.7[^]*=== to 10\.244\.2\.5:8080, pod shop\/c, on node2[^]*Nothing is wrong/,
      );
    });

    it("takes those that are ready, else those that still serve, of the slices of that port", async () => {
      const none = { ready: false };
      slices = [
        sliceOf([endpoint("10.244.2.9", "node2", none), endpoint("10.244.2.5", "node2", { ready: true })]),
        sliceOf([endpoint("10.244.2.5", "node2")], 5353, "dns"),
      ];
      await trace(["a", "shop/service/cart", "--port=80", "-o", "json"]);
      assert.equal(answer().traces.length, 1);
      slices = [
        sliceOf([endpoint("10.244.2.9", "node2", none), endpoint("10.244.2.5", "node2", { ...none, serving: true })]),
      ];
      ran.length = 0;
      await trace(["a", "shop/svc/cart", "--port=80"]);
      assert.match(ran[0] as string, /10\.244\.2\.5/);
    });

    it("says why nobody is behind it", async () => {
      for (const [endpoints, spec, told] of [
        [[], {}, /no pod is behind tcp port 80[^]*app=c/],
        [[], { selector: undefined }, /selects no pods/],
        [[endpoint("10.244.2.5", "node2", { ready: false })], {}, /none of its 1 endpoints is ready/],
        [
          [endpoint("10.244.2.5", "node2")],
          { internalTrafficPolicy: "Local" },
          /is on node1, which its internalTrafficPolicy/,
        ],
      ] as const) {
        service("cart", spec);
        slices = [sliceOf([...endpoints])];
        printed = "";
        assert.equal(await trace(["a", "shop/svc/cart", "--port=80"]), 1);
        assert.match(printed, told);
        assert.deepEqual(ran, []);
      }
    });

    it("goes to a few of many, and says how many more there are", async () => {
      slices = [sliceOf(Array.from({ length: 9 }, () => endpoint("10.244.2.5", "node2")))];
      await trace(["a", "shop/svc/cart", "--port=80", "-o", "json"]);
      assert.deepEqual([answer().traces.length, answer().more], [4, 5]);
    });

    it("goes on where one cannot be followed", async () => {
      slices = [sliceOf([endpoint("172.30.0.12", "node2"), endpoint("10.244.2.5", "node2")])];
      const choosy = (node: string, words: readonly string[]) =>
        words.includes("172.30.0.12")
          ? Promise.resolve({ status: 1, stdout: "", stderr: "no pod's" })
          : run(node, words);
      assert.equal(await trace(["a", "shop/svc/cart", "--port=80", "-o", "json"], undefined, choosy), 0);
      assert.deepEqual(
        answer().traces.map(({ missing }) => missing),
        ["no pod's", undefined],
      );
    });

    it("wants a port that it has, and addresses", async () => {
      for (const [words, told] of [
        [["--port=81"], /has no port 81: it has 80\/tcp, 53\/udp/],
        [["--port=80", "--protocol=udp"], /has no udp port 80/],
        [[], /several ports: say which --port/],
        [["--port=80", "--network=blue"], /default network alone/],
      ] as const)
        await assert.rejects(trace(["a", "shop/svc/cart", ...words]), told);
      service("cart", { type: "ExternalName", externalName: "example.org" });
      await assert.rejects(trace(["a", "shop/svc/cart"]), /is a name alone, example\.org/);
    });

    it("is not led astray by objects of odd shapes", async () => {
      for (const odd of [
        null,
        7,
        [],
        [null],
        [{ endpoints: 7, ports: {} }],
        [{ endpoints: [null, { addresses: [7] }], ports: [null, { port: "80" }] }],
      ]) {
        slices = odd as object[];
        assert.equal(await trace(["a", "shop/svc/cart", "--port=80"]), 1);
      }
      services.set("cart", { spec: { ports: [null, { port: "80" }] } });
      await assert.rejects(trace(["a", "shop/svc/cart", "--port=80"]), /has no port 80: it has none/);
    });
  });
});
