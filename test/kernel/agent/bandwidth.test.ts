/** Limits of what pods receive and send, as the kernel has them and as packets meet them: over drift, restarts, changed annotations and kills. */
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { bucketOf, ifbOf } from "../../../src/dataplane/bandwidth/index.ts";
import { hostIfname } from "../../../src/dataplane/pod-link/index.ts";
import { type Link, type Qdisc, Rtnl } from "../../../src/netlink/index.ts";
import { eventually } from "../../support/eventually.ts";
import { BIN } from "../cni/node.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { type Outcome, type PodRequest, Runtime } from "../support/runtime.ts";
import { Fabric, type TestNode } from "./harness.ts";

type Json = Record<string, unknown>;

/** Takes what comes on a port, and some milliseconds after its sender began prints the rate in bits a second. */
const SINK = `const [ms]=process.argv.slice(1);require("net").createServer(s=>{let n=0,t;s.on("error",()=>{});s.on("data",d=>{if(t===undefined)t=d.readDoubleLE(0);
n+=d.length;const past=Date.now()-t;if(past>=+ms){console.log(n*8000/past);process.exit()}})}).listen(5001,"::",()=>console.log("ready"))`;
/** Says when it begins, and sends as fast as it can. */
const SOURCE = `const t=Buffer.alloc(8);t.writeDoubleLE(Date.now());const s=require("net").connect(5001,process.argv[1]);const b=Buffer.alloc(65536);
s.on("error",()=>process.exit());s.on("close",()=>process.exit());const go=()=>{while(s.write(b));};s.on("connect",()=>{s.write(t);go()});s.on("drain",go)`;

const INGRESS = "kubernetes.io/ingress-bandwidth";
const EGRESS = "kubernetes.io/egress-bandwidth";

interface Pod {
  name: string;
  ns: TestNamespace;
  ips: string[];
  end: string;
}

