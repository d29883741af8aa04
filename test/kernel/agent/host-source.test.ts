/** Host to pod on machines whose policy routing decides by source address, as nm-cloud-setup's does on clouds. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { eventually } from "../../support/eventually.ts";
import { BIN } from "../cni/node.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { Runtime } from "../support/runtime.ts";
import { Fabric, type TestNode } from "./harness.ts";

describe("the host's way to its pods", function () {
  this.timeout(180_000);
  let fabric: Fabric;
  let n1: TestNode;
  let pod: TestNamespace;
  let ips: string[];
  before(async () => {
    fabric = await Fabric.started();
    [n1] = await fabric.pair();
    // As nm-cloud-setup has them, for both families.
    for (const [family, ip, net, gateway] of [
      ["-4", "172.30.0.11", "172.30.0.0/24", "172.30.0.1"],
      ["-6", "fd30::11", "fd30::/64", "fd30::1"],
    ] as const) {
      n1.ns.exec("ip", family, "route", "add", net, "dev", "eth0", "table", "30200");
      n1.ns.exec("ip", family, "route", "add", "default", "via", gateway, "dev", "eth0", "table", "30200");
      n1.ns.exec("ip", family, "rule", "add", "priority", "30200", "from", ip, "lookup", "30200");
    }
    pod = testNamespace("host-source-pod");
    const dirs = { runDir: join(n1.dir, "run"), dataDir: join(n1.dir, "data") };
    const config = { cniVersion: "1.1.0", name: "skylane", type: "skylane", ...dirs };
    const runtime = new Runtime(n1.ns, [BIN]);
    const { json } = await runtime.exec("skylane", "ADD", config, { containerId: "c1", netns: pod.path });
    ips = (json["ips"] as { address: string }[]).map(({ address }) => address.slice(0, address.indexOf("/")));
  });
  after(async () => {
    await fabric.stop();
    pod.delete();
  });

  const reached = (): void => {
    for (const ip of ips) n1.ns.exec("ping", "-c", "1", "-W", "5", ip);
  };
  const sources = (): (string | undefined)[] =>
    ips.map((ip) => {
      const [route = {}] = n1.ns.json("ip", "-j", ip.includes(":") ? "-6" : "-4", "route", "show", ip);
      return route["prefsrc"] as string | undefined;
    });
  const OVERLAY = ["10.244.1.0", "fd00:10:244:1::"];

  it("names the overlay's address as source, which no rule for the node's address takes away", () => {
    assert.equal(ips.length, 2);
    assert.deepEqual(sources(), OVERLAY);
    reached();
  });

  it("is there again when the address has been away, and with it the routes that the kernel took", async () => {
    n1.ns.exec("ip", "link", "del", "sky.4096");
    await eventually(() => sources().join() === OVERLAY.join(), { timeoutMs: 60_000 });
    reached();
    n1.ns.exec("ip", "addr", "del", "10.244.1.0/32", "dev", "sky.4096");
    await eventually(() => sources().join() === OVERLAY.join(), { timeoutMs: 60_000 });
    reached();
  });

  it("is put right for pods of a release that named no source, and counts as nobody's change", async () => {
    await n1.stop();
    n1.log = "";
    for (const ip of ips) {
      const [{ dev } = {}] = n1.ns.json("ip", "-j", ip.includes(":") ? "-6" : "-4", "route", "show", ip);
      const family = ip.includes(":") ? "-6" : "-4";
      n1.ns.exec("ip", family, "route", "del", ip);
      n1.ns.exec("ip", family, "route", "add", ip, "dev", String(dev), "proto", "83", "scope", "link");
    }
    assert.deepEqual(sources(), [undefined, undefined]);
    n1.start();
    await eventually(() => sources().join() === OVERLAY.join(), { timeoutMs: 60_000 });
    reached();
    assert.ok(!n1.log.includes("had changed"), n1.log);
  });
});
