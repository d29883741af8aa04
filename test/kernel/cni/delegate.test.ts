import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { decodeConfig } from "../../../src/cni/spec/config.ts";
import { Delegate } from "../../../src/cni/delegate.ts";
import { CniError, CODE } from "../../../src/cni/index.ts";
import type { TestNamespace } from "../support/netns.ts";
import { type Outcome, Runtime } from "../support/runtime.ts";
import { BIN, devicesIn, missingPlugin, NOTHING, TestNode, VERSIONS } from "./node.ts";

type Json = Record<string, unknown>;

describe("delegated IPAM", () => {
  let node: TestNode;
  let pod: TestNamespace;
  before(() => {
    node = new TestNode(["10.0.0.0/8", "fd00::/16"]);
    pod = node.sandbox();
  });
  after(() => node.remove());

  function failed(outcome: Outcome, code: number, pattern: RegExp): void {
    assert.equal(outcome.exitCode, 1, outcome.stdout);
    assert.equal(outcome.json.code, code, outcome.stdout);
    assert.match(outcome.stdout, pattern);
  }
  const ok = (outcome: Outcome): void => assert.equal(outcome.exitCode, 0, outcome.stdout);

  describe("to the official host-local", () => {
    if (missingPlugin("host-local") !== undefined) {
      it("(skipped: host-local is not in /usr/lib/cni; install containernetworking-plugins)");
      return;
    }
    const store = () => join(node.dir, "host-local");
    const reserved = (): string[] =>
      existsSync(join(store(), "skylane"))
        ? readdirSync(join(store(), "skylane"))
            .filter((name) => /^[0-9a-f]+[.:]/.test(name))
            .sort()
        : [];
    const ipam = (more: Json = {}): Json => ({
      type: "host-local",
      dataDir: store(),
      ranges: [[{ subnet: "10.22.0.0/29" }], [{ subnet: "fd00:22::/64" }]],
      routes: [{ dst: "0.0.0.0/0" }, { dst: "198.51.100.0/24" }, { dst: "2001:db8:5::/48", gw: "fd00:22::99" }],
      ...more,
    });
    const call = (command: string, config: Json = {}, containerId = "c1", netns = pod.path): Promise<Outcome> =>
      node.runtime.exec("skylane", command, node.config({ ipam: ipam(), ...config }), { containerId, netns });

    for (const cniVersion of VERSIONS) {
      it(`${cniVersion}: its addresses and routes, through our gateways`, async () => {
        const outcome = await call("ADD", { cniVersion });
        ok(outcome);
        const { ips, routes, cniVersion: answered } = outcome.json as { [key: string]: Json[] };
        assert.equal(answered, cniVersion);
        assert.match(String(ips?.[0]?.address), /^10\.22\.0\.\d\/32$/);
        assert.match(String(ips?.[1]?.address), /^fd00:22::[0-9a-f]+\/128$/);
        assert.deepEqual(
          ips?.map(({ gateway }) => gateway),
          ["169.254.1.1", "fe80::1"],
        );
        assert.deepEqual(routes, [
          { dst: "0.0.0.0/0", gw: "169.254.1.1" },
          { dst: "::/0", gw: "fe80::1" },
          { dst: "198.51.100.0/24", gw: "169.254.1.1" },
          { dst: "2001:db8:5::/48", gw: "fe80::1" },
        ]);
        assert.match(pod.exec("ip", "route", "show"), /198\.51\.100\.0\/24 via 169\.254\.1\.1 dev eth0/);
        assert.match(pod.exec("ip", "-6", "route", "show"), /2001:db8:5::\/48 via fe80::1 dev eth0/);
        assert.equal(reserved().length, 2);
        assert.deepEqual(node.reserved(), []);
        if (cniVersion >= "0.4") {
          const check = await call("CHECK", { cniVersion, prevResult: outcome.json });
          assert.equal(check.exitCode, 0, check.stdout);
        }
        ok(await call("DEL", { cniVersion }));
        assert.deepEqual(reserved(), []);
        assert.deepEqual(node.remains(), NOTHING);
        ok(await call("DEL", { cniVersion }));
      });
    }

    it("its failure is passed through with context, and nothing is left", async () => {
      const broken = { ipam: ipam({ ranges: [[{ subnet: "10.22.0.0/33" }]] }) };
      failed(await call("ADD", broken), 999, /IPAM plugin \\"host-local\\": .*10\.22\.0\.0\/33/);
      assert.deepEqual(devicesIn(pod), []);
      // It refused DEL as well, so the record stays until it has been heard to give everything back.
      ok(await call("DEL"));
      assert.deepEqual(node.remains(), NOTHING);
    });

    it("CHECK misses a route that it gave", async () => {
      const { json } = await call("ADD");
      const check = () => call("CHECK", { prevResult: json });
      ok(await check());
      pod.exec("ip", "route", "del", "198.51.100.0/24");
      failed(await check(), 103, /no route 198\.51\.100\.0\/24 via 169\.254\.1\.1 on eth0/);
      pod.exec("ip", "-6", "route", "del", "2001:db8:5::/48");
      failed(await check(), 103, /198\.51\.100\.0.*no route 2001:db8:5::\/48 via fe80::1/);
      ok(await call("DEL"));
    });

    it("an address outside the node's pod CIDRs is refused by name, and given back", async () => {
      for (const ranges of [
        [[{ subnet: "198.18.0.0/24" }]],
        [[{ subnet: "10.22.0.0/29" }], [{ subnet: "fdaa::/64" }]],
      ]) {
        const foreign = { ipam: ipam({ ranges, routes: [] }) };
        failed(
          await call("ADD", foreign),
          104,
          /host-local\\" gave (198\.18\.0|fdaa::).*none of this node's pod CIDRs \(10\.0\.0\.0\/8/,
        );
        assert.deepEqual(reserved(), []);
        assert.deepEqual([devicesIn(pod), node.remains()], [[], NOTHING]);
      }
    });

    it("CHECK misses an address that is no longer reserved there", async () => {
      const { json } = await call("ADD");
      for (const name of reserved()) {
        rmSync(join(store(), "skylane", name));
      }
      failed(await call("CHECK", { prevResult: json }), 999, /IPAM plugin \\"host-local\\": .*c1/);
      ok(await call("DEL"));
    });

    it("its addresses are given back when our part of ADD fails", async () => {
      pod.exec("ip", "link", "add", "eth0", "type", "bridge");
      failed(await call("ADD"), 101, /not Skylane's/);
      assert.deepEqual(reserved(), []);
      assert.deepEqual(node.remains(), NOTHING);
      pod.exec("ip", "link", "del", "eth0");
    });

    it("exhaustion there is its own error, and leaves nothing", async () => {
      const one = {
        ipam: ipam({ ranges: [[{ subnet: "10.23.0.0/24", rangeStart: "10.23.0.9", rangeEnd: "10.23.0.9" }]] }),
      };
      ok(await call("ADD", one));
      const before = node.remains();
      failed(await call("ADD", one, "c2", node.sandbox().path), 999, /host-local.*no IP addresses available/);
      assert.deepEqual(node.remains(), before);
      ok(await call("DEL", one));
    });

    it("GC gives back there what is no longer valid, although it does not know GC itself", async () => {
      const other = node.sandbox();
      ok(await call("ADD"));
      ok(await call("ADD", {}, "c2", other.path));
      assert.equal(reserved().length, 4);
      ok(await call("GC", { "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }] }, ""));
      assert.equal(reserved().length, 2);
      assert.deepEqual(devicesIn(other), ["eth0"]);
      assert.deepEqual(devicesIn(pod), []);
      ok(await call("DEL", {}, "c2", other.path));
      assert.deepEqual(node.remains(), NOTHING);
      assert.deepEqual(reserved(), []);
    });

    it("STATUS asks for nothing that it does not know", async () => {
      node.addDevice();
      ok(await call("STATUS"));
    });
  });

  describe("to a plugin that misbehaves", () => {
    let runtime: Runtime;
    const log = () => readFileSync(join(node.dir, "calls"), "utf8").trim().split("\n");

    /** A plugin of the given behaviour, which notes its calls; a shell script is the shortest executable. */
    function install(body: string): void {
      const dir = join(node.dir, "plugins");
      mkdirSync(dir, { recursive: true });
      writeFileSync(join(node.dir, "calls"), "");
      const note = `echo "$CNI_COMMAND $CNI_CONTAINERID" >> ${join(node.dir, "calls")}`;
      writeFileSync(join(dir, "odd-ipam"), `#!/bin/sh\nconf=$(cat)\n${note}\n${body}\n`);
      chmodSync(join(dir, "odd-ipam"), 0o755);
      runtime = new Runtime(node.ns, [BIN, dir]);
    }
    const call = (command: string, config: Json = {}): Promise<Outcome> =>
      runtime.exec("skylane", command, node.config({ ipam: { type: "odd-ipam" }, ...config }), {
        containerId: "c1",
        netns: pod.path,
      });
    afterEach(() => {
      assert.deepEqual(node.remains(), NOTHING);
      assert.deepEqual(devicesIn(pod), []);
    });

    const cases: [string, string, number, RegExp][] = [
      ["fails without an error", "exit 3", 104, /exit status 3 and no CNI error/],
      ["prints nonsense", "echo hello", 104, /not JSON/],
      ["dies", "kill -9 $$", 104, /SIGKILL/],
      ["gives no address", `echo '{"cniVersion":"1.1.0"}'`, 104, /gave no address/],
      [
        "gives two of one family",
        `echo '{"ips":[{"address":"10.1.0.1/8"},{"address":"10.1.0.2/8"}]}'`,
        104,
        /10\.1\.0\.1, 10\.1\.0\.2/,
      ],
      ["gives no CIDR", `echo '{"ips":[{"address":"10.1.0.1; id"}]}'`, 104, /bad result.*address/],
      ["speaks an unknown version", `echo '{"cniVersion":"7.0.0","ips":[]}'`, 104, /7\.0\.0/],
      [
        "has its own error",
        `echo '{"cniVersion":"1.1.0","code":11,"msg":"no lease yet","details":"wait"}'; exit 1`,
        11,
        /odd-ipam\\": no lease yet/,
      ],
    ];
    for (const [what, body, code, pattern] of cases) {
      it(`${what}: the error says so, and its DEL is called`, async () => {
        install(`[ "$CNI_COMMAND" = DEL ] && exit 0\n${body}`);
        failed(await call("ADD"), code, pattern);
        assert.deepEqual(log(), ["ADD c1", "DEL c1"]);
      });
    }

    it("never ends: it is killed, and what it started is not waited for", async () => {
      install("sleep 15");
      const dir = join(node.dir, "plugins");
      const text = JSON.stringify(node.config({ ipam: { type: "odd-ipam" } }));
      const delegate = new Delegate(decodeConfig(text, "ADD"), { CNI_PATH: dir, PATH: process.env.PATH }, 300);
      await assert.rejects(delegate.add(), (error: unknown) => {
        assert.ok(error instanceof CniError && error.code === CODE.delegate);
        assert.match(error.message, /odd-ipam.*did not end within 0\.3 s/);
        return true;
      });
    });

    it("writes without end", async () => {
      install(`[ "$CNI_COMMAND" = DEL ] && exit 0\nyes`);
      failed(await call("ADD"), 104, /wrote more than/);
    });

    it("is told apart from one that is not installed", async () => {
      install("exit 0");
      failed(await call("ADD", { ipam: { type: "not-there" } }), 50, /\\"not-there\\" is not installed/);
      ok(await call("DEL", { ipam: { type: "not-there" } }));
    });

    it("DEL keeps the record until it has given its addresses back, and then ends well", async () => {
      const result = `{"ips":[{"address":"10.50.0.5/24"}],"dns":{"search":["from.ipam"]}}`;
      install(`case $CNI_COMMAND in ADD) echo '${result}';; DEL) [ -e ${node.dir}/broken ] && exit 1;; esac; exit 0`);
      const added = await call("ADD");
      ok(added);
      assert.deepEqual(added.json.dns, { search: ["from.ipam"] });
      writeFileSync(join(node.dir, "broken"), "");
      failed(await call("DEL"), 104, /container c1 interface eth0.*odd-ipam/);
      assert.equal((node.remains().attachments as string[]).length, 1);
      assert.deepEqual(devicesIn(pod), []);
      failed(await call("DEL", { ipam: { type: "not-there" } }), 50, /not installed/);
      rmSync(join(node.dir, "broken"));
      ok(await call("DEL"));
    });
  });
});
