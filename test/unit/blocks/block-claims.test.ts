import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cidrsOverlap } from "../../../src/addr/index.ts";
import { type BlockClaimsOptions, BlockError, newBlock, readBlock } from "../../../src/ipam/blocks/index.ts";
import { Ipam, IpamTaken, type Owner } from "../../../src/ipam/local/index.ts";
import { FakeApi } from "./fake-api.ts";
import { ReservingBlocks } from "./reserving.ts";

const made: string[] = [];
function temporary(): string {
  const dir = mkdtempSync(join(tmpdir(), "skylane-claims-"));
  made.push(dir);
  return join(dir, "blue");
}
const owner = (n: number): Owner => ({ containerId: `container-${n}`, ifname: "net1" });

function node(api: FakeApi, name: string, more: Partial<Omit<BlockClaimsOptions, "ipam">> & { dir?: string } = {}) {
  const { dir = temporary(), ...options } = more;
  const ipam = new Ipam({ dir });
  const problems: string[] = [];
  const claims = new ReservingBlocks({
    network: "blue",
    cidrs: ["10.1.0.0/24", "fd00:1::/64"],
    blockSize: 8,
    node: name,
    nodeUid: () => `uid-${name}`,
    objects: api.client(),
    view: () => api.blocks(),
    taken: async () => api.blocks(),
    ipam,
    onProblem: (message) => problems.push(message),
    ...options,
  });
  return { claims, ipam, dir, problems };
}
const blocksOf = (api: FakeApi, name: string) =>
  api
    .blocks()
    .filter((block) => block.node === name)
    .map(({ cidr }) => cidr);
const isKind = (kind: string, message: RegExp) => (error: unknown) =>
  error instanceof BlockError && error.kind === kind && message.test(error.message);

