/** A link that is too narrow for IPv6, as a VPN or a mistyped MTU makes it: who is named, and that it is over with it. */
import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../../support/eventually.ts";
import { BIN } from "../cni/node.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { type Outcome, Runtime } from "../support/runtime.ts";
import { Fabric, type TestNode } from "./harness.ts";

describe("an underlay that is too narrow for IPv6", function () {
  this.timeout(180_000);
  let fabric: Fabric;
  let n1: TestNode;
  let runtime: Runtime;
  let pod: TestNamespace;
  before(async () => {
    fabric = await Fabric.started();
    [n1] = await fabric.pair();
    runtime = new Runtime(n1.ns, [BIN]);
    pod = testNamespace("narrow-pod");
  });
  after(async () => {
    await fabric.stop();
    pod.delete();
  });

  const NAMES_THE_LINK =
    /1250 is under the 1280 bytes that IPv6 needs.*eth0 has an MTU of 1300; it must be 1330 at least/;
  const call = (verb: string): Promise<Outcome> => {
    const dirs = { runDir: join(n1.dir, "run"), dataDir: join(n1.dir, "data") };
    const config = { cniVersion: "1.1.0", name: "skylane", type: "skylane", ...dirs };
    return runtime.exec("skylane", verb, config, { containerId: "c1", netns: pod.path });
  };
  const deviceCheck = async (): Promise<{ ok: boolean; message: string } | undefined> =>
    (await n1.status()).ready.checks.find(({ name }) => name === "device");
  const narrowed = (): Promise<unknown> =>
    eventually(
      async () => (await deviceCheck())?.ok === false && readFileSync(n1.published, "utf8").includes("narrow"),
      {
        timeoutMs: 60_000,
      },
    );

  it("names the link to whoever asks: readiness, status, STATUS and ADD", async () => {
    n1.ns.exec("ip", "link", "set", "eth0", "mtu", "1300");
    await narrowed();
    assert.match((await deviceCheck())?.message ?? "", NAMES_THE_LINK);
    assert.match((await n1.status()).networks[0]?.error ?? "", NAMES_THE_LINK);
    for (const verb of ["STATUS", "ADD"]) {
      const { json } = await call(verb);
      assert.equal(json["code"], 51, verb);
      assert.match(String(json["msg"]), NAMES_THE_LINK, verb);
    }
  });

  it("keeps IPv4 meanwhile, and has IPv6 and pods again with the MTU", async () => {
    n1.ns.exec("ping", "-c", "1", "-W", "5", "-I", "10.244.1.0", "10.244.2.0");
    n1.ns.exec("ip", "link", "set", "eth0", "mtu", "1500");
    await n1.ready(["n2"]);
    n1.ns.exec("ping", "-c", "1", "-W", "5", "-I", "fd00:10:244:1::", "fd00:10:244:2::");
    const { exitCode, json } = await call("ADD");
    assert.equal(exitCode, 0, JSON.stringify(json));
    assert.equal((await call("DEL")).exitCode, 0);
  });

  it("makes its device all the same when it starts so, and says why pods wait", async () => {
    await n1.stop();
    n1.ns.exec("ip", "link", "set", "eth0", "mtu", "1300");
    n1.ns.exec("ip", "link", "del", "sky.4096");
    for (const file of [n1.conflist, n1.published]) rmSync(file, { force: true });
    n1.start();
    await eventually(async () => (await deviceCheck())?.ok === false, { timeoutMs: 60_000 });
    await eventually(() => n1.entries().some((line) => line.startsWith("10.244.2.0/24")), { timeoutMs: 60_000 });
    assert.match((await deviceCheck())?.message ?? "", NAMES_THE_LINK);
    assert.equal((await n1.get("/readyz")).status, 503);
    n1.ns.exec("ip", "link", "set", "eth0", "mtu", "1500");
    await n1.ready(["n2"]);
  });
});
