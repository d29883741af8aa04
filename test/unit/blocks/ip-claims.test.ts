import assert from "node:assert/strict";
import fc from "fast-check";
import { cidrContains } from "../../../src/addr/index.ts";
import { ApiError } from "../../../src/kube/index.ts";
import {
  BlockError,
  ClaimAddresses,
  type ClaimObjects,
  claimOf,
  IpClaims,
  newBlock,
} from "../../../src/blocks/index.ts";
import { parseIPClaim } from "../../../src/networks/index.ts";
import { FakeApi, randomOf } from "./fake-api.ts";

interface StoredClaim {
  metadata: Record<string, string>;
  spec: Record<string, unknown>;
  status: Record<string, unknown>;
}

/** Claims, pods and nodes beside the blocks. */
class World {
  readonly blocks = new FakeApi();
  readonly claims = new Map<string, StoredClaim>();
  readonly pods = new Map<string, { uid: string; node: string }>();
  readonly nodes = new Set(["n1", "n2"]);
  fault: () => "none" | "lost" | "done" = () => "none";
  #version = 0;

  make(name: string, spec: object = {}): void {
    const version = String(++this.#version);
    this.claims.set(`shop/${name}`, {
      metadata: {
        namespace: "shop",
        name,
        uid: `u${version}`,
        resourceVersion: version,
        creationTimestamp: "2026-01-01T00:00:00Z",
      },
      spec: { network: "blue", ...spec },
      status: {},
    });
  }

  parsed = () => [...this.claims.values()].map(parseIPClaim);

  objects(): ClaimObjects {
    return {
      get: async (namespace, name) => {
        await this.blocks.meanwhile();
        return structuredClone(this.claims.get(`${namespace}/${name}`));
      },
      patchStatus: async (namespace, name, status, version) => {
        await this.blocks.meanwhile();
        const fault = this.fault();
        const claim = this.claims.get(`${namespace}/${name}`);
        if (fault === "lost") throw new ApiError("PATCH", 0, { message: "no answer" });
        if (claim === undefined) throw new ApiError("PATCH", 404, { reason: "NotFound" });
        if (claim.metadata["resourceVersion"] !== version) throw new ApiError("PATCH", 409, { reason: "Conflict" });
        claim.metadata["resourceVersion"] = String(++this.#version);
        for (const [key, value] of Object.entries(status)) {
          if (value === null) delete claim.status[key];
          else claim.status[key] = value;
        }
        if (fault === "done") throw new ApiError("PATCH", 0, { message: "no answer" });
        return claim;
      },
      pod: (namespace, name) => Promise.resolve(this.pods.get(`${namespace}/${name}`)),
      nodeExists: (name) => Promise.resolve(this.nodes.has(name)),
    };
  }

  on(node: string, cidrs = ["10.1.0.0/24", "fd00:1::/64"]): IpClaims {
    const objects = this.blocks.client();
    const view = () => this.blocks.blocks();
    const addresses = new ClaimAddresses({ network: "blue", cidrs, blockSize: 8, objects, view });
    return new IpClaims({ network: "blue", node, objects: this.objects(), addresses });
  }

  held = () => Object.assign({}, ...this.blocks.blocks().map(({ addresses }) => addresses)) as Record<string, string>;
}

const isKind = (kind: string, message: RegExp) => (error: unknown) =>
  error instanceof BlockError && error.kind === kind && message.test(error.message);

describe("which claim a pod uses", () => {
  const world = new World();
  world.make("db", { podName: "db-0" });
  world.make("other", { network: "green", podName: "db-0" });
  world.make("spare");
  const of = (name: string, named?: string) =>
    claimOf(world.parsed(), "blue", { namespace: "shop", name }, named)?.name;

  it("is the one that its annotation names, otherwise the one that names it, in its namespace and network", () => {
    assert.equal(of("db-0"), "db");
    assert.equal(of("db-0", "spare"), "spare");
    assert.equal(of("db-1"), undefined);
    assert.equal(claimOf(world.parsed(), "blue", { namespace: "else", name: "db-0" }), undefined);
  });

  it("is refused when it is missing, another network's, or not the only one", () => {
    assert.throws(
      () => of("db-0", "none"),
      isKind("refused", /pod shop\/db-0 names IPClaim none, which does not exist/),
    );
    assert.throws(() => of("db-0", "other"), isKind("refused", /is of network green, not blue/));
    world.make("db-too", { podName: "db-0" });
    assert.throws(() => of("db-0"), isKind("refused", /named by IPClaims db, db-too/));
  });
});

describe("a claim in use", function () {
  this.timeout(20_000);

  it("gets an address a family and a MAC address at first use, and keeps them", async () => {
    const world = new World();
    world.make("db");
    const first = await world.on("n1").attach("shop", "db", { name: "db-0" });
    assert.equal(first.ips.length, 2);
    assert.deepEqual(world.claims.get("shop/db")?.status, { ...first, node: "n1", pod: "db-0" });
    assert.deepEqual(Object.keys(world.held()).sort(), [...first.ips].sort());
    assert.deepEqual(await world.on("n1").attach("shop", "db", { name: "db-0" }), first);
    await world.on("n1").detach("shop", "db", "db-0");
    assert.equal(world.claims.get("shop/db")?.status["node"], undefined);
    assert.deepEqual(await world.on("n2").attach("shop", "db", { name: "db-1" }), first);
    await world.on("n1").detach("shop", "db", "db-1");
    assert.equal(world.claims.get("shop/db")?.status["node"], "n2", "only its own user ends the use");
  });

  it("has what it asks for, or is told why not", async () => {
    const world = new World();
    world.make("db", { ips: ["10.1.0.77"], mac: "02:00:00:00:00:01" });
    world.make("late", { ips: ["10.1.0.77"] });
    world.make("far", { ips: ["10.9.0.1"] });
    world.make("edge", { ips: ["10.1.0.255"] });
    world.make("node", { ips: ["10.1.0.130"] });
    world.blocks.put(newBlock({ network: "blue", node: "n2", nodeUid: "u" }, "10.1.0.128/29", 8));
    const n1 = world.on("n1");
    const { ips, mac } = await n1.attach("shop", "db", { name: "db-0" });
    assert.deepEqual([ips[0], mac], ["10.1.0.77", "02:00:00:00:00:01"]);
    const pod = { name: "p" };
    await assert.rejects(n1.attach("shop", "late", pod), isKind("refused", /10\.1\.0\.77, which claim shop\/db holds/));
    await assert.rejects(n1.attach("shop", "far", pod), isKind("refused", /10\.9\.0\.1, which is outside/));
    await assert.rejects(n1.attach("shop", "edge", pod), isKind("refused", /10\.1\.0\.255, which is kept back/));
    await assert.rejects(n1.attach("shop", "node", pod), isKind("refused", /in block 10\.1\.0\.128\/29 of node n2/));
    await assert.rejects(n1.attach("shop", "none", pod), isKind("refused", /shop\/none does not exist/));
  });

  it("yields to an older block of another size that nobody here knew of", async () => {
    const world = new World();
    world.make("db", { ips: ["10.1.0.130"] });
    world.blocks.put(newBlock({ network: "blue", node: "n2", nodeUid: "u" }, "10.1.0.128/28", 16));
    await assert.rejects(world.on("n1").attach("shop", "db", { name: "p" }), isKind("refused", /of node n2/));
    assert.deepEqual(
      world.blocks.blocks().map(({ cidr }) => cidr),
      ["10.1.0.128/28"],
    );
  });

  it("is refused to others until the pod that has it is gone, runs elsewhere, or its node is gone", async () => {
    const world = new World();
    world.make("db");
    world.pods.set("shop/db-0", { uid: "a", node: "n1" });
    const given = await world.on("n1").attach("shop", "db", { name: "db-0" });
    const other = () => world.on("n2").attach("shop", "db", { name: "db-1" });
    await assert.rejects(other(), isKind("inUse", /in use by pod db-0 on node n1; it is free when that pod is gone/));
    world.nodes.delete("n1");
    assert.deepEqual(await other(), given);

    world.nodes.add("n1");
    world.pods.set("shop/db-1", { uid: "b", node: "n2" });
    await assert.rejects(world.on("n1").attach("shop", "db", { name: "db-0" }), isKind("inUse", /db-1 on node n2/));
    world.pods.delete("shop/db-1");
    assert.deepEqual(await world.on("n1").attach("shop", "db", { name: "db-0" }), given);
  });

  it("goes with a pod of the same name to its new node, and not back to the old one's late ADD", async () => {
    const world = new World();
    world.make("db");
    const given = await world.on("n1").attach("shop", "db", { name: "db-0", uid: "a" });
    world.pods.set("shop/db-0", { uid: "b", node: "n2" });
    assert.deepEqual(await world.on("n2").attach("shop", "db", { name: "db-0", uid: "b" }), given);
    await assert.rejects(world.on("n1").attach("shop", "db", { name: "db-0", uid: "a" }), isKind("refused", /is gone/));
  });

  it("frees its addresses when it is deleted and no pod has them", async () => {
    const world = new World();
    world.make("db");
    world.make("kept");
    const n1 = world.on("n1");
    const { ips } = await n1.attach("shop", "db", { name: "db-0" });
    const kept = await n1.attach("shop", "kept", { name: "kept-0" });
    assert.deepEqual(await n1.sweep(() => false), []);
    world.claims.delete("shop/db");
    assert.deepEqual(await n1.sweep((ip) => ips.includes(ip)), []);
    const freed = [await n1.sweep(() => false), await world.on("n2").sweep(() => false)];
    assert.deepEqual(freed[0]?.sort(), [...ips].sort());
    assert.deepEqual(freed[1], []);
    assert.deepEqual(Object.keys(world.held()).sort(), [...kept.ips].sort());
  });

  it("is one node's, and no address two claims', over any interleaving and lost answers", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), async (seed) => {
        const random = randomOf(seed);
        const world = new World();
        for (const name of ["a", "b", "c", "d", "e", "f"]) world.make(name);
        world.pods.set("shop/on-n1", { uid: "1", node: "n1" });
        world.pods.set("shop/on-n2", { uid: "2", node: "n2" });
        world.fault = () => (random() < 0.3 ? (random() < 0.5 ? "lost" : "done") : "none");
        world.blocks.fault = () =>
          (random() < 0.2 ? (["lost", "done", "late", "refused"] as const)[seed & 3] : "none") ?? "none";
        world.blocks.meanwhile = async () => {
          for (let i = Math.floor(random() * 6); i > 0; i--) await Promise.resolve();
          if (random() < 0.2) world.blocks.deliver(random);
        };
        const users = new Map<string, string>();
        const claims = ["a", "b", "c", "d", "e", "f"];
        await Promise.all(
          ["n1", "n2"].map(async (node) => {
            const here = world.on(node, ["10.1.0.0/27"]);
            for (let step = 0; step < 15; step++) {
              const name = claims[Math.floor(random() * claims.length)] as string;
              try {
                if (random() < 0.2) {
                  world.claims.delete(`shop/${name}`);
                  if (!users.has(name)) world.make(name);
                  await here.sweep((ip) =>
                    [...world.claims.values()].some(({ status }) =>
                      (status["ips"] as string[] | undefined)?.includes(ip),
                    ),
                  );
                } else if (users.get(name) === node) {
                  users.delete(name);
                  await here.detach("shop", name, `on-${node}`);
                } else {
                  const { ips } = await here.attach("shop", name, { name: `on-${node}` });
                  assert.ok(!users.has(name), `${name} is ${users.get(name)}'s`);
                  users.set(name, node);
                  assert.ok(ips.every((ip) => cidrContains("10.1.0.0/27", ip)));
                }
              } catch (error) {
                if (!(error instanceof BlockError)) throw error;
              }
            }
          }),
        );
        const ips = [...world.claims.values()].flatMap(({ status }) => (status["ips"] as string[] | undefined) ?? []);
        assert.equal(new Set(ips).size, ips.length, "no address is two claims'");
      }),
      { numRuns: 60 },
    );
  });
});
