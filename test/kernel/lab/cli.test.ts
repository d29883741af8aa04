import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findBinDir } from "../../../lab/cluster/context.ts";
import { labBase } from "./support.ts";

interface Ended {
  status: number | null;
  out: string;
  err: string;
}

describe("skylanectl lab", () => {
  const base = labBase();

  /** Runs the real executable; `onOutput` may send it a signal meanwhile. */
  const ctl = (
    args: string[],
    onOutput?: (text: string, kill: (signal: NodeJS.Signals) => void) => void,
  ): Promise<Ended> =>
    new Promise((resolve, reject) => {
      const child = spawn(join(findBinDir(), "skylanectl"), args, {
        env: { ...process.env, SKYLANE_LAB_DIR: base() },
        stdio: ["ignore", "pipe", "pipe"],
      });
      const ended: Ended = { status: null, out: "", err: "" };
      child.stdout.on("data", (chunk: Buffer) => {
        ended.out += chunk.toString();
        onOutput?.(ended.out, (signal) => child.kill(signal));
      });
      child.stderr.on("data", (chunk: Buffer) => {
        ended.err += chunk.toString();
        onOutput?.(ended.err, (signal) => child.kill(signal));
      });
      child.once("error", reject);
      child.once("close", (status) => resolve({ ...ended, status }));
    });
  const json = async (...args: string[]): Promise<unknown> => {
    const { status, out, err } = await ctl([...args, "-o", "json"]);
    assert.equal(status, 0, err);
    return JSON.parse(out);
  };

  it("shows the demo, ends with status 0 and leaves nothing", async function () {
    this.timeout(600_000);
    const { status, out, err } = await ctl(["lab", "demo"]);
    assert.equal(status, 0, out + err);
    for (const shown of [
      /vxlan id 4096 local 172\.30\.0\.11 .*dstport 4789 nolearning/,
      /10\.244\.2\.0\/24 via 10\.244\.2\.0 .*onlink/,
      /fd00:10:244:3::\/64 via fd00:10:244:3:: .*onlink/,
      /10\.244\.2\.0 lladdr [0-9a-f:]{17} PERMANENT/,
      /[0-9a-f:]{17} dst 172\.30\.0\.12 self permanent/,
      /60 of 60 echo requests answered/,
      /VXLAN, flags \[I\] \(0x08\), vni 4096/,
      /32 MiB .* same/,
      /after its Node object appeared/,
      /node2 +device +sky\.4096/,
      /All 8 steps held/,
    ])
      assert.match(out, shown);
    assert.doesNotMatch(out, /LOST|NOT REPAIRED|DIFFERENT/);
    assert.equal(existsSync(join(base(), "demo")), false);
  });

  it("shows the demo of pod networks, ends with status 0 and leaves nothing", async function () {
    this.timeout(600_000);
    const { status, out, err } = await ctl(["lab", "demo", "networks"]);
    assert.equal(status, 0, out + err);
    for (const shown of [
      /^blue +5000 +Routed +10\.50\.0\.0\/27 .*\ngreen +5001 +Routed +10\.50\.0\.0\/27/m,
      /^blue1 +10\.50\.\S+ +blue2$/m,
      /^green1 +10\.50\.\S+ +green2$/m,
      /^green1 +fd50:\S+ +green2$/m,
      /of its own tenant +answered$/m,
      /of the other tenant +no answer$/m,
      /no answer; packets dropped on node1: [1-9]/,
      /^default +vm +lan +vm .* vm +node2$/m,
      /^default +vm +lan +vm .* vm +node3$/m,
      /dst 172\.30\.0\.12 [^]*dst 172\.30\.0\.13 /,
      /^longest gap +[\d.]+ m?s$/m,
      /^the connection +the same one throughout/m,
      /30 MiB sent, 30 MiB received, SHA-256 same/,
      /All 6 steps held/,
    ])
      assert.match(out, shown);
    assert.equal(existsSync(join(base(), "demo")), false);
    assert.equal((await ctl(["lab", "demo", "nothing"])).status, 2);
  });

  it("shows the demo of network policies, ends with status 0 and leaves nothing", async function () {
    this.timeout(600_000);
    const { status, out, err } = await ctl(["lab", "demo", "policy"]);
    assert.equal(status, 0, out + err);
    for (const shown of [
      /^stranger +database +5432 +answered$/m,
      /^back +database +5432 +no answer$/m,
      /^stranger +database2 +no answer\nback +database2 +answered$/m,
      /Verdict: +it is DENIED/,
      /isolated by NetworkPolicy default\/back-to-database, default\/deny-all/,
      /^ +NetworkPolicy default\/deny-all .* in force +2 /m,
      /after the policy went: none/,
      /audit mode would deny a packet.*policy="default deny by NetworkPolicy default\/front-stays-inside"/,
      /All 8 steps held/,
    ])
      assert.match(out, shown);
    assert.equal(existsSync(join(base(), "demo")), false);
  });

  it("shows the demo of functions, ends with status 0 and leaves nothing", async function () {
    this.timeout(600_000);
    const { status, out, err } = await ctl(["lab", "demo", "functions"]);
    assert.equal(status, 0, out + err);
    for (const shown of [
      /^a host outside +172\.30\.0\.11:8080 +web sees /m,
      /host port 8080\/tcp of this node is taken by pod default\/web/,
      /and with it the port: refused/,
      /^5M +[345]\.\d Mbit\/s\n20M +\d\d\.\d Mbit\/s$/m,
      /^others +with it +the host outside sees 172\.30\.0\.11$/m,
      /^payments +after the death of \w+, by \w+ +the host outside sees 172\.30\.0\.100$/m,
      /tunnels in the clear +0$|NOT SHOWN: this machine's kernel has no WireGuard/m,
      /All 4 steps held|3 of 4 steps held, and this kernel cannot show the others/,
    ])
      assert.match(out, shown);
    for (const name of ["demo", "demo-wg"]) assert.equal(existsSync(join(base(), name)), false);
  });

  it("cleans up after a demo that is interrupted, and ends with status 1", async () => {
    let told = false;
    const { status, out } = await ctl(["lab", "demo"], (text, kill) => {
      if (told || !/^3\. /m.test(text)) return;
      told = true;
      kill("SIGINT");
    });
    assert.equal(status, 1, out);
    assert.match(out, /FAILED: interrupted \(SIGINT\)/);
    assert.equal(existsSync(join(base(), "demo")), false);
  });

  it("does all that an operator does by hand, with JSON for scripts", async () => {
    const up = await ctl(["lab", "up", "--nodes", "2"]);
    assert.equal(up.status, 0, up.err);
    assert.match(up.err, /waiting until every node has every peer/);
    assert.match(up.out, /^node2 +ready +172\.30\.0\.12/m);
    try {
      assert.equal((await ctl(["lab", "up"])).status, 1);
      const [pod] = (await json("lab", "pod", "add", "node1")) as { name: string; ips: string[] }[];
      assert.equal(pod?.name, "n1-a");
      assert.equal(pod.ips.length, 2);
      await json("lab", "pod", "add", "2", "web");
      assert.equal((await ctl(["lab", "pod", "add", "2", "web"])).status, 1, "the name is taken");
      const echoes = (await json("lab", "ping")) as { rttMs?: number }[];
      assert.equal(echoes.filter(({ rttMs }) => rttMs !== undefined).length, 4);
      assert.equal((await ctl(["lab", "pod", "check"])).out, "n1-a: fine\nweb: fine\n");
      const drifts = (await json("lab", "drift", "node1", "--count", "5")) as { repairedMs?: number }[];
      assert.ok(drifts.length === 5 && drifts.every(({ repairedMs }) => repairedMs !== undefined));

      assert.equal((await ctl(["lab", "network", "add", "lan", "--bridged", "--cidr", "10.80.0.0/16"])).status, 0);
      const claim = ["lab", "claim", "add", "vm", "--network", "lan", "--pod", "vm", "--ip", "10.80.0.100"];
      assert.match((await ctl(claim)).out, /^default +vm +lan +vm +10\.80\.0\.100 +- +- +-$/m);
      assert.equal((await ctl(claim)).status, 1, "the name is taken");
      assert.equal((await ctl(["lab", "claim", "add", "other"])).status, 2, "no network");
      await json("lab", "pod", "add", "node1", "vm", "--network", "lan");
      const [held] = (await json("lab", "claim", "list")) as { ips: string[]; pod?: string; node?: string }[];
      assert.deepEqual([held?.ips, held?.pod, held?.node], [["10.80.0.100"], "vm", "node1"]);
      assert.equal((await ctl(["lab", "pod", "del", "vm"])).status, 0);
      assert.equal((await ctl(["lab", "claim", "remove", "vm"])).out, "vm is removed\n");
      assert.match((await ctl(["lab", "claim", "remove", "vm"])).err, /there is no claim "vm" in namespace "default"/);
      assert.equal((await ctl(["lab", "claim", "list"])).out, "no claims\n");

      const file = join(base(), "policy.yaml");
      const policyOf = (types: string): string =>
        `kind: NetworkPolicy\nmetadata: { name: closed }\nspec: { podSelector: {}, policyTypes: [${types}] }\n`;
      for (const [types, result] of [
        ["Ingress", "created"],
        ["Egress", "changed"],
      ] as const) {
        writeFileSync(file, policyOf(types));
        assert.match((await ctl(["lab", "policy", "apply", "-f", file])).out, new RegExp(`default +closed +${result}`));
      }
      assert.match((await ctl(["lab", "policy", "delete", "-f", file])).out, /closed +deleted/);
      assert.match((await ctl(["lab", "policy", "delete", "-f", file])).err, /no NetworkPolicy "default\/closed"/);
      writeFileSync(file, "kind: Pod\nmetadata: { name: p }\n");
      assert.match((await ctl(["lab", "policy", "apply", "-f", file])).err, /document 1 is no policy but a Pod/);
      assert.equal((await ctl(["lab", "policy", "apply"])).status, 2);
      // What is beside them is no lab.
      rmSync(file);

      assert.equal((await ctl(["lab", "exec", "node1", "--", "sh", "-c", "exit 42"])).status, 42);
      assert.equal((await ctl(["lab", "exec", "node1", "--", "hostname"])).out, "node1\n");
      assert.match((await ctl(["lab", "exec", "web", "--", "ip", "-br", "address"])).out, /eth0/);
      const own = await ctl(["lab", "exec", "node1", "--", join(findBinDir(), "skylanectl"), "status"]);
      assert.equal(own.status, 0, own.err);
      assert.match(own.out, /^Node: +node1$[^]*^node2 +programmed/m);
      assert.match((await ctl(["lab", "logs", "node1"])).out, /skylane-agent starts/);

      assert.equal((await ctl(["lab", "api", "fault", "away:200"])).status, 0);
      const fault = await ctl(["lab", "api", "fault", "status:500", "no-watch-list"]);
      assert.match(fault.out, /"code":500.*"watchList":false/);
      assert.equal((await ctl(["lab", "api", "fault", "lightning"])).status, 2);
      assert.match((await ctl(["lab", "api", "fault"])).out, /"rules":\[\]/);

      assert.equal((await ctl(["lab", "partition", "node2"])).status, 0);
      assert.match((await ctl(["lab", "status"])).out, /^node2 +ready, partitioned/m);
      assert.equal((await ctl(["lab", "ping"])).status, 1);
      assert.equal((await ctl(["lab", "heal"])).out, "node2 healed\n");
      assert.equal((await ctl(["lab", "node", "kill", "2"])).status, 0);
      assert.match((await ctl(["lab", "status"])).out, /^node2 +off/m);
      assert.match((await ctl(["lab", "exec", "2", "--", "true"])).err, /node2 is switched off/);
      assert.equal((await ctl(["lab", "node", "restart", "2"])).status, 0);
      assert.equal((await ctl(["lab", "node", "remove", "2"])).status, 0);
      assert.equal((await ctl(["lab", "pod", "del", "n1-a"])).status, 0);
      const { nodes, pods } = (await json("lab", "status")) as { nodes: unknown[]; pods: unknown[] };
      assert.deepEqual([nodes.length, pods.length], [1, 0]);
      assert.deepEqual(await json("lab", "list"), ["lab"]);
    } finally {
      const down = await ctl(["lab", "down"]);
      assert.match(down.out, /lab "lab" is down/);
    }
    assert.match((await ctl(["lab", "down"])).out, /there is no lab "lab"/);
  });
});
