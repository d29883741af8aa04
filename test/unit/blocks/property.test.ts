/** Several nodes, any interleaving, an API that loses answers, views that are behind, agents that die: no address twice, no block leaked. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { cidrContains, cidrsOverlap } from "../../../src/addr/index.ts";
import { BlockError } from "../../../src/ipam/blocks/index.ts";
import { Ipam, type Owner } from "../../../src/ipam/local/index.ts";
import { FakeApi, type Fault, randomOf, View } from "./fake-api.ts";
import { ReservingBlocks } from "./reserving.ts";

const NODES = ["n1", "n2", "n3"];
const CIDRS = ["10.1.0.0/26", "fd00:1::/122"];
const SIZES = [4, 8, 16];

/** One node: its disk outlives its agent. */
class SimulatedNode {
  readonly name: string;
  readonly ipam: Ipam;
  readonly view: View;
  readonly #api: FakeApi;
  readonly #world: SimulatedNode[];
  claims: ReservingBlocks;
  size = 8;
  owners: Owner[] = [];
  #next = 0;

  constructor(name: string, api: FakeApi, dir: string, world: SimulatedNode[]) {
    this.name = name;
    this.#api = api;
    this.ipam = new Ipam({ dir: join(dir, name) });
    this.view = new View(api);
    this.#world = world;
    this.claims = this.start();
  }

  /** A new agent; requests of the one before may still be done. */
  start(): ReservingBlocks {
    this.claims = new ReservingBlocks({
      network: "blue",
      cidrs: CIDRS,
      blockSize: this.size,
      node: this.name,
      nodeUid: () => `uid-${this.name}`,
      objects: this.#api.client(),
      view: () => this.view.read(),
      taken: async () => this.view.read(),
      ipam: this.ipam,
    });
    return this.claims;
  }

  async act(random: () => number): Promise<void> {
    const { claims } = this;
    const pick = random();
    try {
      if (pick < 0.4) await this.#reserve();
      else if (pick < 0.6) this.#free(random);
      else if (pick < 0.7) await claims.releaseSurplus();
      else if (pick < 0.75) await claims.ensureRoom([random() < 0.5 ? 4 : 6]);
      else if (pick < 0.8) await claims.leave();
      else if (pick < 0.85) this.start();
      else if (pick < 0.9) {
        this.size = SIZES[Math.floor(random() * SIZES.length)] as number;
        this.start();
      } else await claims.resume();
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
    }
  }

  async #reserve(): Promise<void> {
    const owner = { containerId: `${this.name}-${this.#next++}`, ifname: "net1" };
    this.owners.push(owner); // before the answer: the one who asked may die
    for (const ip of await this.claims.reserve(owner, {})) {
      const holders = this.#world.filter((node) => node.ipam.list().some((one) => one.ip === ip));
      assert.deepEqual(
        holders.map(({ name }) => name),
        [this.name],
        `${ip} is given once`,
      );
      const block = this.#api.blocks().find((one) => one.node === this.name && cidrContains(one.cidr, ip));
      assert.ok(block, `${ip} is in a block of ${this.name}`);
    }
    this.disjoint();
  }

  #free(random: () => number): void {
    const [owner] = this.owners.splice(Math.floor(random() * this.owners.length), 1);
    if (owner !== undefined) this.ipam.release(owner);
  }

  disjoint(): void {
    for (const other of this.#world) {
      if (other === this) continue;
      for (const mine of this.claims.usable())
        for (const theirs of other.claims.usable())
          assert.ok(!cidrsOverlap(mine, theirs), `${this.name} has ${mine}, ${other.name} has ${theirs}`);
    }
  }
}

async function history(seed: number, steps: number, trouble: number, dir: string): Promise<void> {
  const random = randomOf(seed);
  const api = new FakeApi();
  const world: SimulatedNode[] = [];
  for (const name of NODES) world.push(new SimulatedNode(name, api, dir, world));
  const faults: Fault[] = ["refused", "lost", "done", "late"];
  api.fault = () => (random() < trouble ? (faults[Math.floor(random() * faults.length)] as Fault) : "none");
  api.meanwhile = async () => {
    for (let i = Math.floor(random() * 6); i > 0; i--) await Promise.resolve();
    if (random() < 0.15) api.deliver(random);
    for (const node of world) if (random() < 0.2) node.view.advance(random());
  };
  await Promise.all(
    world.map(async (node) => {
      for (let step = 0; step < steps; step++) await node.act(random);
    }),
  );

  api.fault = () => "none";
  api.deliverAll();
  for (const node of world) {
    node.view.advance(1);
    node.disjoint();
    for (const { ip } of node.ipam.list()) {
      const block = api.blocks().find((one) => cidrContains(one.cidr, ip));
      assert.equal(block?.node, node.name, `${ip} of ${node.name} is in its own block to the end`);
    }
    for (const owner of node.owners) node.ipam.release(owner);
  }
  for (const node of world) {
    node.start();
    node.view.advance(1);
    assert.deepEqual(await node.claims.leave(), []);
  }
  assert.deepEqual([...api.objects.keys()], [], "no block is left behind");
}

describe("blocks over any history of nodes, lost answers and crashes", function () {
  this.timeout(60_000);
  const dir = mkdtempSync(join(tmpdir(), "skylane-property-"));
  after(() => rmSync(dir, { recursive: true, force: true }));

  it("no address is given twice, no two nodes have one block, and none is left behind", async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.constantFrom(0, 0.1, 0.4), (seed, trouble) =>
        history(seed, 25, trouble, join(dir, String(run++))),
      ),
      { numRuns: 15 },
    );
  });
});
