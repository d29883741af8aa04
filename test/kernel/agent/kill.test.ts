import assert from "node:assert/strict";
import { linkSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { formatRecord, ownerKey } from "../../../src/ipam/local/record.ts";
import { eventually } from "../../support/eventually.ts";
import { seededRandom } from "../../support/random.ts";
import { Fabric, type TestNode } from "./harness.ts";

const KILLS = 60;
const SEED = Number(process.env["SKYLANE_TEST_SEED"] ?? Date.now() % 100_000);

describe("an agent that ends", function () {
  this.timeout(300_000);
  let fabric: Fabric;
  let n1: TestNode;
  let n2: TestNode;
  before(async () => {
    fabric = await Fabric.started();
    [n1, n2] = await fabric.pair();
  });
  after(() => fabric.stop());

  it("and starts again costs no packet of a ping every millisecond", async () => {
    const ping = n1.ns.spawn("ping", ["-n", "-i", "0.001", "-W", "3", "-I", "10.244.1.0", "10.244.2.0"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    ping.stdout?.setEncoding("utf8").on("data", (text: string) => (said += text));
    await eventually(() => said.includes("icmp_seq="));
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await n1.stop(signal);
      n1.start();
      await n1.ready(["n2"]);
    }
    await n2.stop();
    n2.start();
    await n2.ready(["n1"]);
    const ended = new Promise((resolve) => ping.once("close", resolve));
    ping.kill("SIGINT");
    await ended;
    const answered = new Set(Array.from(said.matchAll(/icmp_seq=(\d+) /g), ([, sequence]) => Number(sequence)));
    const [first, last] = [Math.min(...answered), Math.max(...answered)];
    assert.ok(last > 500, `only ${last} packets were sent`);
    // Those after the last answer were under way when ping was told to end.
    const lost = Array.from({ length: last - first }, (_, n) => first + n).filter(
      (sequence) => !answered.has(sequence),
    );
    assert.deepEqual(lost, []);
  });

  it(`by kill -9 at ${KILLS} random moments leaves nothing that the next start does not put right (seed ${SEED})`, async () => {
    const wanted = n1.entries();
    const links = () =>
      n1.ns
        .json("ip", "-j", "link")
        .map(({ ifname }) => String(ifname))
        .sort()
        .join();
    const devices = links();
    const chance = seededRandom(SEED);
    await n1.stop("SIGKILL");
    for (let round = 0; round < KILLS; round++) {
      // Something to do for each start: a third of them find nothing of the overlay, the others half of it.
      if (round % 3 === 0) n1.ns.exec("ip", "link", "del", "sky.4096");
      else n1.ns.exec("ip", "route", "flush", "proto", "83");
      n1.start();
      await delay(chance() * 900);
      await n1.stop("SIGKILL");
      if (!links().includes("sky.4096"))
        n1.ns.exec("ip", "link", "add", "sky.4096", "type", "vxlan", "id", "9", "dstport", "4789");
    }
    n1.start();
    await n1.ready(["n2"]);
    assert.deepEqual(n1.entries(), wanted);
    assert.equal(links(), devices);
    assert.deepEqual(
      readdirSync(`${n1.dir}/run`).filter(
        (name) => !/^((agent|cni)\.sock|agent\.lock|default\.json|cni-durations\.jsonl)$/.test(name),
      ),
      [],
    );
    assert.deepEqual(readdirSync(`${n1.dir}/data/cache`).sort(), [
      "default.json",
      "multi-networkpolicies",
      "network-policies",
      "pod-networks",
    ]);
    assert.deepEqual(readdirSync(`${n1.dir}/conf`), ["10-skylane.conflist"]);
    assert.deepEqual(
      n1.ns
        .exec("nft", "list", "tables")
        .match(/inet skylane\S*/g)
        ?.sort(),
      ["inet skylane", "inet skylane_hostports"],
    );
    n1.ns.exec("ping", "-c", "1", "-W", "2", "-I", "10.244.1.0", "10.244.2.0");
  });

  it("counts what the CNI plugin did meanwhile, once", async () => {
    const line = (verb: string) => `${JSON.stringify({ verb, result: "ok", ms: 40, time: "2026-01-01T00:00:00Z" })}\n`;
    writeFileSync(`${n1.dir}/run/cni-durations.jsonl`, line("ADD") + line("ADD") + line("DEL"));
    await eventually(async () => {
      const { body } = await n1.get("/metrics");
      return body.includes('skylane_cni_duration_seconds_count{verb="ADD",result="ok",by="plugin"} 2');
    });
    await n1.stop("SIGKILL");
    n1.start();
    await n1.ready(["n2"]);
    assert.doesNotMatch((await n1.get("/metrics")).body, /skylane_cni_duration_seconds_count\{verb="ADD"/);
  });

  it("frees at its start the addresses of an earlier boot, and no other", async () => {
    await n1.stop();
    const ipam = `${n1.dir}/data/ipam/default`;
    for (const name of ["owners", "taken"]) mkdirSync(`${ipam}/${name}`, { recursive: true });
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    const reserve = (containerId: string, ip: string, bootId: string): void => {
      const owner = { containerId, ifname: "eth0" };
      const key = ownerKey(owner);
      symlinkSync(formatRecord({ owner, ips: [ip], since: Date.now(), uptime: 1, bootId }), `${ipam}/owners/${key}`);
      linkSync(`${ipam}/owners/${key}`, `${ipam}/taken/${ip}`);
    };
    reserve("before", "10.244.1.7", "00000000-0000-0000-0000-000000000000");
    reserve("since", "10.244.1.8", boot);
    n1.start();
    await n1.ready(["n2"]);
    await eventually(() => !readdirSync(`${ipam}/taken`).includes("10.244.1.7"));
    assert.deepEqual(readdirSync(`${ipam}/taken`), ["10.244.1.8"]);
  });
});