describe("claiming blocks of a network", function () {
  this.timeout(20_000);
  after(() => {
    for (const dir of made) rmSync(dir, { recursive: true, force: true });
  });

  it("gets one block a family at the first address, the next one when they are full, and no other before", async () => {
    const api = new FakeApi();
    const { claims } = node(api, "n1");
    for (let n = 0; n < 5; n++) assert.equal((await claims.reserve(owner(n), {})).length, 2);
    assert.equal(claims.usable().length, 2);
    const before = api.requests.length;
    await claims.ensureRoom([6]);
    assert.deepEqual(
      api.requests.slice(before).filter((request) => request.startsWith("create")),
      [],
    );
    await claims.reserve(owner(5), {});
    assert.equal(claims.usable().filter((cidr) => cidr.includes(":")).length, 1);
    assert.equal(claims.usable().length, 3);
    assert.deepEqual(blocksOf(api, "n1").sort(), claims.usable().sort());
  });

  it("ties the block to the Node, also when that was deleted and made again", async () => {
    const api = new FakeApi();
    const { claims, dir } = node(api, "n1", { nodeUid: () => "first" });
    await claims.ensureRoom([4]);
    const [cidr] = claims.usable();
    const again = node(api, "n1", { nodeUid: () => "second", dir });
    await again.claims.resume();
    assert.deepEqual(again.claims.usable(), [cidr]);
    assert.deepEqual(
      [...api.objects.values()].map(({ metadata }) => metadata.ownerReferences),
      [[{ apiVersion: "v1", kind: "Node", name: "n1", uid: "second" }]],
    );
  });

  it("follows the Node that is registered again while the agent runs, also when the collector was quicker", async () => {
    const api = new FakeApi();
    let uid: string | undefined = "first";
    const { claims } = node(api, "n1", { nodeUid: () => uid });
    const ips = await claims.reserve(owner(1), {});
    const blocks = claims.usable();
    const owners = () => [...api.objects.values()].map(({ metadata }) => metadata.ownerReferences ?? []);
    uid = undefined;
    await claims.adopt();
    assert.deepEqual(owners(), [[], []], "with a Node that is gone they would be collected");
    api.remove(api.blocks().find(({ cidr }) => cidr === blocks[0])?.name ?? "");
    uid = "second";
    await claims.adopt();
    assert.deepEqual(claims.usable().sort(), blocks.sort());
    assert.deepEqual(blocksOf(api, "n1").sort(), blocks.sort());
    const second = [{ apiVersion: "v1", kind: "Node", name: "n1", uid: "second" }];
    assert.deepEqual(owners(), [second, second]);
    await claims.confirm(ips);
  });

  it("sees that an address is of a block that is there now, whatever the view shows", async () => {
    for (const thief of [false, true]) {
      const api = new FakeApi();
      const { claims } = node(api, "n1", { cidrs: ["10.1.0.0/24"], view: () => [] });
      const ips = await claims.reserve(owner(1), {});
      await claims.confirm(ips);
      const [block] = api.blocks();
      api.remove(block?.name ?? "");
      if (thief) api.put(newBlock({ network: "blue", node: "thief", nodeUid: "u" }, block?.cidr ?? "", 8));
      if (thief) await assert.rejects(claims.confirm(ips), isKind("unavailable", /is not this node's any more/));
      else await claims.confirm(ips);
      assert.deepEqual(claims.usable(), thief ? [] : [block?.cidr]);
    }
  });

  it("passes by what others have, and says so when nothing is left", async () => {
    const api = new FakeApi();
    const cidrs = ["10.1.0.0/27"];
    const nodes = ["n1", "n2", "n3", "n4"].map((name) =>
      node(api, name, { cidrs, view: () => [], taken: async () => [] }),
    );
    await Promise.all(nodes.map(({ claims }) => claims.ensureRoom([4])));
    const all = nodes.flatMap(({ claims }) => claims.usable()).sort();
    assert.deepEqual(all, ["10.1.0.0/29", "10.1.0.16/29", "10.1.0.24/29", "10.1.0.8/29"]);
    await assert.rejects(
      node(api, "n5", { cidrs }).claims.ensureRoom([4]),
      isKind("exhausted", /network blue has no free block left in 10\.1\.0\.0\/27: all of its 4 blocks of 8 addresses/),
    );
  });

  it("takes the block that a lost answer or a crash has left to it", async () => {
    const api = new FakeApi();
    const first = node(api, "n1");
    api.fault = (verb) => (verb === "create" ? "done" : "none");
    await first.claims.ensureRoom([4]);
    assert.deepEqual(first.claims.usable(), blocksOf(api, "n1"));

    api.fault = (verb) => (verb === "list" ? "lost" : "none"); // made, and dead before it was looked at
    await assert.rejects(first.claims.ensureRoom([6]), isKind("unavailable", /cannot see what else overlaps/));
    api.fault = () => "none";
    const again = node(api, "n1", { dir: first.dir, view: () => [], taken: async () => [] });
    await again.claims.ensureRoom([4, 6]);
    assert.deepEqual(again.claims.usable().sort(), blocksOf(api, "n1").sort());
    assert.equal(api.objects.size, 2);
  });

  it("says that the API is away, and goes on when it is back", async () => {
    const api = new FakeApi();
    const { claims } = node(api, "n1");
    api.fault = () => "lost";
    await assert.rejects(claims.reserve(owner(1), {}), isKind("unavailable", /network blue.*no complete answer/));
    api.fault = () => "none";
    assert.equal((await claims.reserve(owner(1), {})).length, 2);
  });

  it("counts a block of another size as taken, known or not", async () => {
    const api = new FakeApi();
    const cidrs = ["10.1.0.0/28"];
    api.put(newBlock({ network: "blue", node: "other", nodeUid: "u" }, "10.1.0.8/30", 4));
    const { claims } = node(api, "n1", { cidrs, view: () => [], taken: async () => [] });
    await claims.ensureRoom([4]);
    assert.deepEqual(claims.usable(), ["10.1.0.0/29"]);
    await assert.rejects(
      node(api, "n2", { cidrs, view: () => [], taken: async () => [] }).claims.ensureRoom([4]),
      isKind("exhausted", /2 blocks/),
    );
    assert.deepEqual(blocksOf(api, "n2"), [], "what had to yield is gone");
  });

  it("gives an empty block back, but neither the first nor the only empty one", async () => {
    const api = new FakeApi();
    const { claims, ipam } = node(api, "n1", { cidrs: ["10.1.0.0/24"] });
    for (let n = 0; n < 15; n++) await claims.reserve(owner(n), {});
    const [first, second, third] = claims.usable() as [string, string, string];
    assert.deepEqual(await claims.releaseSurplus(), [], "not empty");
    for (let n = 10; n < 15; n++) ipam.release(owner(n));
    assert.deepEqual(await claims.releaseSurplus(), [], "the spare one");
    for (let n = 0; n < 10; n++) ipam.release(owner(n));
    assert.deepEqual(await claims.releaseSurplus(), [third, second]);
    assert.deepEqual([claims.usable(), blocksOf(api, "n1")], [[first], [first]]);
    assert.deepEqual(await claims.leave(), []);
    assert.equal(api.objects.size, 0);
  });

  it("keeps what is in use when the node leaves", async () => {
    const api = new FakeApi();
    const { claims, ipam } = node(api, "n1", { cidrs: ["10.1.0.0/24"] });
    await claims.reserve(owner(1), {});
    assert.deepEqual(await claims.leave(), claims.usable());
    ipam.release(owner(1));
    assert.deepEqual(await claims.leave(), []);
  });

  it("never gives from a block again whose deletion may still be done, and deletes it after a restart", async () => {
    const api = new FakeApi();
    const { claims, dir } = node(api, "n1", { cidrs: ["10.1.0.0/29"] });
    await claims.ensureRoom([4]);
    const [old] = api.blocks();
    api.fault = (verb) => (verb === "delete" ? "late" : "none");
    await assert.rejects(claims.leave(), isKind("unavailable", /cannot give back block 10\.1\.0\.0\/29/));
    assert.deepEqual(claims.usable(), []);

    api.fault = () => "none";
    const again = node(api, "n1", { cidrs: ["10.1.0.0/29"], dir });
    const ips = await again.claims.reserve(owner(1), {});
    api.deliverAll();
    assert.equal(ips.length, 1);
    assert.deepEqual(blocksOf(api, "n1"), ["10.1.0.0/29"], "the late deletion hits nothing");
    assert.notEqual(api.blocks()[0]?.uid, old?.uid);
  });

  it("claims a block back that was deleted under its pods, and names the one who has it otherwise", async () => {
    const api = new FakeApi();
    const { claims, problems, dir } = node(api, "n1", { cidrs: ["10.1.0.0/24"] });
    const [ip] = await claims.reserve(owner(1), {});
    await claims.resume();
    const [block] = api.blocks();
    api.remove(block?.name ?? "");
    await claims.resume();
    assert.deepEqual(blocksOf(api, "n1"), [block?.cidr]);
    assert.deepEqual(problems, []);

    api.remove(block?.name ?? "");
    api.put(newBlock({ network: "blue", node: "thief", nodeUid: "u" }, block?.cidr ?? "", 8));
    const again = node(api, "n1", { cidrs: ["10.1.0.0/24"], dir });
    await again.claims.resume();
    await again.claims.resume();
    assert.deepEqual(again.claims.usable(), []);
    assert.equal(again.problems.length, 1, "told once");
    assert.match(again.problems.join(), new RegExp(`address ${ip} of container container-1 .* of node thief`));
  });

  it("lets the older of two overlapping blocks win, whoever looks first", async () => {
    for (const late of [0, 1, 2, 3]) {
      const api = new FakeApi();
      const cidrs = ["10.1.0.0/28"];
      const small = node(api, "small", { cidrs, blockSize: 8, view: () => [], taken: async () => [] });
      const large = node(api, "large", { cidrs, blockSize: 16, view: () => [], taken: async () => [] });
      let turn = 0;
      api.meanwhile = async () => {
        for (let i = 0; i < ((turn++ + late) % 4) * 2; i++) await Promise.resolve();
      };
      await Promise.allSettled([small.claims.ensureRoom([4]), large.claims.ensureRoom([4])]);
      const [mine, theirs] = [small.claims.usable(), large.claims.usable()];
      assert.ok(!mine.some((a) => theirs.some((b) => cidrsOverlap(a, b))), `${mine.join()} and ${theirs.join()}`);
      assert.equal(mine.length + theirs.length > 0, true, "one of them has it");
    }
  });

  it("leaves a claim's address to the address management and asks for no block of its family", async () => {
    const api = new FakeApi();
    const { claims } = node(api, "n1");
    assert.deepEqual(await claims.reserve(owner(1), { claimed: true, ips: ["10.1.0.99", "fd00:1::99"] }), [
      "10.1.0.99",
      "fd00:1::99",
    ]);
    assert.equal(api.objects.size, 0);
    await assert.rejects(claims.reserve(owner(2), { claimed: true, ips: ["10.1.0.99", "fd00:1::98"] }), IpamTaken);
  });

  it("reads no block that is malformed", () => {
    const good = newBlock({ network: "blue", node: "n1", nodeUid: "u" }, "10.1.0.0/29", 8);
    const metadata = { ...good.metadata, uid: "u", resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z" };
    assert.equal(readBlock({ ...good, metadata }).cidr, "10.1.0.0/29");
    assert.throws(() => readBlock({ ...good, metadata, spec: { network: "blue", node: "n1", cidr: "10.1.0.1/29" } }));
    assert.throws(() => readBlock({ ...good, metadata, spec: { network: "blue", node: "n1" } }));
  });
});
