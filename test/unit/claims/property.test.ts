/**
 * Several nodes, any interleaving, an API that refuses, loses and delays, agents that die between any two requests, claims
 * that are deleted and made anew, pods that end and come again, and blocks of nodes in the same CIDR: no two live claims
 * have one IP or MAC address, a claim keeps what it has, one pod at a time uses it, and nothing is left behind.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { cidrContains, linkLocalOf, parseIp } from "../../../src/addr/index.ts";
import { BlockError } from "../../../src/ipam/blocks/index.ts";
import { type Claimed, Claims } from "../../../src/ipam/claims/index.ts";
import { Ipam } from "../../../src/ipam/local/index.ts";
import type { IPClaimInfo } from "../../../src/crd/index.ts";
import { type Fault, randomOf, View } from "../blocks/fake-api.ts";
import { World } from "./world.ts";
import { ReservingBlocks } from "../blocks/reserving.ts";

const CIDRS = ["10.1.0.0/26", "fd00:1::/122"];
const NAMES = ["a", "b", "c", "d", "e", "f"];
const SIZES = [4, 8, 16];
const ASKED = ["10.1.0.10", "10.1.0.11", "10.1.0.42"];
/** Two of one block, and one of another. */
const MACS = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:07:00"];
/** Where blocks have a MAC address. */
const keyOf = (mac: string): string => parseIp(linkLocalOf(mac));

type Random = () => number;
const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;

/** What must hold after every change of the API's objects, and what was promised to pods. */
class Truth {
  readonly #world: World;
  readonly #given = new Map<string, string>();
  /** The pod that was told that it may use a claim, until it ends. */
  readonly users = new Map<string, string>();

  constructor(world: World) {
    this.#world = world;
  }

  check(): void {
    const entries = this.#world.entries();
    const whose = new Map<string, string>();
    for (const { namespace, name, uid, mac, status } of this.#world.claims()) {
      if (status.mac !== undefined) {
        assert.equal(whose.get(status.mac), undefined, `${status.mac} is two live claims'`);
        whose.set(status.mac, uid);
        if (mac !== undefined) assert.equal(entries[keyOf(mac)], `${namespace}/${name}/${uid}`, `${mac} is entered`);
      }
      for (const ip of status.ips) {
        assert.equal(whose.get(ip), undefined, `${ip} is two live claims'`);
        whose.set(ip, uid);
        assert.equal(entries[ip], `${namespace}/${name}/${uid}`, `${ip} is in a block for its claim`);
      }
      if (status.ips.length > 0) this.#same(uid, [...status.ips, status.mac ?? ""]);
    }
  }

  given({ claim, ips, mac }: Claimed): void {
    this.#same(claim.split("/")[2] ?? "", [...ips, mac]);
  }

  #same(uid: string, has: string[]): void {
    const text = has.join(" ");
    assert.equal(this.#given.get(uid) ?? text, text, `${uid} keeps what it has`);
    this.#given.set(uid, text);
  }
}

/** One node: its disk outlives its agent. */
class SimulatedNode {
  readonly name: string;
  readonly view: View;
  readonly ipam: Ipam;
  readonly #world: World;
  readonly #truth: Truth;
  blocks!: ReservingBlocks;
  claims!: Claims;
  #pods = 0;

  constructor(name: string, world: World, truth: Truth, dir: string) {
    this.name = name;
    this.view = new View(world.blocks);
    this.ipam = new Ipam({ dir: join(dir, name) });
    this.#world = world;
    this.#truth = truth;
    this.start(8);
    world.run(`on-${name}`, name);
  }

  /** A new agent; requests of the one before may still be done. */
  start(blockSize: number): void {
    const common = {
      network: "blue",
      cidrs: CIDRS,
      blockSize,
      node: this.name,
      view: () => this.view.read(),
      taken: async () => this.view.read(),
    };
    const client = this.#world.blocks.client();
    this.claims = new Claims({ ...common, blocks: client, claims: this.#world.objects() });
    this.blocks = new ReservingBlocks({
      ...common,
      nodeUid: () => `uid-${this.name}`,
      objects: client,
      ipam: this.ipam,
    });
  }

  async act(random: Random): Promise<void> {
    const chance = random();
    try {
      if (chance < 0.5) await this.#attach(random);
      else if (chance < 0.65) this.#remake(random);
      else if (chance < 0.72) this.#renewPod();
      else if (chance < 0.8) await this.#world.sweep();
      else if (chance < 0.85) this.start(pick(random, SIZES));
      else if (chance < 0.92)
        await this.blocks.reserve({ containerId: `${this.name}-${this.#pods++}`, ifname: "net1" }, {});
      else await this.#leave();
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
      this.start(pick(random, SIZES)); // and knows nothing of what it was at
    }
  }

  async #attach(random: Random): Promise<void> {
    const pod = `on-${this.name}`;
    const me = this.#world.pods.get(`shop/${pod}`)?.uid;
    const given = await this.claims.forPod({ namespace: "shop", podName: pod, claimName: pick(random, NAMES) });
    assert.ok(given);
    this.#truth.given(given);
    await this.claims.use({ claim: given.claim, pod });
    if (me === undefined || this.#world.pods.get(`shop/${pod}`)?.uid !== me) return;
    const { users } = this.#truth;
    assert.equal(users.get(given.claim) ?? me, me, `${given.claim} has one user at a time`);
    users.set(given.claim, me);
  }

  #remake(random: Random): void {
    const name = pick(random, NAMES);
    this.#world.unmake(name);
    if (random() >= 0.8) return;
    const ips = random() < 0.3 ? { ips: [pick(random, ASKED)] } : {};
    const mac = random() < 0.5 ? { mac: pick(random, MACS) } : {};
    this.#world.make(name, { ...ips, ...mac });
  }

  /** A pod ends, and one of the same name comes. */
  #renewPod(): void {
    const pod = `on-${this.name}`;
    const ended = this.#world.pods.get(`shop/${pod}`)?.uid;
    for (const [claim, user] of this.#truth.users) if (user === ended) this.#truth.users.delete(claim);
    this.#world.run(pod, this.name);
  }

  async #leave(): Promise<void> {
    for (const { owner } of this.ipam.list()) this.ipam.release(owner);
    await this.blocks.leave();
  }

