import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { netnsIdentity, withNetns } from "../../../src/sys/index.ts";
import { eventually } from "../../support/eventually.ts";
import { Fabric, type TestNode } from "../agent/harness.ts";
import { BIN } from "../cni/node.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { Runtime } from "../support/runtime.ts";
import type { Words } from "./cni-client.ts";
import { attack } from "./support.ts";

/** Bytes before an answer's JSON: "A", the agent's half of the key, exit status and length. */
const HEAD = 1 + 32 + 8;
const CLIENT = fileURLToPath(new URL("cni-client.ts", import.meta.url));

describe("somebody in a pod who has /run/skylane mounted", function () {
  this.timeout(120_000);
  let fabric: Fabric;
  let node: TestNode;
  let victim: TestNamespace;
  let pod: TestNamespace;
  let runtime: Runtime;
  before(async () => {
    fabric = await Fabric.started();
    node = fabric.node(1);
    await node.register();
    node.start();
    await node.ready();
    victim = testNamespace("victim");
    pod = testNamespace("pod");
    runtime = new Runtime(node.ns, [BIN]);
  });
  after(async () => {
    await fabric.stop();
    for (const ns of [victim, pod]) ns?.delete();
  });

  const socket = (): string => join(node.dir, "run/cni.sock");
  const config = (): object => ({
    cniVersion: "1.0.0",
    name: "skylane",
    type: "skylane",
    runDir: join(node.dir, "run"),
    dataDir: join(node.dir, "data"),
  });
  const key = (): string => readFileSync(join(node.dir, "data/launcher.key")).subarray(0, 32).toString("hex");
  /** What the agent answers to an ADD of another pod's name for this pod's sandbox, asked from a namespace. */
  async function add(from: TestNamespace, words: Partial<Words> = {}): Promise<string> {
    const { dev, ino } = netnsIdentity(node.ns.path);
    const all: Words = {
      socket: socket(),
      sandboxes: [pod.path],
      own: [dev, ino],
      key: "00".repeat(32),
      env: {
        CNI_COMMAND: "ADD",
        CNI_CONTAINERID: "hostile",
        CNI_NETNS: "/var/run/netns/hostile",
        CNI_IFNAME: "net7",
        CNI_ARGS: "K8S_POD_NAMESPACE=tenant;K8S_POD_NAME=victim",
      },
      configuration: JSON.stringify(config()),
      ...words,
    };
    const child = from.spawn(process.execPath, ["--disable-warning=ExperimentalWarning", CLIENT, JSON.stringify(all)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    child.stdout?.setEncoding("utf8").on("data", (part: string) => (text += part));
    await once(child, "close");
    return JSON.parse(text) as string;
  }
  const links = (): number => pod.json("ip", "-j", "link").length;
  /** Descriptors of network namespaces and sockets that the agent has open. */
  const descriptors = (): number => readdirSync(`/proc/${node.pid}/fd`).length;
  const served = async (): Promise<number> =>
    Number(
      /^skylane_cni_duration_seconds_count\{verb="ADD",result="ok",by="agent"\} (\d+)$/m.exec(
        (await node.get("/metrics")).body,
      )?.[1] ?? 0,
    );

  it("would be served as a launcher on the host, with its key", async () => {
    assert.match(await add(node.ns, { key: key() }), /^A[^]*"interfaces"/);
    assert.equal(links(), 2);
    pod.exec("ip", "link", "del", "net7");
    const env = { CNI_COMMAND: "DEL", CNI_CONTAINERID: "hostile", CNI_IFNAME: "net7" };
    assert.match(await add(node.ns, { key: key(), env, sandboxes: [] }), /^A/);
  });

  attack("pod", "names the host's network namespace and another pod, with the launcher's key", async () => {
    assert.equal(await add(pod, { key: key() }), "");
    assert.equal(links(), 1);
    assert.match(node.log, /refused a CNI request from another network namespace than the host's/);
    return "refused: the kernel says from where it connects";
  });

  attack("pod", "is on the host's network, and has no key", async () => {
    const almost = key().slice(0, 62) + (key().endsWith("00") ? "01" : "00");
    for (const wrong of ["00".repeat(32), "ff".repeat(32), almost]) {
      assert.equal(await add(node.ns, { key: wrong }), "");
      assert.equal(links(), 1);
    }
    return "refused: the key is not in the directory that it has mounted";
  });

  describe("and has come by the launcher's key and the host's network", () => {
    const of = (containerId: string, netns: TestNamespace): { containerId: string; netns: string; args: string } => ({
      containerId,
      netns: netns.path,
      args: `K8S_POD_NAMESPACE=${containerId};K8S_POD_NAME=web`,
    });
    const attached = [] as ReturnType<typeof of>[];
    before(async () => {
      for (const one of [of("tenant", victim), of("rogue", pod)]) {
        const added = await runtime.exec("skylane", "ADD", JSON.stringify(config()), one);
        assert.equal(added.exitCode, 0, added.stdout);
        attached.push(one);
      }
    });
    after(async () => {
      for (const one of attached.splice(0)) {
        const { exitCode, stdout } = await runtime.exec("skylane", "DEL", JSON.stringify(config()), one);
        assert.equal(exitCode, 0, stdout);
      }
      assert.equal(links(), 1);
    });
    const linksOf = (ns: TestNamespace): unknown[] => ns.json("ip", "-j", "link").map(({ ifname }) => ifname);
    /** What a request that the agent takes on is told; nothing changes in either sandbox. */
    async function told(env: Record<string, string>, sandbox: TestNamespace, more: object = {}): Promise<string> {
      const before = [pod, victim].map(linksOf);
      const answer = await add(node.ns, {
        key: key(),
        env: { CNI_NETNS: "/var/run/netns/hostile", CNI_IFNAME: "net7", ...env },
        sandboxes: [sandbox.path],
        configuration: JSON.stringify({ ...config(), ...more }),
      });
      assert.equal(answer.slice(0, 1), "A", "taken on");
      assert.deepEqual([pod, victim].map(linksOf), before);
      const { code, msg } = JSON.parse(answer.slice(HEAD)) as { code: number; msg: string };
      return `${code}: ${msg}`;
    }
    const victims = "K8S_POD_NAMESPACE=tenant;K8S_POD_NAME=web";

    attack("pod", "asks in another pod's name for its own sandbox", async () => {
      for (const CNI_CONTAINERID of ["another", "x".repeat(64)])
        assert.match(
          await told({ CNI_COMMAND: "ADD", CNI_CONTAINERID, CNI_ARGS: victims }, pod),
          /^\d+: the sandbox is that of pod rogue\/web, which is attached there as container rogue$/,
        );
      return "refused by name: a sandbox is one pod's";
    });

    attack("pod", "asks for a further interface of another pod's container in its own sandbox", async () => {
      assert.match(
        await told({ CNI_COMMAND: "ADD", CNI_CONTAINERID: "tenant", CNI_ARGS: victims }, pod),
        /^\d+: (container tenant is attached in another sandbox, as pod tenant\/web|the sandbox is that of pod rogue\/web, .*)$/,
      );
      const fresh = testNamespace("fresh");
      try {
        assert.match(
          await told({ CNI_COMMAND: "ADD", CNI_CONTAINERID: "tenant", CNI_ARGS: victims }, fresh),
          /^\d+: container tenant is attached in another sandbox, as pod tenant\/web$/,
        );
      } finally {
        fresh.delete();
      }
      return "refused by name: a container has one sandbox";
    });

    attack("pod", "takes another pod's attachment away, with its own sandbox", async () => {
      const request = { CNI_COMMAND: "DEL", CNI_CONTAINERID: "tenant", CNI_IFNAME: "eth0" };
      assert.match(
        await told(request, pod),
        /^\d+: container tenant interface eth0 is attached in another sandbox than the one that is named, as pod tenant\/web$/,
      );
      return "refused by name; the other pod keeps its interface";
    });

    attack("pod", "names the host's own network namespace as its sandbox", async () => {
      const before = linksOf(node.ns);
      const request = { CNI_COMMAND: "ADD", CNI_CONTAINERID: "another", CNI_ARGS: victims };
      assert.match(await told(request, node.ns), /^4: invalid environment variable CNI_NETNS/);
      assert.deepEqual(linksOf(node.ns), before);
      return "refused";
    });

    attack("pod", "names a pod of another node, and one that is on none", async () => {
      const path = "/api/v1/namespaces/far/pods";
      await fabric.api("POST", "/api/v1/namespaces", { metadata: { name: "far" } });
      const containers = [{ name: "main", image: "none" }];
      for (const [name, spec] of [
        ["web", { nodeName: "elsewhere" }],
        ["pending", {}],
      ] as const)
        await fabric.api("POST", path, { metadata: { name }, spec: { ...spec, containers } });
      const blue = { vni: 6100, cidrs: ["10.50.0.0/24"] };
      await fabric.api("POST", "/apis/skylane.dev/v1alpha1/podnetworks", {
        apiVersion: "skylane.dev/v1alpha1",
        kind: "PodNetwork",
        metadata: { name: "blue" },
        spec: blue,
      });
      const published = (): { needsAgent?: boolean } => JSON.parse(readFileSync(node.published, "utf8")) as object;
      await eventually(() => published().needsAgent === true);
      const fresh = testNamespace("fresh");
      try {
        for (const [name, bound] of [
          ["web", "node elsewhere"],
          ["pending", "no node"],
        ] as const)
          for (const network of ["default", "blue"]) {
            const CNI_ARGS = `K8S_POD_NAMESPACE=far;K8S_POD_NAME=${name}`;
            const request = { CNI_COMMAND: "ADD", CNI_CONTAINERID: "another", CNI_ARGS };
            const answer = await told(request, fresh, { network });
            assert.match(answer, new RegExp(`pod far/${name}: the pod is bound to ${bound}, and this is node n1$`));
          }
        assert.deepEqual(linksOf(fresh), ["lo"]);
      } finally {
        fresh.delete();
        await fabric.api("DELETE", "/apis/skylane.dev/v1alpha1/podnetworks/blue");
        await eventually(() => published().needsAgent === undefined);
      }
      return "refused by name: a node attaches its own pods only";
    });
  });

  attack("pod", "hands over many open files at once", async () => {
    const before = descriptors();
    for (const count of [2, 3, 40])
      assert.equal(await add(node.ns, { key: key(), sandboxes: Array(count).fill(pod.path) as string[] }), "");
    await eventually(() => descriptors() <= before, {
      message: `the agent keeps ${descriptors()} open files of ${before}`,
    });
    assert.equal(links(), 1);
    return "refused, and none of them stays open";
  });

  attack("pod", "holds 600 connections on which it says nothing", async () => {
    const before = descriptors();
    const idle: Socket[] = [];
    /** The kernel refuses those (EAGAIN) for which an agent that was given no time yet has no room. */
    const connected = async (): Promise<Socket> => {
      const one = withNetns(node.ns.path, () => connect(socket())).on("error", () => undefined);
      await once(one, "connect");
      return one;
    };
    for (let n = 0; n < 600; n++) idle.push(await eventually(connected));
    const count = await served();
    const request = { containerId: "c1", netns: victim.path };
    const detach = async (): Promise<void> =>
      assert.equal((await runtime.exec("skylane", "DEL", JSON.stringify(config()), request)).exitCode, 0);
    // A launcher that has no word of the agent within two seconds does it by itself, which on a busy machine may be once.
    for (let attempt = 1; ; attempt++) {
      const added = await runtime.exec("skylane", "ADD", JSON.stringify(config()), request);
      assert.equal(added.exitCode, 0, added.stdout);
      if ((await served()) > count) break;
      await detach();
      assert.ok(attempt < 5, "the agent serves no pods");
    }
    assert.ok(descriptors() < before + 100, `${descriptors()} open files, ${before} before`);
    for (const one of idle) one.destroy();
    await detach();
    return "the oldest make room; pods are served by the agent as before";
  });
});
