import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestNamespace } from "../support/netns.ts";
import type { Outcome } from "../support/runtime.ts";
import { devicesIn, NOTHING, TestNode, VERSIONS } from "./node.ts";

type Json = Record<string, unknown>;

function failed(outcome: Outcome, code: number, pattern: RegExp): void {
  assert.equal(outcome.exitCode, 1, outcome.stdout);
  assert.equal(outcome.json.code, code, outcome.stdout);
  assert.match(`${outcome.json.msg as string} | ${(outcome.json.details as string | undefined) ?? ""}`, pattern);
}

function succeeded(outcome: Outcome): void {
  assert.deepEqual(
    { exitCode: outcome.exitCode, stdout: outcome.stdout, stderr: outcome.stderr },
    { exitCode: 0, stdout: "", stderr: "" },
  );
}

describe("the executable, as a runtime calls it", () => {
  let node: TestNode;
  let pod: TestNamespace;
  before(() => {
    node = new TestNode();
    pod = node.sandbox();
  });
  after(() => node.remove());

  /** Somewhere else, by family. */
  const NEXT = { "-4": "198.51.100.1", "-6": "2001:db8:5::1" };
  const request = { containerId: "c1", netns: "" };
  before(() => {
    request.netns = pod.path;
  });

  const call = (command: string, config: Json = {}, more: { env?: Record<string, string> } = {}): Promise<Outcome> =>
    node.runtime.exec("skylane", command, node.config(config), { containerId: "c1", netns: pod.path }, more);

  it("VERSION", async () => {
    const { exitCode, json } = await node.runtime.exec("skylane", "VERSION", { cniVersion: "1.0.0" });
    assert.equal(exitCode, 0);
    assert.deepEqual(json, { cniVersion: "1.0.0", supportedVersions: VERSIONS });
  });

  it("VERSION does not wait for a stdin that nobody closes", async () => {
    const ask = async (
      env: Record<string, string>,
      said = "",
    ): Promise<{ stdout: string; stderr: string; code: unknown }> => {
      const child = node.ns.spawn(node.runtime.find("skylane"), [], { stdio: ["pipe", "pipe", "pipe"], env });
      let [stdout, stderr] = ["", ""];
      child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
      child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
      if (said) child.stdin?.write(said);
      const [code] = await once(child, "close");
      child.stdin?.destroy();
      return { stdout, stderr, code };
    };
    const env = { PATH: process.env.PATH ?? "", CNI_COMMAND: "VERSION" };
    const { stdout, code } = await ask(env);
    assert.deepEqual([code, JSON.parse(stdout)], [0, { cniVersion: "1.1.0", supportedVersions: VERSIONS }]);
    const asked = await ask(env, '{"cniVersion":"0.4.0"}');
    assert.deepEqual(JSON.parse(asked.stdout).cniVersion, "0.4.0");
    // Without CNI_COMMAND nothing is read at all: somebody at a terminal learns what this is.
    const said = await ask({ PATH: env.PATH });
    assert.deepEqual([said.code, said.stdout], [0, ""]);
    assert.match(
      said.stderr,
      /^CNI skylane plugin \d+\.\d+\.\d+.*\nCNI protocol versions supported: 0\.3\.0, .*1\.1\.0\n$/,
    );
  });

  for (const cniVersion of VERSIONS) {
    describe(`version ${cniVersion}`, () => {
      let result: Json;

      it("ADD answers in its shape, and the kernel is as it says", async () => {
        const outcome = await call("ADD", { cniVersion, dns: { nameservers: ["10.96.0.10"] } });
        assert.equal(outcome.exitCode, 0, outcome.stdout);
        result = outcome.json;
        const [host, eth0] = result.interfaces as Json[];
        const [ip4, ip6] = result.ips as Json[];
        const mtu = cniVersion === "1.1.0" ? { mtu: 1450 } : {};
        const version = (family: string) => (cniVersion < "1" ? { version: family } : {});
        const { ifname, address: mac } = pod.json("ip", "-j", "link", "show", "eth0")[0] as Json;
        assert.deepEqual(result, {
          cniVersion,
          interfaces: [
            { name: node.hostLinks()[0], mac: "ee:ee:ee:ee:ee:ee", ...mtu },
            { name: ifname, mac, ...mtu, sandbox: pod.path },
          ],
          ips: [
            { ...version("4"), address: ip4?.address, interface: 1, gateway: "169.254.1.1" },
            { ...version("6"), address: ip6?.address, interface: 1, gateway: "fe80::1" },
          ],
          routes: [
            { dst: "0.0.0.0/0", gw: "169.254.1.1" },
            { dst: "::/0", gw: "fe80::1" },
          ],
          dns: { nameservers: ["10.96.0.10"] },
        });
        assert.match(String(ip4?.address), /^10\.244\.1\.\d+\/32$/);
        assert.match(String(ip6?.address), /^fd00:10:244:1::[0-9a-f]+\/128$/);
        const addresses = pod.exec("ip", "-o", "address", "show", "eth0");
        assert.ok(
          addresses.includes(String(ip4?.address)?.replace("/32", "")) && addresses.includes(String(ip6?.address)),
        );
        assert.equal((pod.json("ip", "-j", "link", "show", "eth0")[0] as Json).mtu, 1450);
        assert.equal(node.hostLinks().length, 1);
        assert.equal(eth0?.sandbox, pod.path);
        assert.equal(host?.sandbox, undefined);
      });

      it("the pod reaches the host and is reached from it", () => {
        const [ip4, ip6] = (result.ips as Json[]).map(({ address }) => String(address).split("/")[0] as string);
        node.ns.exec("ip", "address", "replace", "192.0.2.1/32", "dev", "lo");
        node.ns.exec("ip", "address", "replace", "2001:db8::1/128", "dev", "lo");
        pod.exec("ping", "-c", "1", "-W", "5", "192.0.2.1");
        pod.exec("ping", "-c", "1", "-W", "5", "2001:db8::1");
        node.ns.exec("ping", "-c", "1", "-W", "5", ip4 as string);
        node.ns.exec("ping", "-c", "1", "-W", "5", ip6 as string);
      });

      it("a second ADD is an error and leaves the first untouched", async () => {
        const before = node.remains();
        failed(await call("ADD", { cniVersion }), 101, /c1 already has interface eth0/);
        assert.deepEqual(node.remains(), before);
        assert.deepEqual(devicesIn(pod), ["eth0"]);
      });

      if (cniVersion < "0.4") {
        it("has no CHECK", async () =>
          failed(await call("CHECK", { cniVersion, prevResult: result }), 1, /CHECK needs/));
      } else {
        it("CHECK passes, names what differs, and passes again once it is put right", async () => {
          const check = () => call("CHECK", { cniVersion, prevResult: result });
          succeeded(await check());
          const ip4 = String((result.ips as Json[])[0]?.address);
          pod.exec("ip", "address", "del", ip4, "dev", "eth0");
          failed(await check(), 103, new RegExp(`lacks address ${ip4.replaceAll(".", "\\.")}.*no default IPv4 route`));
          pod.exec("ip", "address", "add", ip4, "dev", "eth0");
          pod.exec("ip", "route", "add", "169.254.1.1", "dev", "eth0", "scope", "link");
          const neighbour = ["169.254.1.1", "lladdr", "ee:ee:ee:ee:ee:ee", "dev", "eth0", "nud", "permanent"];
          pod.exec("ip", "neighbour", "replace", ...neighbour);
          pod.exec("ip", "route", "add", "default", "via", "169.254.1.1", "dev", "eth0");
          succeeded(await check());
        });
        it("CHECK needs prevResult", async () => failed(await call("CHECK", { cniVersion }), 7, /"prevResult"/));
      }

      for (const verb of ["GC", "STATUS"]) {
        if (cniVersion === "1.1.0") continue;
        it(`has no ${verb}`, async () => failed(await call(verb, { cniVersion }), 1, new RegExp(`${verb} needs`)));
      }

      it("DEL removes everything, twice, and before any ADD", async () => {
        succeeded(await call("DEL", { cniVersion, prevResult: result }));
        assert.deepEqual(node.remains(), NOTHING);
        assert.deepEqual(devicesIn(pod), []);
        succeeded(await call("DEL", { cniVersion }));
        succeeded(await node.runtime.exec("skylane", "DEL", node.config({ cniVersion }), { containerId: "never" }));
      });
    });
  }

  it("DEL works without CNI_NETNS, and when the sandbox is gone", async () => {
    const other = node.sandbox("gone");
    const add = async (containerId: string, netns: string) =>
      assert.equal((await node.runtime.exec("skylane", "ADD", node.config(), { containerId, netns })).exitCode, 0);
    await add("c2", pod.path);
    await add("c3", other.path);
    succeeded(await node.runtime.exec("skylane", "DEL", node.config(), { containerId: "c2" }));
    assert.deepEqual(devicesIn(pod), []);
    other.delete();
    succeeded(await node.runtime.exec("skylane", "DEL", node.config(), { containerId: "c3", netns: other.path }));
    assert.deepEqual(node.remains(), NOTHING);
  });

  it("leaves another's interface of that name alone", async () => {
    pod.exec("ip", "link", "add", "eth0", "type", "bridge");
    failed(await call("ADD"), 101, /eth0 already that is not Skylane's/);
    assert.deepEqual(node.remains(), NOTHING);
    succeeded(await call("DEL"));
    assert.deepEqual(devicesIn(pod), ["eth0"]);
    pod.exec("ip", "link", "del", "eth0");
  });

  it("attaches a pod to the default network as often as it is asked to: beside the first, only answers leave through it", async () => {
    // What the node sends from.
    for (const address of ["198.18.0.1/32", "2001:db8::1/128"]) node.ns.exec("ip", "addr", "add", address, "dev", "lo");
    const first = await call("ADD");
    const interfaces: Record<string, { ips: string[]; result: Json }> = {};
    for (const ifname of ["net1", "net2"]) {
      const { exitCode, stdout, json } = await node.runtime.exec("skylane", "ADD", node.config(), {
        ...request,
        ifname,
      });
      assert.equal(exitCode, 0, stdout);
      interfaces[ifname] = {
        ips: (json.ips as Json[]).map(({ address }) => String(address).split("/")[0] ?? ""),
        result: json,
      };
      const tables = (json.routes as Json[]).map(({ table }) => table);
      assert.ok(tables.length === 2 && tables.every((table) => Number(table) > 253), JSON.stringify(json.routes));
    }
    assert.match(pod.exec("ip", "route", "show", "default"), /^default via 169\.254\.1\.1 dev eth0 [^\n]*\n$/);
    for (const [ifname, { ips, result }] of Object.entries(interfaces)) {
      for (const ip of ips) {
        node.ns.exec("ping", "-c", "1", "-W", "5", ip);
        const family = ip.includes(":") ? "-6" : "-4";
        assert.match(pod.exec("ip", family, "route", "get", NEXT[family], "from", ip), new RegExp(`dev ${ifname} `));
        assert.match(pod.exec("ip", family, "route", "get", NEXT[family]), /dev eth0 /);
      }
      const check = () =>
        node.runtime.exec("skylane", "CHECK", node.config({ prevResult: result }), { ...request, ifname });
      succeeded(await check());
      const rule = pod.exec("ip", "rule").match(new RegExp(`from ${ips[0]} lookup (\\d+)`));
      pod.exec("ip", "rule", "del", "from", ips[0] ?? "", "lookup", rule?.[1] ?? "");
      failed(await check(), 103, /no rule that sends what is from/);
    }
    succeeded(await call("CHECK", { prevResult: first.json }));
    succeeded(await node.runtime.exec("skylane", "DEL", node.config(), { ...request, ifname: "net1" }));
    assert.deepEqual(
      pod.exec("ip", "rule").match(/lookup [89]\d{8}/g),
      null,
      "its rule was removed by hand, the other's too",
    );
    assert.equal(pod.exec("ip", "-6", "rule").match(/lookup [89]\d{8}/g)?.length, 1);
    succeeded(await node.runtime.exec("skylane", "DEL", node.config(), { ...request, ifname: "net2" }));
    assert.equal(pod.exec("ip", "-6", "rule").match(/lookup [89]\d{8}/g), null);
    succeeded(await call("DEL"));
    assert.deepEqual([node.remains(), devicesIn(pod)], [NOTHING, []]);
  });

  it("attaches a pod beside another plugin's default route, in the families that this has", async () => {
    pod.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other");
    pod.exec("ip", "link", "set", "other", "up");
    pod.exec("ip", "addr", "add", "192.0.2.5/24", "dev", "eth0");
    pod.exec("ip", "link", "set", "eth0", "up");
    pod.exec("ip", "route", "add", "default", "via", "192.0.2.1");
    const net1 = { ...request, ifname: "net1" };
    const { json, exitCode, stdout } = await node.runtime.exec("skylane", "ADD", node.config(), net1);
    assert.equal(exitCode, 0, stdout);
    assert.match(pod.exec("ip", "-4", "route", "show", "default"), /via 192\.0\.2\.1 dev eth0/);
    assert.match(pod.exec("ip", "-6", "route", "show", "default"), /via fe80::1 dev net1/);
    succeeded(await node.runtime.exec("skylane", "CHECK", node.config({ prevResult: json }), net1));
    succeeded(await node.runtime.exec("skylane", "DEL", node.config(), net1));
    pod.exec("ip", "link", "del", "eth0");
    assert.deepEqual(node.remains(), NOTHING);
  });

  it("gives the addresses, MAC and MTU that are asked for", async () => {
    const runtimeConfig = { ips: ["10.244.1.77/24", "fd00:10:244:1::77"], mac: "02:00:00:00:00:77" };
    const { json } = await call("ADD", { runtimeConfig, mtu: 1400 });
    assert.deepEqual(
      (json.ips as Json[]).map(({ address }) => address),
      ["10.244.1.77/32", "fd00:10:244:1::77/128"],
    );
    assert.deepEqual((json.interfaces as Json[])[1], {
      name: "eth0",
      mac: "02:00:00:00:00:77",
      mtu: 1400,
      sandbox: pod.path,
    });
    const other = node.sandbox("other");
    const second = { containerId: "c9", netns: other.path };
    failed(
      await node.runtime.exec("skylane", "ADD", node.config({ runtimeConfig }), second),
      11,
      /10\.244\.1\.77.*held by container c1/,
    );
    const outside = node.config({ args: { cni: { ips: ["192.0.2.9"] } } });
    failed(await node.runtime.exec("skylane", "ADD", outside, second), 7, /192\.0\.2\.9 is outside/);
    succeeded(await call("DEL"));
    assert.deepEqual(node.remains(), NOTHING);
  });

  it("takes addresses from the ranges that are asked for", async () => {
    const runtimeConfig = {
      ipRanges: [[{ subnet: "10.244.1.0/24", rangeStart: "10.244.1.100", rangeEnd: "10.244.1.101" }]],
    };
    const { json } = await call("ADD", { runtimeConfig });
    assert.match(String((json.ips as Json[])[0]?.address), /^10\.244\.1\.10[01]\/32$/);
    succeeded(await call("DEL"));
  });

  it("names the pod on its host end", async () => {
    const args =
      "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u";
    await call("ADD", {}, { env: { CNI_ARGS: args } });
    const [link] = node.ns.json("ip", "-j", "link", "show", node.hostLinks()[0] as string);
    assert.equal(link?.ifalias, "shop/web-0/eth0");
    succeeded(await call("DEL"));
  });

  it("takes the longest names that Kubernetes and the kernel allow", async () => {
    const args = `K8S_POD_NAMESPACE=${"n".repeat(63)};K8S_POD_NAME=${"p".repeat(253)}`;
    const long = { containerId: "c".repeat(1024), netns: pod.path, ifname: "i".repeat(15), args };
    const outcome = await node.runtime.exec("skylane", "ADD", node.config(), long);
    assert.equal(outcome.exitCode, 0, outcome.stdout);
    const [link] = node.ns.json("ip", "-j", "link", "show", node.hostLinks()[0] as string);
    assert.ok(String(link?.ifalias).startsWith(`${"n".repeat(63)}/ppp`), String(link?.ifalias));
    succeeded(await node.runtime.exec("skylane", "DEL", node.config(), long));
    assert.deepEqual(node.remains(), NOTHING);
  });

  it("says where it cannot keep its records, not what they are", async () => {
    const dataDir = join(node.dir, "file");
    writeFileSync(dataDir, "");
    const outcome = await call("ADD", { dataDir });
    failed(outcome, 5, /cannot record the attachment in .*\/file\/attachments\/default: ENOTDIR/);
    assert.doesNotMatch(outcome.stdout, /bootId/);
    assert.deepEqual(devicesIn(pod), []);
  });

  it("refuses a sandbox that is a FIFO without waiting for its writer, and removes what is left without it", async () => {
    const fifo = join(node.dir, "fifo");
    execFileSync("mkfifo", [fifo]);
    const wrong = { containerId: "c1", netns: fifo };
    failed(await node.runtime.exec("skylane", "ADD", node.config(), wrong), 4, /CNI_NETNS.*not a network namespace/);
    succeeded(await node.runtime.exec("skylane", "DEL", node.config(), wrong));
  });

  it("without published state ADD says what to wait for, STATUS answers 50, DEL works", async () => {
    await call("ADD");
    const file = join(node.dir, "default.json");
    const text = JSON.parse(readFileSync(file, "utf8")) as { podCidrs: string[] };
    rmSync(file);
    const other = { containerId: "c2", netns: node.sandbox().path };
    failed(
      await node.runtime.exec("skylane", "ADD", node.config(), other),
      11,
      /default\.json is not there yet.*skylane-agent/,
    );
    failed(await call("STATUS"), 50, /default\.json/);
    succeeded(await call("DEL"));
    assert.deepEqual(node.remains(), NOTHING);
    node.publish({ podCidrs: text.podCidrs });
  });

  it("STATUS is 51 without the overlay's device and 0 with it", async () => {
    failed(await call("STATUS"), 51, /sky\.4096.*missing or down/);
    node.addDevice();
    succeeded(await call("STATUS"));
  });

  it("exhaustion is 51 for ADD and STATUS, and nothing is left of the ADD that failed", async () => {
    const small = new TestNode(["10.244.9.0/30"]);
    try {
      small.addDevice();
      const sandboxes = [small.sandbox("a"), small.sandbox("b")] as const;
      const add = (i: 0 | 1) =>
        small.runtime.exec("skylane", "ADD", small.config(), { containerId: `c${i}`, netns: sandboxes[i].path });
      succeeded(await small.runtime.exec("skylane", "STATUS", small.config()));
      assert.equal((await add(0)).exitCode, 0);
      const before = small.remains();
      failed(await add(1), 51, /10\.244\.9\.0\/30/);
      assert.deepEqual(small.remains(), before);
      assert.deepEqual(devicesIn(sandboxes[1]), []);
      failed(await small.runtime.exec("skylane", "STATUS", small.config()), 51, /no free IPv4 address/);
    } finally {
      small.remove();
    }
  });

  describe("GC", () => {
    const attachment = (containerID: string) => ({ containerID, ifname: "eth0" });
    const sandboxes = new Map<string, TestNamespace>();
    beforeEach(async () => {
      for (const id of ["g1", "g2", "g3"]) {
        const ns = node.sandbox(id);
        sandboxes.set(id, ns);
        const outcome = await node.runtime.exec("skylane", "ADD", node.config(), { containerId: id, netns: ns.path });
        assert.equal(outcome.exitCode, 0, outcome.stdout);
      }
    });
    afterEach(async () => {
      succeeded(await call("GC", { "cni.dev/valid-attachments": [] }));
      assert.deepEqual(node.remains(), NOTHING);
    });
    const gc = (config: Json) => node.runtime.exec("skylane", "GC", node.config(config));
    const living = () => [...sandboxes].filter(([, ns]) => devicesIn(ns).length > 0).map(([id]) => id);

    it("keeps what is listed and frees the rest", async () => {
      succeeded(
        await gc({ "cni.dev/valid-attachments": [attachment("g2")], "cni.dev/attachments": [attachment("g2")] }),
      );
      assert.deepEqual(living(), ["g2"]);
      assert.equal(node.reserved().length, 2);
    });
    it("without a list frees nothing that may live", async () => {
      succeeded(await gc({}));
      assert.deepEqual(living(), ["g1", "g2", "g3"]);
    });
    it("touches no other network's attachments", async () => {
      succeeded(await gc({ name: "another", "cni.dev/valid-attachments": [] }));
      succeeded(await gc({ network: "another", "cni.dev/valid-attachments": [] }));
      assert.deepEqual(living(), ["g1", "g2", "g3"]);
    });
  });

  it("an answer that nobody can read is taken back", async () => {
    const child = node.ns.spawn(node.runtime.find("skylane"), [], {
      env: {
        CNI_COMMAND: "ADD",
        CNI_CONTAINERID: "c1",
        CNI_NETNS: pod.path,
        CNI_IFNAME: "eth0",
        PATH: process.env.PATH,
      },
      stdio: ["pipe", "pipe", "pipe"],
    });
    child.stdout?.destroy();
    let stderr = "";
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin?.end(JSON.stringify(node.config()));
    const [code] = (await once(child, "close")) as [number];
    assert.equal(code, 1);
    assert.match(stderr, /EPIPE.*taking everything back/);
    assert.deepEqual(node.remains(), NOTHING);
    assert.deepEqual(devicesIn(pod), []);
  });

  describe("afterwards", () => {
    it("writes a line for every verb", () => {
      const lines = readFileSync(join(node.dir, "cni-durations.jsonl"), "utf8").trimEnd().split("\n");
      const seen = lines.map((line) => JSON.parse(line) as { verb: string; result: string; ms: number });
      for (const verb of ["ADD", "DEL", "CHECK", "GC", "STATUS"])
        assert.ok(
          seen.some((one) => one.verb === verb),
          verb,
        );
      assert.ok(seen.every(({ ms }) => ms > 0));
      assert.ok(seen.some(({ result }) => result === "101") && seen.some(({ result }) => result === "ok"));
    });
  });
});
