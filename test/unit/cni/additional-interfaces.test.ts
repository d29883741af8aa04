import assert from "node:assert/strict";
import { CniError, CODE, type AdditionalInterface, handle } from "../../../src/cni/index.ts";
import { FakeHost } from "./fake-host.ts";

interface Result {
  code?: number;
  msg?: string;
  details?: string;
  interfaces: { name: string; sandbox?: string }[];
  ips: { address: string; interface: number }[];
  routes: { dst: string; gw?: string }[];
}

interface Spec {
  mtu: number;
  hostNetns?: string;
  destinations?: string[];
  bySource?: boolean;
}

const NETNS = "/run/netns/pod";

/** A pod network beside the default one, as an agent publishes it. */
const further = (network: string, subnet: string) => ({
  version: 1 as const,
  network,
  node: "n1",
  vni: 5000,
  device: "sky.5000",
  mtu: 1400,
  podCidrs: [`${subnet}.0/26`, `${subnet}.64/26`],
  clusterCidrs: [`${subnet}.0/24`],
  hostNetns: `/run/netns/sky-${network}`,
  destinations: [`${subnet}.0/24`],
  needsAgent: true,
});

describe("interfaces beside the one that was asked for", () => {
  let host: FakeHost;
  beforeEach(() => {
    host = new FakeHost();
    host.networks.set("blue", further("blue", "10.1.0"));
    host.networks.set("green", further("green", "10.1.0"));
  });
  afterEach(() => host.remove());

  const wants = (...interfaces: AdditionalInterface[]): void => {
    host.prepare = () => Promise.resolve({ additional: interfaces });
  };
  const call = async (command: string, more: object = {}): Promise<{ exitCode: number; json: Result }> => {
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: "c1",
      CNI_NETNS: NETNS,
      CNI_IFNAME: "eth0",
      CNI_PATH: "/nonexistent",
      CNI_ARGS: "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart",
    };
    const config = { cniVersion: "1.1.0", name: "net", type: "skylane", dataDir: host.dir, runDir: host.dir, ...more };
    const { exitCode, stdout } = await handle({ env, stdin: JSON.stringify(config) }, host);
    return { exitCode, json: (stdout === "" ? {} : JSON.parse(stdout)) as Result };
  };
  const records = (network: string): string[] =>
    host
      .attachments({ dataDir: host.dir, network })
      .list()
      .map(({ owner }) => owner.ifname);

  it("asks with the pod's name and the attachment", async () => {
    const asked: unknown[] = [];
    host.prepare = (request) => {
      asked.push(request);
      return Promise.resolve({ additional: [] });
    };
    assert.equal((await call("ADD")).exitCode, 0);
    const attachment = { containerId: "c1", ifname: "eth0" };
    const pod = { namespace: "shop", name: "cart" };
    assert.deepEqual(asked, [{ attachment, netns: "/run/netns/pod", network: "default", pod }]);
  });

  it("ADD makes all of them, each in its network, and answers with all", async () => {
    wants(
      { network: "blue", ifname: "net1" },
      { network: "green", ifname: "eth5", ips: ["10.1.0.9"], mac: "02:00:00:00:00:09" },
    );
    const { exitCode, json } = await call("ADD");
    assert.equal(exitCode, 0, JSON.stringify(json));
    assert.deepEqual(
      json.interfaces.filter(({ sandbox }) => sandbox).map(({ name }) => name),
      ["eth0", "net1", "eth5"],
    );
    const of = (index: number) => json.ips.filter((ip) => ip.interface === index).map(({ address }) => address);
    assert.deepEqual(of(5), ["10.1.0.9/32"]);
    assert.deepEqual(
      json.routes.map(({ dst, gw }) => `${dst} ${gw}`),
      ["0.0.0.0/0 169.254.1.1", "::/0 fe80::1", "10.1.0.0/24 169.254.1.1", "10.1.0.0/24 169.254.1.1"],
    );
    const [eth0, net1, eth5] = host.attachSpecs as Spec[];
    assert.equal(eth0?.hostNetns, undefined);
    assert.equal(net1?.hostNetns, "/run/netns/sky-blue");
    assert.deepEqual(net1?.destinations, ["10.1.0.0/24"]);
    assert.equal(net1?.mtu, 1400);
    assert.equal(eth5?.hostNetns, "/run/netns/sky-green");
    assert.deepEqual([records("default"), records("blue"), records("green")], [["eth0"], ["net1"], ["eth5"]]);
  });

  it("ADD attaches to the first interface's own network again, which keeps its routes", async () => {
    wants({ network: "default", ifname: "net1", ips: ["10.244.1.4"] }, { network: "default", ifname: "net2" });
    const { exitCode, json } = await call("ADD");
    assert.equal(exitCode, 0, JSON.stringify(json));
    const [eth0, ...others] = host.attachSpecs as (Spec & { bySource?: boolean; sourceTable?: number })[];
    assert.deepEqual([eth0?.destinations, eth0?.bySource], [undefined, undefined]);
    assert.deepEqual(
      others.map(({ destinations, bySource }) => [destinations, bySource]),
      [
        [[], true],
        [[], true],
      ],
    );
    const tables = others.map(({ sourceTable }) => sourceTable);
    assert.equal(new Set([undefined, ...tables]).size, 3, "a table each");
    assert.deepEqual(records("default").sort(), ["eth0", "net1", "net2"]);
    assert.equal((await call("CHECK", { prevResult: json })).exitCode, 0);
    assert.equal((await call("DEL")).exitCode, 0);
    assert.deepEqual([records("default"), host.remains()], [[], []]);
    assert.equal(host.forgotten.length, 2);
  });

  it("ADD tells what it made, and nothing when it made nothing", async () => {
    const told: unknown[] = [];
    const prepared = {
      additional: [{ network: "blue", ifname: "net1" }],
      attached: (made: unknown) => void told.push(made),
    };
    host.prepare = () => Promise.resolve(prepared);
    assert.equal((await call("ADD")).exitCode, 0);
    const mac = "02:00:00:00:00:01";
    const eth0 = { network: "default", ifname: "eth0", ips: ["10.244.1.2", "fd00:1::2"], mac, mtu: 1450 };
    const net1 = { network: "blue", ifname: "net1", ips: ["10.244.1.3", "fd00:1::3"], mac, mtu: 1400, gateway: [] };
    assert.deepEqual(told, [[{ ...eth0, gateway: ["169.254.1.1", "fe80::1"] }, net1]]);
    await call("DEL");
    host.fail.attachPod = new Error("no room");
    assert.equal((await call("ADD")).exitCode, 1);
    assert.equal(told.length, 1);
  });

  describe("of which one has the pod's default route", () => {
    const cluster = ["10.244.0.0/16", "::/0"];
    beforeEach(() => {
      const additional = [{ network: "blue", ifname: "net1", destinations: ["0.0.0.0/0"] }];
      host.prepare = () => Promise.resolve({ additional, destinations: cluster });
    });

    it("ADD makes the routes and answers with them", async () => {
      const { json } = await call("ADD");
      const [eth0, net1] = host.attachSpecs as Spec[];
      assert.deepEqual([eth0?.destinations, eth0?.bySource], [cluster, true]);
      assert.deepEqual([net1?.destinations, net1?.bySource], [["0.0.0.0/0"], undefined]);
      assert.deepEqual(json.routes, [
        { dst: "10.244.0.0/16", gw: "169.254.1.1" },
        { dst: "::/0", gw: "fe80::1" },
        { dst: "0.0.0.0/0", gw: "169.254.1.1", table: 8300 },
        { dst: "::/0", gw: "fe80::1", table: 8300 },
        { dst: "0.0.0.0/0", gw: "169.254.1.1" },
      ]);
    });

    it("ADD says nothing of another table to a runtime that would take it for the main one", async () => {
      const { json } = await call("ADD", { cniVersion: "1.0.0" });
      const routes = json.routes.map(({ dst }) => dst);
      assert.deepEqual(routes, ["10.244.0.0/16", "::/0", "0.0.0.0/0"]);
    });

    it("CHECK looks for what was made, whatever is published now", async () => {
      const { json } = await call("ADD");
      const looked: Spec[] = [];
      host.checkPod = (expected) => {
        looked.push(expected as unknown as Spec);
        return [];
      };
      host.networks.set("blue", further("blue", "10.1.0"));
      assert.equal((await call("CHECK", { prevResult: json })).exitCode, 0);
      assert.deepEqual(
        looked.map(({ destinations, bySource }) => ({ destinations, bySource })),
        [
          { destinations: cluster, bySource: true },
          { destinations: ["0.0.0.0/0"], bySource: undefined },
        ],
      );
    });

    it("DEL takes the rules out of a sandbox that is there, and looks into no other pod's", async () => {
      await call("ADD");
      assert.equal((await call("DEL")).exitCode, 0);
      assert.deepEqual(host.forgotten, [NETNS]);
      assert.deepEqual(host.remains(), []);
      wants({ network: "blue", ifname: "net1" });
      await call("ADD");
      await call("DEL");
      assert.equal(host.forgotten.length, 1);
    });
  });

  it("DEL of the one takes all of them back, without the agent", async () => {
    wants({ network: "blue", ifname: "net1" }, { network: "green", ifname: "net2" });
    await call("ADD");
    delete host.prepare;
    assert.equal((await call("DEL")).exitCode, 0);
    assert.deepEqual(host.remains(), []);
    assert.deepEqual([records("blue"), records("green")], [[], []]);
    assert.deepEqual(host.leftNetworks, ["blue", "green", "default"]);
  });

  it("GC takes them back with the one that they belong to", async () => {
    wants({ network: "blue", ifname: "net1" });
    await call("ADD");
    assert.equal((await call("GC", { "cni.dev/valid-attachments": [] })).exitCode, 0);
    assert.deepEqual([host.remains(), records("blue")], [[], []]);
  });

  it("GC keeps them with the one that they belong to", async () => {
    wants({ network: "blue", ifname: "net1" });
    await call("ADD");
    const valid = [{ containerID: "c1", ifname: "eth0" }];
    assert.equal((await call("GC", { "cni.dev/valid-attachments": valid })).exitCode, 0);
    assert.deepEqual([records("default"), records("blue")], [["eth0"], ["net1"]]);
  });

  it("when one of them cannot be made, none is", async () => {
    wants({ network: "blue", ifname: "net1" }, { network: "green", ifname: "net2" });
    const { attachPod } = host;
    host.attachPod = (spec) => {
      if (spec.ifname === "net2") throw new Error("no room");
      return attachPod(spec);
    };
    const { exitCode, json } = await call("ADD");
    assert.equal(exitCode, 1);
    assert.match(`${json.msg} ${json.details}`, /no room/);
    assert.deepEqual([host.remains(), records("blue"), records("green")], [[], [], []]);
  });

  it("a network that is not there on this node is named, and nothing is left", async () => {
    host.published = undefined;
    host.networks.set("default", further("default", "10.9.0"));
    wants({ network: "red", ifname: "net1" });
    const { exitCode, json } = await call("ADD");
    assert.equal(exitCode, 1);
    assert.equal(json.code, CODE.tryAgain);
    assert.match(json.msg ?? "", /"red" is not ready/);
    assert.deepEqual(host.remains(), []);
  });

  it("a refusal of the agent's is the answer, and nothing was begun", async () => {
    host.prepare = () => Promise.reject(new CniError(CODE.notAllowed, 'namespace "shop" may not attach to "blue"'));
    const { exitCode, json } = await call("ADD");
    assert.deepEqual([exitCode, json.code], [1, CODE.notAllowed]);
    assert.deepEqual([host.remains(), host.attachSpecs], [[], []]);
  });

  it("without the agent, nobody starts on a node where further networks may be asked for", async () => {
    host.published = { ...further("default", "10.9.0"), network: "default" };
    const { exitCode, json } = await call("ADD");
    assert.deepEqual([exitCode, json.code], [1, CODE.tryAgain]);
    assert.match(json.msg ?? "", /only skylane-agent knows/);
    assert.deepEqual(host.remains(), []);
  });

  it("CHECK looks at every one of them", async () => {
    wants({ network: "blue", ifname: "net1" });
    const { json } = await call("ADD");
    assert.equal((await call("CHECK", { prevResult: json })).exitCode, 0);
    host.checkPod = ({ ifname, hostNetns }) => (ifname === "net1" ? [`net1 is down in ${hostNetns}`] : []);
    const { exitCode, json: answer } = await call("CHECK", { prevResult: json });
    assert.equal(exitCode, 1);
    assert.match(answer.details ?? "", /net1 is down in \/run\/netns\/sky-blue/);
  });
});
