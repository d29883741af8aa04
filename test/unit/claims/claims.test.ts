import assert from "node:assert/strict";
import { BlockError, newBlock } from "../../../src/ipam/blocks/index.ts";
import { ApiError } from "../../../src/kube/index.ts";
import { World } from "./world.ts";

const isKind = (kind: string, message: RegExp) => (error: unknown) => {
  assert.ok(error instanceof BlockError, String(error));
  assert.match(error.message, message);
  return error.kind === kind;
};
const DB = { namespace: "shop", podName: "db-0" };

describe("which claim a pod uses", () => {
  let world: World;
  const of = async (podName: string, claimName?: string, namespace = "shop") =>
    (await world.on("n1").forPod({ namespace, podName, ...(claimName !== undefined && { claimName }) }))?.claim;
  beforeEach(() => {
    world = new World();
    world.make("db", { podName: "db-0" });
    world.make("other", { network: "green", podName: "db-0" });
    world.make("spare");
  });

  it("is the one that its annotation names, otherwise the one that names it, in its namespace and network", async () => {
    assert.equal(await of("db-0"), `shop/db/${world.claim("db")?.uid}`);
    assert.equal(await of("db-0", "spare"), `shop/spare/${world.claim("spare")?.uid}`);
    assert.equal(await of("db-1"), undefined);
    assert.equal(await of("db-0", undefined, "else"), undefined);
  });

  it("is refused when it is missing, another network's, not the only one, or makes no sense", async () => {
    await assert.rejects(
      of("db-0", "none"),
      isKind("refused", /pod shop\/db-0 names IPClaim none, which does not exist/),
    );
    await assert.rejects(of("db-0", "other"), isKind("refused", /IPClaim other for network blue, .* of network green/));
    world.make("db-too", { podName: "db-0" });
    await assert.rejects(of("db-0"), isKind("refused", /named by 2 IPClaims of network blue, db and db-too/));
    world.make("wrong", { podName: "db-7", ips: ["x"] });
    await assert.rejects(of("db-7"), isKind("refused", /IPClaim shop\/wrong: spec\.ips\[0\]/));
    assert.equal(await of("db-8"), undefined, "another's nonsense is no concern");
  });

  it("is none where nobody has defined claims, and unknown where the server cannot say", async () => {
    const failing = (status: number) =>
      world.on("n1", {
        claims: { ...world.objects(), list: () => Promise.reject(new ApiError("GET ipclaims", status)) },
      });
    assert.equal(await failing(404).forPod(DB), undefined);
    await assert.rejects(failing(503).forPod(DB), isKind("unavailable", /pod shop\/db-0 has in network blue/));
    await assert.rejects(failing(403).forPod(DB), isKind("unavailable", /ClusterRole must allow it/));
  });
});

