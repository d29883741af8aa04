/** Encryption between agents: what they tell each other, what is on the wire, nodes that are set otherwise, and a kernel that cannot. */
import assert from "node:assert/strict";
import { chmodSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { askAgent } from "../../../src/cli/agent/client.ts";
import type { EncryptedPeer } from "../../../src/dataplane/encryption/index.ts";
import { eventually } from "../../support/eventually.ts";
import { pings, reaches } from "../overlay/cluster.ts";
import { missingWireguard } from "../support/wireguard.ts";
import { Fabric, type TestNode } from "./harness.ts";

const why = missingWireguard();
const keyFile = (node: TestNode): string => join(node.dir, "data", "wireguard", "private-key");
const tables = (node: TestNode): string => node.ns.exec("nft", "list", "tables");

describe("an agent that is to encrypt, on a kernel without WireGuard", function () {
  if (why === undefined) {
    it("(skipped: this kernel has WireGuard)");
    return;
  }
  this.timeout(120_000);
  let fabric: Fabric;
  let n1: TestNode;
  before(async () => {
    fabric = await Fabric.started();
    n1 = fabric.node(1);
    await n1.register();
    n1.configure({ encryption: "strict" });
    n1.start();
  });
  after(() => fabric.stop());

  it("is not ready, says why, publishes no key, and keeps back what is in the clear", async () => {
    await eventually(
      async () => {
        const { ready, encryption } = await n1.status();
        const check = ready.checks.find(({ name }) => name === "encryption");
        return !ready.ready && check?.ok === false && /no WireGuard/.test(encryption?.message ?? "");
      },
      { timeoutMs: 60_000 },
    );
    await eventually(async () => (await fabric.vtepOf("n1")) !== undefined);
    assert.doesNotMatch((await fabric.vtepOf("n1")) ?? "", /wireguard/);
    assert.match(n1.ns.exec("nft", "list", "table", "inet", "skylane_encryption"), /hook output[^]*udp dport 4789/);
  });

  it("is as ever once it is switched off, and nothing of it is left", async () => {
    await n1.stop();
    n1.configure({ encryption: "off" });
    n1.start();
    await n1.ready();
    assert.doesNotMatch(tables(n1), /encryption/);
  });
});

describe("agents that encrypt", function () {
  if (why !== undefined) {
    it(`(skipped: ${why})`);
    return;
  }
  this.timeout(180_000);
  let fabric: Fabric;
  let n1: TestNode;
  let n2: TestNode;

  const seen = async (node: TestNode): Promise<EncryptedPeer | undefined> => (await node.status()).encryption?.peers[0];
  const becomes = (node: TestNode, state: EncryptedPeer["state"]): Promise<unknown> =>
    eventually(async () => (await seen(node))?.state === state, {
      timeoutMs: 60_000,
      message: `${node.name} says that the other one is ${state}`,
    });
  const wire = (): number => {
    const text = fabric.ns.exec("nft", "list", "table", "bridge", "wire");
    return Number(/udp dport 4789 counter packets (\d+)/.exec(text)?.[1]);
  };
  const newWire = (): void => {
    fabric.ns.exec("nft", "add table bridge wire; delete table bridge wire");
    fabric.ns.exec(
      "nft",
      "table bridge wire { chain c { type filter hook forward priority 0; udp dport 4789 counter; }; }",
    );
  };
  const vteps = (node: TestNode): string[] => node.podCidrs.map((cidr) => cidr.slice(0, cidr.indexOf("/")));
  const reachEachOther = async (): Promise<void> => {
    for (const [index, ip] of vteps(n2).entries()) await reaches(n1.ns, ip, "-I", vteps(n1)[index] as string);
  };
  async function restart(node: TestNode, encryption: string): Promise<void> {
    await node.stop();
    node.configure({ encryption });
    node.start();
    await node.ready([node === n1 ? "n2" : "n1"]);
  }

  before(async () => {
    fabric = await Fabric.started();
    [n1, n2] = [fabric.node(1), fabric.node(2)];
    newWire();
    for (const node of [n1, n2]) {
      node.configure({ encryption: "wireguard", fastPath: "auto" });
      await node.register();
      node.start();
    }
    await n1.ready(["n2"]);
    await n2.ready(["n1"]);
  });
  after(() => fabric.stop());

  it("tell each other their keys, and send nothing in the clear", async () => {
    for (const node of [n1, n2]) await becomes(node, "encrypted");
    newWire();
    await reachEachOther();
    assert.equal(wire(), 0);
    const { networks, fastPath } = await n1.status();
    assert.equal(networks[0]?.mtu, 1500 - 50 - 60);
    assert.match(fastPath?.message ?? "", /encrypted/);
  });

  it("keep their keys to themselves", async () => {
    const key = readFileSync(keyFile(n1), "utf8").trim();
    assert.equal(statSync(keyFile(n1)).mode & 0o777, 0o600);
    assert.ok(!JSON.stringify(await n1.status()).includes(key) && !n1.log.includes(key));
    assert.ok(!((await fabric.vtepOf("n1")) ?? "").includes(key));
    chmodSync(keyFile(n1), 0o644);
    await eventually(() => (statSync(keyFile(n1)).mode & 0o777) === 0o600);
    rmSync(keyFile(n1));
    await eventually(() => readFileSync(keyFile(n1), "utf8").trim() === key);
  });

  it("take a new key when they are told to, and the other node with it", async () => {
    const key = (await askAgent("/encryption/new-key", n1.socket, 5_000, "PUT")).trim();
    await eventually(async () => (await seen(n2))?.publicKey === key);
    for (const node of [n1, n2]) await becomes(node, "encrypted");
    await reachEachOther();
    assert.equal(wire(), 0);
  });

  it("put back the table of the packet filter", async () => {
    n1.ns.exec("nft", "delete", "table", "inet", "skylane_encryption");
    await eventually(() => tables(n1).includes("skylane_encryption"));
  });

  it("go on in the clear with a node that encrypts no longer, on which nothing is left", async () => {
    await restart(n2, "off");
    await becomes(n1, "plaintext");
    await reachEachOther();
    assert.ok(wire() > 0);
    assert.doesNotMatch(
      tables(n2) + n2.ns.exec("ip", "rule") + n2.ns.exec("ip", "link"),
      /encryption|51871|skylane-wg/,
    );
  });

  it("reach only nodes that encrypt where they are strict", async () => {
    await restart(n1, "strict");
    await becomes(n1, "blocked");
    newWire();
    assert.ok(!pings(n1.ns, vteps(n2)[0] as string));
    assert.equal(wire(), 0);
    assert.ok(!pings(n2.ns, vteps(n1)[0] as string));
    await restart(n2, "strict");
    for (const node of [n1, n2]) await becomes(node, "encrypted");
    await reachEachOther();
  });
});