describe("bandwidth of pods", function () {
  this.timeout(180_000);
  let fabric: Fabric;
  let node: TestNode;
  /** The node beside it. */
  let other: string;
  const children: ChildProcess[] = [];
  const running = new Set<Pod>();
  let made = 0;

  before(async () => {
    fabric = await Fabric.started();
    const [first, second] = await fabric.pair();
    node = first;
    other = second.name;
  });
  after(async () => {
    for (const child of children) child.kill("SIGKILL");
    await fabric.stop();
  });
  afterEach(async () => {
    for (const pod of running) await remove(pod);
  });

  const request = (name: string, ns?: TestNamespace): PodRequest => ({
    containerId: name,
    args: `K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name}`,
    ...(ns && { netns: ns.path }),
  });
  const config = (more: Json): Json => ({
    cniVersion: "1.1.0",
    name: "skylane",
    type: "skylane",
    capabilities: { bandwidth: true },
    runDir: join(node.dir, "run"),
    dataDir: join(node.dir, "data"),
    ...more,
  });
  const call = (verb: string, pod: PodRequest, more: Json = {}): Promise<Outcome> =>
    new Runtime(node.ns, [BIN]).exec("skylane", verb, config(more), pod);
  /** The same by the plugin itself, as where no agent answers. */
  const alone = (verb: string, pod: PodRequest, more: Json = {}): Promise<Outcome> => {
    const lib = join(BIN, "../lib/skylane");
    const through = [join(lib, "node"), "--disable-warning=ExperimentalWarning", join(lib, "skylane.cjs")];
    return new Runtime(node.ns, [BIN]).exec("skylane", verb, config(more), pod, { through });
  };
  const limited = (ingress: number, egress: number): Json => ({
    // Runtimes pass the largest burst that they have.
    runtimeConfig: {
      bandwidth: { ingressRate: ingress, ingressBurst: 2 ** 32, egressRate: egress, egressBurst: 2 ** 32 },
    },
  });

  async function start(more: Json = {}, by = call, name = `pod${++made}`): Promise<Pod & { result: Json }> {
    const ns = testNamespace(name);
    const added = await by("ADD", request(name, ns), more);
    assert.equal(added.exitCode, 0, added.stdout);
    const ips = (added.json["ips"] as { address: string }[]).map(({ address }) => address.replace(/\/.*/, ""));
    const pod = { name, ns, ips, end: hostIfname(name, "eth0"), result: added.json };
    running.add(pod);
    return pod;
  }
  async function remove(pod: Pod, by = call): Promise<void> {
    running.delete(pod);
    const gone = await by("DEL", request(pod.name, pod.ns));
    assert.equal(gone.exitCode, 0, gone.stdout);
  }

  /** What the kernel has for a host end. */
  function kernel({ end }: Pick<Pod, "end">): {
    ingress?: number;
    egress?: number;
    ifb?: Link;
    redirected: boolean;
    root?: Qdisc;
  } {
    using rtnl = Rtnl.open({ netns: node.ns.path });
    const [host, ifb] = [rtnl.link(end), rtnl.link(ifbOf(end))];
    const rootOf = (link: Link | undefined) =>
      rtnl.qdiscs().find(({ ifindex, at }) => ifindex === link?.index && at === "root");
    const bits = (qdisc: Qdisc | undefined) => qdisc?.bucket && 8 * qdisc.bucket.rate;
    const filters = host ? rtnl.ingressFilters(host.index) : [];
    const [ingress, egress, root] = [bits(rootOf(host)), bits(rootOf(ifb)), rootOf(host)];
    return {
      ...(ingress !== undefined && { ingress }),
      ...(egress !== undefined && { egress }),
      ...(ifb && { ifb }),
      ...(root && { root }),
      redirected: ifb !== undefined && filters.some(({ redirectsTo }) => redirectsTo === ifb.index),
    };
  }
  const has = (pod: Pod, ingress: number | undefined, egress: number | undefined): boolean => {
    const there = kernel(pod);
    const is = there.redirected === (egress !== undefined) && (there.ifb !== undefined) === (egress !== undefined);
    return is && there.ingress === ingress && there.egress === egress;
  };
  const ifbs = (): string[] => {
    using rtnl = Rtnl.open({ netns: node.ns.path });
    return rtnl.links().flatMap(({ kind, name }) => (kind === "ifb" ? name : []));
  };
  const records = (): string[] => {
    const dir = join(node.dir, "data/bandwidth");
    return existsSync(dir) ? readdirSync(dir) : [];
  };
  const nothingLeft = (): void => {
    assert.deepEqual(ifbs(), []);
    assert.deepEqual(records(), []);
  };

  const annotate = (pod: string, annotations: Record<string, string | null>): Promise<unknown> =>
    fabric.api(
      "PATCH",
      `/api/v1/namespaces/default/pods/${pod}`,
      { metadata: { annotations } },
      "application/merge-patch+json",
    );
  const create = (name: string, annotations: Json = {}): Promise<unknown> =>
    fabric.api("POST", "/api/v1/namespaces/default/pods", {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, annotations },
      spec: { nodeName: node.name, containers: [{ name: "c", image: "c" }] },
    });

  /** Bits a second that arrive of a stream, for some seconds. */
  async function measure(from: Pod, to: Pod, family: 0 | 1): Promise<number> {
    const sink = to.ns.spawn(process.execPath, ["-e", SINK, "3000"], { stdio: ["ignore", "pipe", "inherit"] });
    children.push(sink);
    const lines: string[] = [];
    (sink.stdout as Readable).on("data", (text) => lines.push(String(text)));
    await once(sink.stdout as Readable, "data");
    const source = from.ns.spawn(process.execPath, ["-e", SOURCE, to.ips[family] as string], { stdio: "inherit" });
    children.push(source);
    await once(sink, "close");
    source.kill("SIGKILL");
    return Number(lines.join("").replace("ready", ""));
  }

  it("are limited as their runtime asks, CHECK looks at it, and DEL leaves nothing", async () => {
    for (const [add, del] of [
      [call, call],
      [alone, alone],
      [call, alone],
      [alone, call],
    ]) {
      const pod = await start(limited(10e6, 20e6), add);
      assert.ok(has(pod, 10e6, 20e6), JSON.stringify(kernel(pod)));
      const { root } = kernel(pod);
      using rtnl = Rtnl.open({ netns: node.ns.path });
      const usual = bucketOf({ rate: 10e6 }, rtnl.link(pod.end)?.mtu ?? 0);
      assert.ok(Math.abs((root?.bucket?.burst ?? 0) - usual.burst) < 100, "a burst without end would be no limit");
      assert.equal(root?.bucket?.limit, usual.limit, "behind a deep bucket everything waits");
      const checked = await call("CHECK", request(pod.name, pod.ns), { prevResult: pod.result });
      assert.equal(checked.exitCode, 0, checked.stdout);
      await remove(pod, del);
      nothingLeft();
    }
  });

  it("get no more than that, in either direction and family, and others are not held up", async () => {
    const [pod, free] = [await start(limited(8e6, 4e6)), await start()];
    for (const family of [0, 1] as const) {
      for (const [from, to, rate] of [
        [free, pod, 8e6],
        [pod, free, 4e6],
      ] as const) {
        let most = 0;
        // A machine with other work may hold a stream up, and never speeds one up.
        await eventually(
          async () => {
            const share = (await measure(from, to, family)) / rate;
            most = Math.max(most, share);
            return share > 0.5;
          },
          { timeoutMs: 60_000 },
        );
        assert.ok(most < 1.2, `${most} of the limit`);
      }
    }
    const more = await start();
    // Nobody has limited these two.
    await eventually(async () => (await measure(free, more, 0)) > 8e6 * 1.2, { timeoutMs: 60_000 });
  });

  it("stay limited when somebody takes a part away, and CHECK tells without an agent", async () => {
    const pod = await start(limited(10e6, 20e6));
    const ifb = ifbOf(pod.end);
    for (const change of [
      ["qdisc", "del", "dev", pod.end, "root"],
      ["qdisc", "replace", "dev", pod.end, "root", "pfifo"],
      ["qdisc", "del", "dev", ifb, "root"],
      ["filter", "del", "dev", pod.end, "ingress"],
      ["qdisc", "del", "dev", pod.end, "ingress"],
      undefined,
    ]) {
      if (change) node.ns.exec("tc", ...change);
      else node.ns.exec("ip", "link", "del", ifb);
      await eventually(() => has(pod, 10e6, 20e6), { message: `${change?.join(" ")}: ${JSON.stringify(kernel(pod))}` });
    }
    node.ns.exec("ip", "link", "set", ifb, "down");
    await eventually(() => kernel(pod).ifb?.up === true && has(pod, 10e6, 20e6));
    await node.stop();
    node.ns.exec("tc", "filter", "del", "dev", pod.end, "ingress");
    const checked = await alone("CHECK", request(pod.name, pod.ns), { prevResult: pod.result });
    assert.equal(checked.exitCode, 1);
    assert.match(checked.stdout, /the filter of its bandwidth limit is missing or different/);
    node.start();
    await eventually(() => has(pod, 10e6, 20e6));
    await node.ready([other]);
  });

  it("stay limited over a restart and a kill of the agent, which touches nothing", async () => {
    const pod = await start(limited(10e6, 20e6));
    const before = kernel(pod);
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await node.stop(signal);
      assert.deepEqual(kernel(pod), before);
      node.start();
      await node.ready([other]);
      await eventually(async () => (await node.status()).bandwidth?.limits[0]?.error === undefined);
      assert.deepEqual(kernel(pod), before);
    }
    const { limits } = (await node.status()).bandwidth ?? {};
    assert.deepEqual(limits, [
      {
        pod: `default/${pod.name}`,
        container: pod.name,
        interface: "eth0",
        network: "default",
        ingress: "10M",
        egress: "20M",
      },
    ]);
  });

  it("follow the annotations of the Pod as they are changed, and are limited no longer when these are gone", async () => {
    const name = `pod${++made}`;
    await create(name);
    const pod = await start({}, call, name);
    assert.ok(has(pod, undefined, undefined));
    for (const [ingress, egress, bits] of [
      ["10M", null, [10e6, undefined]],
      ["10M", "2M", [10e6, 2e6]],
      ["1Gi", "3M", [2 ** 30, 3e6]],
      [null, "3M", [undefined, 3e6]],
      [null, null, [undefined, undefined]],
      ["5M", "5M", [5e6, 5e6]],
      // What is no rate limits nothing.
      ["1; reboot", "5M", [undefined, 5e6]],
    ] as const) {
      await annotate(name, { [INGRESS]: ingress, [EGRESS]: egress });
      await eventually(() => has(pod, bits[0], bits[1]), {
        message: `${ingress} ${egress}: ${JSON.stringify(kernel(pod))}`,
      });
    }
    await eventually(async () =>
      (await fabric.events()).some(
        ({ reason, involvedObject }) => reason === "SkylaneBandwidthInvalid" && involvedObject.name === name,
      ),
    );
    const { faults } = (await node.status()).bandwidth ?? {};
    assert.match(faults?.[0]?.why ?? "", /ingress-bandwidth is "1; reboot"/);
    // Where the API server does not answer any more, what it said holds.
    await node.stop();
    await fabric.faults({ away: true });
    node.start();
    await eventually(async () => (await node.status()).bandwidth?.limits[0]?.egress === "5M");
    assert.ok(has(pod, undefined, 5e6));
    await fabric.faults({ away: false });
    await node.ready([other]);
    await annotate(name, { [INGRESS]: null, [EGRESS]: null });
    await eventually(() => has(pod, undefined, undefined));
    await remove(pod);
    nothingLeft();
  });

  it("have their limits from the start where the API server says them and the runtime does not", async () => {
    const name = `pod${++made}`;
    await create(name, { [INGRESS]: "10M", [EGRESS]: "20M" });
    const pod = await start({}, call, name);
    await eventually(() => has(pod, 10e6, 20e6));
    await remove(pod);
    nothingLeft();
  });

  it("leave nothing where they went while no agent was there, or only half", async () => {
    const first = await start(limited(10e6, 20e6));
    const second = await start(limited(10e6, 20e6));
    await node.stop("SIGKILL");
    // One whose link is gone and that nobody has told of, as after a crash; and one by the plugin.
    node.ns.exec("ip", "link", "del", first.end);
    rmSync(join(node.dir, "data/attachments/default", first.end));
    await remove(second, alone);
    assert.deepEqual(ifbs(), [ifbOf(first.end)]);
    node.start();
    await eventually(() => ifbs().length === 0 && records().length === 0, {
      message: [...ifbs(), ...records()].join(),
    });
    await node.ready([other]);
  });

  it("are refused by their runtime's key where a rate is none", async () => {
    const name = `pod${++made}`;
    const ns = testNamespace(name);
    const refused = await call("ADD", request(name, ns), limited(10e6, 10));
    assert.equal(refused.exitCode, 1);
    assert.match(refused.stdout, /runtimeConfig\.bandwidth\.egressRate/);
    nothingLeft();
  });
});
