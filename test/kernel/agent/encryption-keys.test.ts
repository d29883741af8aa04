/** Agents that change their keys: nothing is lost, and nothing is in the clear, whoever is killed, deaf, or changes its own meanwhile. */
import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { EncryptedPeer } from "../../../src/dataplane/encryption/index.ts";
import { eventually } from "../../support/eventually.ts";
import { reaches } from "../overlay/cluster.ts";
import { missingWireguard } from "../support/wireguard.ts";
import { done, encrypt, encryption, pinging, put, vtep } from "./encryption-support.ts";
import { Fabric, type TestNode } from "./harness.ts";

const why = missingWireguard();

const seen = async (node: TestNode): Promise<EncryptedPeer | undefined> => (await encryption(node)).peers[0];
const devices = (node: TestNode): string[] =>
  [...node.ns.exec("ip", "-br", "link").matchAll(/^skylane-wg\S*/gm)].map(([name]) => name).sort();

describe("agents that change their keys", function () {
  if (why !== undefined) {
    it(`(skipped: ${why})`);
    return;
  }
  // WireGuard gives up after 90 seconds; one of these waits for longer.
  this.timeout(600_000);
  let fabric: Fabric;
  let n1: TestNode;
  let n2: TestNode;

  const wire = (): string => fabric.ns.exec("nft", "list", "table", "bridge", "wire");
  const block = (ports: string): void => {
    fabric.ns.exec("nft", "add table bridge wire; delete table bridge wire");
    const rules = ["udp dport 4789 counter", ...(ports === "" ? [] : [`udp dport { ${ports} } drop`])];
    fabric.ns.exec(
      "nft",
      `table bridge wire { chain c { type filter hook forward priority 0; ${rules.join("; ")}; }; }`,
    );
  };
  const nothingInTheClear = (): void => assert.match(wire(), /udp dport 4789 counter packets 0 /);

  before(async () => {
    fabric = await Fabric.started();
    [n1, n2] = [fabric.node(1), fabric.node(2)];
    block("");
    await encrypt([n1, n2]);
  });
  after(() => fabric.stop());

  it("have one device each before", async () => {
    assert.deepEqual([devices(n1), devices(n2)], [["skylane-wg"], ["skylane-wg"]]);
    const { slot, keySeconds = -1 } = await encryption(n1);
    assert.ok(slot === 0 && keySeconds >= 0);
  });

  it("lose no packet, have a device for each lane meanwhile, and none too many afterwards", async () => {
    const end = pinging([n1, n2]);
    const before = await encryption(n1);
    const next = await put(n1, "rotate-key");
    assert.notEqual(next, before.publicKey);
    assert.equal(await put(n1, "rotate-key"), next, "one that goes on is left to go on");
    const file = join(n1.dir, "data", "wireguard", "keys.json");
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const secret = /"key":"([^"]+)"/.exec(readFileSync(file, "utf8"))?.[1] as string;
    assert.ok(!JSON.stringify(await n1.status()).includes(secret) && !n1.log.includes(secret));
    assert.match((await fabric.vtepOf("n1")) ?? "", /"wireguard"/);
    await eventually(async () => (await seen(n2))?.rotation === "next");
    await eventually(async () => (await seen(n1))?.rotation === "next");
    assert.deepEqual(
      [devices(n1), devices(n2)],
      [
        ["skylane-wg", "skylane-wg10"],
        ["skylane-wg", "skylane-wg01"],
      ],
    );
    await done(n1, next);
    await eventually(async () => (await seen(n2))?.publicKey === next && (await seen(n2))?.rotation === undefined);
    await eventually(() => devices(n1).join() === "skylane-wg10");
    assert.deepEqual(await end(), []);
    nothingInTheClear();
    assert.equal((await encryption(n1)).slot, 1);
  });

  it("lose none when both change them at once, and one is killed in between", async () => {
    const end = pinging([n1, n2]);
    const [next1, next2] = [await put(n1, "rotate-key"), await put(n2, "rotate-key")];
    await n1.stop("SIGKILL");
    n1.start();
    await n1.ready(["n2"]);
    await done(n1, next1);
    await done(n2, next2);
    assert.deepEqual(await end(), []);
    nothingInTheClear();
    assert.deepEqual([(await encryption(n1)).slot, (await encryption(n2)).slot], [0, 1]);
  });

  it("put back what somebody takes of the second lane", async () => {
    // n1 has slot 0 and goes over to 1, n2 has 1: the lanes are 01 and 11, and 11 is kept from coming up.
    block("51874");
    await put(n1, "rotate-key");
    await eventually(() => devices(n1).includes("skylane-wg11") && devices(n2).includes("skylane-wg11"));
    const back = (): string => n1.ns.exec("ip", "route", "show", "table", "51872");
    await eventually(() => /172\.30\.0\.12.*nexthop dev skylane-wg01.*nexthop dev skylane-wg11/s.test(back()));
    n1.ns.exec("ip", "route", "del", "172.30.0.12", "table", "51872");
    await eventually(() => /nexthop dev skylane-wg11/.test(back()));
    n1.ns.exec("ip", "link", "del", "skylane-wg11");
    await eventually(() => devices(n1).includes("skylane-wg11") && /nexthop dev skylane-wg11/.test(back()));
    n1.ns.exec("ip", "rule", "del", "pref", "829");
    await eventually(() => /829:.*lookup 51872/.test(n1.ns.exec("ip", "rule")));
    await reaches(n1.ns, vtep(n2), "-I", vtep(n1));
  });

  it("wait for a way that is blocked for longer than WireGuard tries by itself, lose nothing, and go on", async () => {
    const end = pinging([n1, n2]);
    await delay(100_000);
    const { rotation } = await encryption(n1);
    assert.deepEqual(
      rotation?.awaited.map(({ node }) => node),
      ["n2"],
    );
    assert.match(rotation?.awaited[0]?.why ?? "", /no handshake with the next key \(UDP to 172\.30\.0\.12 port 51874/);
    assert.equal((await seen(n1))?.rotation, "waits");
    block("");
    await done(n1, rotation?.publicKey ?? "");
    assert.deepEqual(await end(), []);
    nothingInTheClear();
  });

  it("revoke both keys by a new one", async () => {
    block("51871-51874");
    const before = await encryption(n1);
    const next = await put(n1, "rotate-key");
    const fresh = await put(n1, "new-key");
    block("");
    const after = await encryption(n1);
    assert.deepEqual([after.publicKey, after.slot, after.rotation], [fresh, before.slot, undefined]);
    assert.ok(fresh !== next && fresh !== before.publicKey);
    await eventually(async () => (await seen(n2))?.publicKey === fresh && (await seen(n2))?.state === "encrypted");
    await reaches(n1.ns, vtep(n2), "-I", vtep(n1));
    assert.doesNotMatch((await fabric.vtepOf("n1")) ?? "", /"next"/);
  });

  it("leave nothing of it where encryption is switched off in between", async () => {
    block("51871-51874");
    await put(n1, "rotate-key");
    await eventually(() => devices(n1).length > 1);
    await n1.stop();
    n1.configure({ encryption: "off" });
    n1.start();
    await eventually(() => devices(n1).length === 0);
    await eventually(() => !/83[09]:/.test(n1.ns.exec("ip", "rule")));
    for (const table of ["51871", "51872"])
      assert.equal(n1.ns.exec("sh", "-c", `ip route show table ${table} 2>/dev/null || true`).trim(), "");
  });
});

describe("agents that change their keys over IPv6", function () {
  if (why !== undefined) {
    it(`(skipped: ${why})`);
    return;
  }
  this.timeout(300_000);
  let fabric: Fabric;
  let n1: TestNode;
  let n2: TestNode;
  before(async () => {
    fabric = await Fabric.started();
    [n1, n2] = [fabric.node(1), fabric.node(2)];
    await encrypt([n1, n2], { underlay: { cidr: "fd30::/64" } });
  });
  after(() => fabric.stop());

  it("lose no packet either, one after the other", async () => {
    const end = pinging([n1, n2]);
    assert.match((await seen(n1))?.endpoint ?? "", /^\[fd30::12\]/);
    for (const node of [n1, n2]) {
      const next = await put(node, "rotate-key");
      await done(node, next);
    }
    assert.deepEqual(await end(), []);
    await eventually(() => devices(n1).join() === "skylane-wg10,skylane-wg11");
  });
});
