/** Five agents that change their keys: all at once, with one that another does not reach by the next key, and with one that knows a single key. */
import assert from "node:assert/strict";
import { eventually } from "../../support/eventually.ts";
import { reaches } from "../overlay/cluster.ts";
import { missingWireguard } from "../support/wireguard.ts";
import { done, encrypt, encryption, pinging, put, vtep } from "./encryption-support.ts";
import { Fabric, type TestNode } from "./harness.ts";

const why = missingWireguard();

describe("many agents that change their keys", function () {
  if (why !== undefined) {
    it(`(skipped: ${why})`);
    return;
  }
  this.timeout(600_000);
  let fabric: Fabric;
  let nodes: TestNode[];
  const node = (number: number): TestNode => nodes[number - 1] as TestNode;
  const of = async (from: TestNode, to: TestNode) =>
    (await encryption(from)).peers.find((peer) => peer.node === to.name);
  /** Has the switch between the nodes drop what a rule says, and count what is in the clear. */
  const wire = (rule = ""): void => {
    fabric.ns.exec("nft", "add table bridge wire; delete table bridge wire");
    const rules = ["type filter hook forward priority 0", "udp dport 4789 counter", ...(rule === "" ? [] : [rule])];
    fabric.ns.exec("nft", `table bridge wire { chain c { ${rules.join("; ")}; }; }`);
  };
  const nothingInTheClear = (): void =>
    assert.match(fabric.ns.exec("nft", "list", "table", "bridge", "wire"), /udp dport 4789 counter packets 0 /);

  before(async () => {
    fabric = await Fabric.started();
    nodes = [1, 2, 3, 4, 5].map((number) => fabric.node(number));
    wire();
    await encrypt(nodes);
  });
  after(() => fabric.stop());

  it("go over without a node that knows one key alone, and say which it is", async () => {
    const [n1, n5] = [node(1), node(5)];
    // An agent of an earlier version publishes a key and no slot, and looks at no other. Its data path goes on.
    await n5.stop();
    const published = JSON.parse((await fabric.vtepOf("n5")) ?? "") as Record<string, { wireguard: object }>;
    const text = JSON.stringify(published, (key, value: unknown) => (key === "slot" ? undefined : value));
    assert.notEqual(text, JSON.stringify(published));
    await fabric.patchNode("n5", { metadata: { annotations: { "skylane.dev/vtep": text } } });
    const others = nodes.slice(0, 4);
    const end = pinging(others);
    const next = await put(n1, "rotate-key");
    await eventually(async () => (await of(n1, n5))?.rotation === "single");
    // By the key that it knows it is reached as ever, until that is forgotten.
    await reaches(n1.ns, vtep(n5), "-I", vtep(n1));
    await done(n1, next);
    assert.deepEqual(await end(), []);
    n5.start();
    await n5.ready(others.map(({ name }) => name));
    for (const other of others) await reaches(n5.ns, vtep(other), "-I", vtep(n5));
    for (const other of others) await reaches(other.ns, vtep(n5), "-I", vtep(other));
    nothingInTheClear();
  });

  it("lose no packet when all of them do at once", async () => {
    const end = pinging(nodes);
    const keys = new Map<TestNode, string>();
    for (const one of nodes) keys.set(one, await put(one, "rotate-key"));
    for (const [one, key] of keys) await done(one, key);
    for (const one of nodes)
      for (const other of nodes.filter((two) => two !== one))
        await eventually(async () => (await of(one, other))?.publicKey === keys.get(other));
    assert.deepEqual(await end(), []);
    nothingInTheClear();
  });

  it("wait for the one that is not reached by the next key, by name, and for no other", async () => {
    const [n1, n4] = [node(1), node(4)];
    const used = [await of(n1, n4), await of(n4, n1)].map((peer) => Number(peer?.endpoint?.split(":").at(-1)));
    const blocked = [51_871, 51_872, 51_873, 51_874].filter((port) => !used.includes(port));
    const both = `{ ${n1.ips[0]}, ${n4.ips[0]} }`;
    wire(`ip saddr ${both} ip daddr ${both} udp dport { ${blocked.join(", ")} } drop`);
    const end = pinging(nodes);
    const next = await put(n1, "rotate-key");
    const awaited = async () => (await encryption(n1)).rotation?.awaited ?? [];
    await eventually(async () => (await awaited()).map(({ node: name }) => name).join() === "n4", {
      timeoutMs: 120_000,
    });
    assert.match((await awaited())[0]?.why ?? "", /no handshake with the next key/);
    for (const other of nodes.slice(1))
      assert.equal((await of(n1, other))?.rotation, other === n4 ? "waits" : "next", other.name);
    wire();
    await done(n1, next);
    assert.deepEqual(await end(), []);
    nothingInTheClear();
  });
});