  /** No address of a live claim is one that this node gives to other pods. */
  apartFrom(claims: readonly IPClaimInfo[]): void {
    for (const { name, status } of claims)
      for (const ip of status.ips) {
        const block = this.blocks.usable().find((cidr) => cidrContains(cidr, ip));
        assert.equal(block, undefined, `${ip} of claim ${name} is in a block of ${this.name}`);
      }
  }
}

async function history(seed: number, steps: number, trouble: number, dir: string): Promise<void> {
  const random = randomOf(seed);
  const world = new World();
  const truth = new Truth(world);
  for (const name of NAMES) world.make(name);
  const nodes = ["n1", "n2", "n3"].map((name) => new SimulatedNode(name, world, truth, dir));
  const faults: Fault[] = ["refused", "lost", "done", "late"];
  let checked = 0;
  world.changed = () => truth.check();
  world.blocks.fault = () => (random() < trouble ? pick(random, faults) : "none");
  world.blocks.meanwhile = async () => {
    for (let i = Math.floor(random() * 6); i > 0; i--) await Promise.resolve();
    if (random() < 0.15) world.blocks.deliver(random);
    if (checked !== world.blocks.history.length) truth.check();
    checked = world.blocks.history.length;
    for (const node of nodes) if (random() < 0.2) node.view.advance(random());
  };
  await Promise.all(
    nodes.map(async (node) => {
      for (let step = 0; step < steps; step++) {
        await node.act(random);
        for (const one of nodes) one.apartFrom(world.claims());
      }
    }),
  );

  world.blocks.fault = () => "none";
  world.blocks.deliverAll();
  for (const node of nodes) {
    node.start(8);
    node.view.advance(1);
    for (const { owner } of node.ipam.list()) node.ipam.release(owner);
    await node.blocks.leave();
  }
  const [{ claims, view }] = nodes as [SimulatedNode, ...SimulatedNode[]];
  for (const { name } of world.claims()) {
    view.advance(1);
    try {
      truth.given((await claims.forPod({ namespace: "shop", podName: "any", claimName: name })) as Claimed);
    } catch (error) {
      if (!(error instanceof BlockError && error.kind === "refused")) throw error;
    }
  }
  const had = new Map(world.claims().flatMap(({ name, status }) => status.ips.map((ip) => [ip, name] as const)));
  const entered = world.entries();
  for (const { name, uid, ips, mac, status } of world.claims()) {
    // Of a MAC address the entry: one that was refused its IP address holds that as well.
    const macTaken = mac !== undefined && entered[keyOf(mac)] !== `shop/${name}/${uid}`;
    const taken = macTaken || ips.some((ip) => had.has(ip) && had.get(ip) !== name);
    assert.equal(status.ips.length, taken ? 0 : 2, `${name} has its addresses, unless another has what it asks for`);
  }
  await world.sweep();
  for (const [ip, entry] of Object.entries(world.entries())) {
    const { status } = world.claims().find(({ uid }) => entry.endsWith(`/${uid}`)) ?? {};
    const has = status && [...status.ips, ...(status.mac === undefined ? [] : [keyOf(status.mac)])];
    assert.ok(has && (has.length === 0 || has.includes(ip)), `${ip} is held for a claim that has it`);
  }
  truth.check();
  for (const { name } of world.claims()) world.unmake(name);
  await world.sweep();
  assert.deepEqual([...world.blocks.objects.keys()], [], "nothing is left behind");
}

describe("claims over any history of nodes, lost answers and crashes", function () {
  this.timeout(60_000);
  const dir = mkdtempSync(join(tmpdir(), "skylane-claims-"));
  after(() => rmSync(dir, { recursive: true, force: true }));

  it("no IP or MAC address is two claims', a claim keeps its addresses, one pod uses it, and all come to an end", async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.constantFrom(0, 0.1, 0.3), (seed, trouble) =>
        history(seed, 40, trouble, join(dir, String(run++))),
      ),
      { numRuns: 15 },
    );
  });
});