describe("what a claim gives", () => {
  it("is an address a family and a MAC address, on every node the same, until it is deleted", async () => {
    const world = new World();
    world.make("db", { podName: "db-0" });
    const first = await world.on("n1").forPod(DB);
    assert.equal(first?.ips.length, 2);
    assert.match(first.mac, /^.[26ae]:/, "locally administered, unicast");
    const { ips, mac } = world.claim("db")?.status ?? {};
    assert.deepEqual([ips, mac], [first.ips, first.mac]);
    assert.deepEqual(world.entries(), Object.fromEntries(first.ips.map((ip) => [ip, first.claim])));
    assert.deepEqual(await world.on("n2").forPod(DB), first);
    assert.deepEqual(await world.on("n2", { blockSize: 32, taken: async () => [] }).forPod(DB), first);
    world.make("web", { podName: "web-0" });
    const other = await world.on("n2").forPod({ namespace: "shop", podName: "web-0" });
    assert.ok(other?.ips.every((ip) => !first.ips.includes(ip)) && other.mac !== first.mac);
  });

  it("is what it asks for", async () => {
    const world = new World();
    world.make("db", { podName: "db-0", ips: ["10.1.0.77"], mac: "02:00:00:00:00:01" });
    const given = await world.on("n1").forPod(DB);
    assert.deepEqual([given?.ips[0], given?.mac], ["10.1.0.77", "02:00:00:00:00:01"]);
    assert.match(given?.ips[1] ?? "", /^fd00:1::/);
  });

  it("is refused with who has what it asks for", async () => {
    const world = new World();
    world.blocks.put(newBlock({ network: "blue", node: "n2", nodeUid: "u" }, "10.1.0.128/29", 8));
    world.blocks.put(newBlock({ network: "blue", node: "n3", nodeUid: "u" }, "10.1.0.160/28", 16));
    world.make("db", { podName: "db-0", ips: ["10.1.0.77"] });
    const n1 = world.on("n1", { taken: async () => [] });
    await n1.forPod(DB);
    const asks = (name: string, ip: string, kind: string, why: RegExp) => {
      world.make(name, { ips: [ip] });
      return assert.rejects(n1.forPod({ ...DB, claimName: name }), isKind(kind, why));
    };
    await asks("late", "10.1.0.77", "refused", /shop\/late .* 10\.1\.0\.77 .* IPClaim shop\/db has/);
    await asks("far", "10.9.0.1", "refused", /10\.9\.0\.1 in network blue, which is outside of its 10\.1\.0\.0\/24/);
    await asks("edge", "10.1.0.255", "refused", /10\.1\.0\.255 .* none that a pod of 10\.1\.0\.0\/24 can have/);
    await asks("node", "10.1.0.130", "refused", /block 10\.1\.0\.128\/29 is node n2's/);
    await asks("size", "10.1.0.170", "refused", /block 10\.1\.0\.160\/28 is node n3's/);
    const own = world.blocks.blocks().filter(({ node, cidr }) => node === "" && !cidr.includes(":"));
    assert.deepEqual(
      own.map(({ cidr }) => cidr),
      ["10.1.0.72/29"],
      "nothing is left of what was refused",
    );
  });

  it("is refused with who has the MAC address that it asks for, also where that one has not asked for it", async () => {
    const world = new World();
    const asks = (name: string, mac: string, inUse: (address: string) => boolean = () => false) => {
      world.make(name, { mac });
      return world.on("n2", { inUse }).forPod({ ...DB, claimName: name });
    };
    const mac = "02:00:00:00:00:07";
    assert.equal((await asks("first", mac))?.mac, mac);
    const before = world.entries();
    await assert.rejects(
      asks("second", "02-00-00-00-00-07"),
      isKind("refused", /shop\/second is to have 02:00:00:00:00:07 of network blue, which IPClaim shop\/first has/),
    );
    assert.deepEqual(world.entries(), before, "nothing is held for what was refused");
    assert.equal((await world.on("n1").forPod({ ...DB, claimName: "first" }))?.mac, mac, "the first one keeps it");
    world.make("green", { network: "green", mac });
    assert.equal((await world.on("n1", { network: "green" }).forPod({ ...DB, claimName: "green" }))?.mac, mac);

    world.make("any");
    const derived = (await world.on("n1").forPod({ ...DB, claimName: "any" }))?.mac ?? "";
    await assert.rejects(asks("copy", derived), isKind("refused", /shop\/copy .* IPClaim shop\/any has/));

    world.unmake("first");
    const inUse = (address: string) => address === mac;
    await assert.rejects(
      asks("second", mac, inUse),
      isKind("refused", /a pod still has, though its IPClaim shop\/first is gone/),
    );
    assert.deepEqual((await world.sweep(inUse)).includes(mac), false);
    assert.ok((await world.sweep()).includes(mac));
    assert.equal((await asks("second", mac))?.mac, mac);
  });

  it("is in the claim's own status where it is refused, with the words of the pod's event, once, and until it is not", async () => {
    const world = new World();
    const ask = (name: string) => world.on("n1").forPod({ ...DB, claimName: name });
    const ready = (name: string) => world.claim(name)?.status.ready;
    world.make("db", { ips: ["10.1.0.77"], mac: "02:00:00:00:00:01" });
    await ask("db");
    assert.deepEqual([ready("db")?.status, ready("db")?.reason], ["True", "Held"]);
    for (const [name, spec] of [
      ["ip", { ips: ["10.1.0.77"] }],
      ["mac", { mac: "02:00:00:00:00:01" }],
    ] as const) {
      world.make(name, spec);
      const error: unknown = await ask(name).catch((thrown: unknown) => thrown);
      assert.ok(error instanceof BlockError);
      assert.deepEqual(
        [ready(name)?.status, ready(name)?.reason, ready(name)?.message],
        ["False", "Refused", error.message],
      );
      assert.match(error.message, /IPClaim shop\/db has/);
      const version = world.claim(name)?.resourceVersion;
      await assert.rejects(ask(name));
      assert.equal(world.claim(name)?.resourceVersion, version, "nothing is written twice");
    }
    world.unmake("db");
    for (const name of ["ip", "mac"]) {
      await ask(name);
      assert.deepEqual([ready(name)?.status, ready(name)?.message], ["True", "it has its addresses"]);
    }
    world.make("late", { ips: ["10.1.0.77"] });
    world.blocks.fault = (verb) => (verb === "patch" ? "refused" : "none");
    await assert.rejects(
      ask("late"),
      isKind("refused", /IPClaim shop\/ip has.* \(the claim does not say so: cannot write/),
    );
  });

  it("has the MAC address of one of two that ask for it at once on two nodes", async () => {
    for (let n = 0; n < 20; n++) {
      const world = new World();
      const mac = "02:00:00:00:00:07";
      world.make("a", { mac });
      world.make("b", { mac });
      const both = ["a", "b"].map((name, i) => world.on(`n${i + 1}`).forPod({ ...DB, claimName: name }));
      const outcomes = await Promise.allSettled(both);
      assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
      assert.equal(world.claims().filter(({ status }) => status.mac === mac).length, 1);
    }
  });

  it("is what it asks for also beside blocks of another size", async () => {
    const world = new World();
    world.blocks.put(newBlock({ network: "blue", node: "n3", nodeUid: "u" }, "10.1.0.64/30", 4));
    world.make("near", { ips: ["10.1.0.70"] });
    world.make("db", { ips: ["10.1.0.77"] });
    world.make("far", { ips: ["10.1.0.74"] });
    const given = (name: string, blockSize: number) =>
      world.on("n1", { taken: async () => [], blockSize }).forPod({ ...DB, claimName: name });
    assert.equal((await given("near", 8))?.ips[0], "10.1.0.70");
    assert.equal((await given("db", 4))?.ips[0], "10.1.0.77");
    assert.equal((await given("far", 16))?.ips[0], "10.1.0.74");
    const made = world.blocks.blocks().map(({ cidr }) => cidr);
    assert.deepEqual(
      made.filter((cidr) => !cidr.includes(":")),
      ["10.1.0.64/30", "10.1.0.68/30", "10.1.0.76/30", "10.1.0.72/30"],
    );
  });

  it("does not change when what it asks for does", async () => {
    const world = new World();
    world.make("db", { podName: "db-0" });
    const given = await world.on("n1").forPod(DB);
    const change = (spec: object) =>
      world.on("n1", {
        claims: {
          ...world.objects(),
          list: async () =>
            (await world.objects().list()).map((one) => ({
              ...(one as object),
              spec: { ...(one as { spec: object }).spec, ...spec },
            })),
        },
      });
    await assert.rejects(
      change({ ips: ["10.1.0.77"] }).forPod(DB),
      isKind("refused", /asks for 10\.1\.0\.77 now; a claim keeps/),
    );
    await assert.rejects(
      change({ mac: "02:00:00:00:00:01" }).forPod(DB),
      isKind("refused", /asks for 02:.* now; a claim keeps/),
    );
    assert.deepEqual(await world.on("n1").forPod(DB), given);
  });

  it("survives that its block is deleted", async () => {
    const world = new World();
    world.make("db", { podName: "db-0" });
    const given = await world.on("n1").forPod(DB);
    for (const { name } of world.blocks.blocks()) world.blocks.remove(name);
    assert.deepEqual(await world.on("n2").forPod(DB), given);
    assert.deepEqual(Object.keys(world.entries()).sort(), given?.ips.toSorted());
  });

  it("is nobody else's while its block is deleted: the block comes back whole, whoever needs it first", async () => {
    const mac = "02:00:00:00:00:07";
    for (const asked of [{}, { ips: ["10.1.0.77"] }, { mac }, { ips: ["10.1.0.77", "fd00:1::77"], mac }]) {
      const world = new World();
      world.make("db", asked);
      world.make("web");
      const n1 = world.on("n1");
      const of = (name: string) => n1.forPod({ ...DB, claimName: name });
      const [db, web] = [await of("db"), await of("web")];
      const before = world.entries();
      const lose = (): void => {
        for (const { name } of world.blocks.blocks()) world.blocks.remove(name);
      };
      lose();
      world.make("new");
      const given = await of("new");
      assert.ok(given?.ips.every((ip) => before[ip] === undefined));
      lose();
      world.make("greedy", { ips: db?.ips.slice(0, 1) ?? [] });
      await assert.rejects(of("greedy"), isKind("refused", /shop\/greedy .* which IPClaim shop\/db has/));
      lose();
      world.make("mac", { mac });
      if ("mac" in asked) await assert.rejects(of("mac"), isKind("refused", /shop\/mac .* which IPClaim shop\/db has/));
      else await of("mac");
      assert.deepEqual([await of("db"), await of("web"), await of("new")], [db, web, given]);
      for (const [ip, holder] of Object.entries(before)) assert.equal(world.entries()[ip], holder, ip);
      assert.deepEqual(await world.sweep(), []);
    }
  });

  it("is finished by the next one after a crash between block and status", async () => {
    const world = new World();
    world.make("db", { podName: "db-0" });
    world.blocks.fault = (verb) => (verb === "patch" ? "lost" : "none");
    await assert.rejects(
      world.on("n1").forPod(DB),
      isKind("unavailable", /cannot write the status of IPClaim shop\/db/),
    );
    world.blocks.fault = () => "none";
    const entries = world.entries();
    const given = await world.on("n2").forPod(DB);
    assert.deepEqual([given?.ips.toSorted(), world.entries()], [Object.keys(entries).sort(), entries]);
  });

  it("goes to the claim that is made anew by its name, by a write that others notice", async () => {
    const world = new World();
    world.make("db", { podName: "db-0" });
    const first = await world.on("n1").forPod(DB);
    const versions = () => world.blocks.blocks().map(({ resourceVersion }) => resourceVersion);
    const before = versions();
    world.unmake("db");
    world.make("db", { podName: "db-0" });
    const second = await world.on("n1").forPod(DB);
    assert.deepEqual(second?.ips, first?.ips);
    assert.notEqual(second?.claim, first?.claim);
    assert.ok(versions().every((one) => !before.includes(one)));
    assert.deepEqual(new Set(Object.values(world.entries())), new Set([second?.claim]));
  });

  it("is another's once its claim is gone, unless a pod has it still", async () => {
    const world = new World();
    world.make("db", { podName: "db-0", ips: ["10.1.0.77"] });
    await world.on("n1").forPod(DB);
    world.unmake("db");
    world.make("web", { podName: "web-0", ips: ["10.1.0.77"] });
    const web = { namespace: "shop", podName: "web-0" };
    const inUse = (ip: string) => ip === "10.1.0.77";
    await assert.rejects(
      world.on("n1", { inUse }).forPod(web),
      isKind("refused", /10\.1\.0\.77 .* a pod still has, though its IPClaim shop\/db is gone/),
    );
    assert.equal((await world.on("n1").forPod(web))?.ips[0], "10.1.0.77");
  });

  it("comes from the lowest block with room; where there is none, from what belongs to claims that are gone; then from a new one", async () => {
    const world = new World();
    const n1 = world.on("n1", { cidrs: ["10.1.0.0/28"] });
    const take = async (name: string) => {
      world.make(name);
      return (await n1.forPod({ ...DB, claimName: name }))?.ips[0] ?? "";
    };
    const ips: string[] = [];
    for (let i = 0; i < 10; i++) ips.push(await take(`c${i}`));
    assert.equal(new Set(ips).size, 10);
    await assert.rejects(
      take("more"),
      isKind("exhausted", /no address left for IPClaim shop\/more: all 2 blocks of 10\.1\.0\.0\/28/),
    );
    world.unmake("c4");
    assert.equal((await n1.forPod({ ...DB, claimName: "more" }))?.ips[0], ips[4]);
  });

  it("does not make objects of more than 1,024 addresses", async () => {
    const world = new World();
    world.make("db", { podName: "db-0" });
    await world.on("n1", { cidrs: ["10.0.0.0/8"], blockSize: 65_536 }).forPod(DB);
    assert.match(world.blocks.blocks()[0]?.cidr ?? "", /\/22$/);
  });

  it("is swept up after its claim, with the block when it was the last", async () => {
    const world = new World();
    world.make("db", { podName: "db-0" });
    world.make("kept");
    const n1 = world.on("n1");
    const given = await n1.forPod(DB);
    const kept = await n1.forPod({ ...DB, claimName: "kept" });
    assert.deepEqual(await world.sweep(), []);
    world.unmake("db");
    assert.deepEqual(await world.sweep(() => true), []);
    assert.deepEqual((await world.sweep()).sort(), given?.ips.toSorted());
    assert.deepEqual(Object.keys(world.entries()).sort(), kept?.ips.toSorted());
    world.unmake("kept");
    await world.sweep();
    assert.deepEqual(world.blocks.blocks(), []);
  });

  it("is one address a family: a second entry, of two nodes that gave one at once, is freed", async () => {
    const world = new World();
    world.make("db", { podName: "db-0" });
    const n1 = world.on("n1", { cidrs: ["10.1.0.0/24"] });
    const given = await n1.forPod(DB);
    const [block] = world.blocks.blocks();
    const spare = block?.cidr.replace("/29", "").replace(/\d+$/, (last) => String(Number(last) + 5)) ?? "";
    const spec = { ...(block?.object.spec as object), addresses: { ...block?.addresses, [spare]: given?.claim } };
    assert.ok(block && !given?.ips.includes(spare));
    await world.blocks.client().replace({ ...block.object, spec });
    assert.deepEqual(await world.sweep(), [spare]);
    assert.deepEqual(await n1.forPod(DB), given);
  });
});

describe("a claim in use", () => {
  let world: World;
  let claim: string;
  const other = { namespace: "shop", podName: "db-1", claimName: "db" };
  beforeEach(async () => {
    world = new World();
    world.make("db", { podName: "db-0" });
    world.run("db-0", "n1");
    world.run("db-1", "n2");
    const given = await world.on("n1").forPod(DB);
    assert.ok(given && given.heldBy === undefined);
    claim = given.claim;
    await world.on("n1").use({ claim, pod: "db-0" });
    await world.on("n1").use({ claim, pod: "db-0" });
  });
  const user = () => [world.claim("db")?.status.node, world.claim("db")?.status.pod];
  const heldBy = async () => (await world.on("n2").forPod(other))?.heldBy;

  it("says so, to its own pod and to others", async () => {
    assert.deepEqual(user(), ["n1", "db-0"]);
    assert.equal((await world.on("n1").forPod(DB))?.heldBy, undefined);
    assert.deepEqual(await heldBy(), { node: "n1", pod: "db-0", alive: true });
    await assert.rejects(
      world.on("n2").use({ claim, pod: "db-1" }),
      isKind("inUse", /IPClaim shop\/db is in use by pod db-0 on node n1; it is free when that pod is gone/),
    );
    assert.deepEqual(user(), ["n1", "db-0"]);
  });

  it("goes to another pod where that one says from whom, as in a live migration", async () => {
    await assert.rejects(world.on("n2").use({ claim, pod: "db-1", from: { node: "n3", pod: "db-0" } }));
    await world.on("n2").use({ claim, pod: "db-1", from: { node: "n1", pod: "db-0" } });
    assert.deepEqual(user(), ["n2", "db-1"]);
  });

  for (const [end, happens] of [
    ["is gone", () => world.pods.delete("shop/db-0")],
    ["has ended", () => Object.assign(world.pods.get("shop/db-0") ?? {}, { finished: true })],
    ["was made anew", () => world.run("db-0", "n1")],
    ["has no Node any more", () => world.nodes.delete("n1")],
  ] as const) {
    it(`is free when its pod ${end}`, async () => {
      happens();
      assert.deepEqual(await heldBy(), { node: "n1", pod: "db-0", alive: false });
      await world.on("n2").use({ claim, pod: "db-1" });
      assert.deepEqual(user(), ["n2", "db-1"]);
    });
  }

  it("goes with a pod of the same name to its new node, and not back to the old one's late request", async () => {
    world.run("db-0", "n2");
    assert.deepEqual((await world.on("n2").forPod(DB))?.heldBy, { node: "n1", pod: "db-0", alive: false });
    await world.on("n2").use({ claim, pod: "db-0" });
    await assert.rejects(
      world.on("n1").use({ claim, pod: "db-0" }),
      isKind("refused", /not given to pod db-0 on node n1: the pod of that name is on node "n2"/),
    );
    assert.deepEqual(user(), ["n2", "db-0"]);
  });

  it("is not used for a late request of an earlier pod of the same name on the same node", async () => {
    const before = world.pods.get("shop/db-0")?.uid;
    world.run("db-0", "n1");
    await assert.rejects(
      world.on("n1").use({ claim, pod: "db-0", podUid: before }),
      isKind("refused", /the pod of that name is another one/),
    );
    await world.on("n1").use({ claim, pod: "db-0", podUid: world.pods.get("shop/db-0")?.uid });
  });

  it("is not used by a pod that got addresses of a claim that is deleted by now", async () => {
    world.unmake("db");
    world.make("db", { podName: "db-0" });
    await assert.rejects(
      world.on("n1").use({ claim, pod: "db-0" }),
      isKind("unavailable", /was deleted while pod db-0/),
    );
    assert.deepEqual(user(), [undefined, undefined]);
  });
});
