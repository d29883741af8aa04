/** What the live map makes of what it is told, as its page has it. */
import assert from "node:assert/strict";
import type { AgentFacts } from "../../../src/cli/ui/model/facts.ts";
import { Stays } from "../../../src/cli/ui/model/stays.ts";
import { World } from "../../../src/cli/ui/model/world.ts";
import { Inbox } from "../../../src/cli/ui/page/inbox.ts";
import { Mirror } from "../../../src/cli/ui/page/mirror.ts";
import { inParts } from "../../../src/cli/ui/serve/parts.ts";
import {
  type MapDelta,
  type MapPod,
  type MapSnapshot,
  MOST,
  type PairState,
  roundTripByte,
  roundTripMs,
} from "../../../src/cli/ui/wire.ts";

const agent = (more: Partial<AgentFacts> = {}): AgentFacts => ({
  version: "1",
  api: "synced",
  ready: true,
  uptimeSeconds: 10,
  vteps: [],
  refused: [],
  ...more,
});
const vtep = (byKind: Record<string, number>): AgentFacts["vteps"][number] => ({
  network: "default",
  vni: 1,
  ready: true,
  device: "sky.1",
  mac: "02:00:00:00:00:01",
  underlayIp: "192.0.2.1",
  mtu: 1450,
  podCidrs: [],
  programmed: 1,
  peers: 1,
  repairs: Object.values(byKind).reduce((sum, n) => sum + n, 0),
  byKind,
});
const pod = (key: string, node?: string) => ({
  key,
  phase: "Running",
  ips: [],
  further: [],
  ...(node !== undefined && { node }),
});

/** A world, one who was there from the start, and one who comes now. */
class Scene {
  now = 1_000;
  readonly world = new World("test", () => this.now);
  readonly #first = new Mirror();

  constructor() {
    this.#send(this.#first, "all", this.world.snapshot());
  }

  /** As it goes over the wire. */
  #send(to: Mirror, kind: "all" | "change", what: MapSnapshot | MapDelta): void {
    const inbox = new Inbox(
      to,
      () => undefined,
      (turn) => turn(),
    );
    for (const [i, part] of inParts(what).entries()) inbox.push(i === 0 ? kind : "part", part, this.now);
  }

  /** What a page shows; the same by changes as by the whole. */
  get page(): Mirror {
    const delta = this.world.take();
    if (delta) this.#send(this.#first, "change", delta);
    const late = new Mirror();
    this.#send(late, "all", this.world.snapshot());
    for (const list of ["nodes", "networks", "pods", "claims", "flows", "rows"] as const)
      assert.deepEqual(this.#first[list], late[list], list);
    assert.deepEqual(this.#first.moments, late.moments);
    assert.deepEqual(this.#first.order, late.order);
    return this.#first;
  }

  get line(): string[] {
    return this.page.moments.map(({ kind, subject, text }) => `${kind} ${subject} ${text}`);
  }

  nodes(...names: string[]): void {
    for (const name of names) {
      this.world.nodeSeen({ name, ips: [] });
      this.world.agentAnswered(name, agent());
    }
  }
}

describe("the live map's model", () => {
  let scene: Scene;
  beforeEach(() => {
    scene = new Scene();
  });

  it("gives what has changed once, and nothing where nothing has", () => {
    scene.nodes("node1");
    assert.deepEqual(
      scene.world.take()?.nodes?.map(({ name }) => name),
      ["node1"],
    );
    assert.equal(scene.world.take(), undefined);
    scene.world.nodeSeen({ name: "node1", ips: [] });
    scene.world.agentAnswered("node1", agent({ uptimeSeconds: 11 }));
    assert.equal(scene.world.take(), undefined);
  });

  it("tells of what comes after the first set, and not of what was there", () => {
    scene.nodes("node1");
    scene.world.podSeen(pod("a/old", "node1"));
    scene.world.settled("nodes");
    scene.world.settled("pods");
    assert.deepEqual(scene.line, []);
    scene.nodes("node2");
    scene.world.podSeen(pod("a/new", "node2"));
    assert.deepEqual(scene.line, ["pod a/new has come on node2", "node node2 the node has joined"]);
  });

  it("remembers where a pod was: moved, made anew elsewhere, gone", () => {
    scene.world.podSeen(pod("a/db-0", "node1"));
    scene.now = 2_000;
    scene.world.podSeen(pod("a/db-0", "node2"));
    assert.deepEqual(scene.page.pods.get("a/db-0")?.was, [{ node: "node1", until: 2_000 }]);
    scene.now = 3_000;
    scene.world.podGone("a/db-0");
    assert.equal(scene.page.pods.get("a/db-0")?.gone, 3_000);
    scene.now = 4_000;
    // By its name again, and not placed yet.
    scene.world.podSeen(pod("a/db-0"));
    const unplaced = scene.page.pods.get("a/db-0");
    assert.equal(unplaced?.gone, undefined);
    assert.equal(unplaced?.node, undefined);
    scene.world.podSeen(pod("a/db-0", "node3"));
    assert.deepEqual(
      scene.page.pods.get("a/db-0")?.was.map(({ node, until }) => [node, until]),
      [
        ["node1", 2_000],
        ["node2", 3_000],
      ],
    );
    assert.deepEqual(scene.line, [
      "pod a/db-0 was placed on node3",
      "pod a/db-0 is there again",
      "pod a/db-0 is gone from node2",
      "pod a/db-0 moved from node1 to node2",
    ]);
  });

  it("keeps its bounds: things that are there, that are gone, where they were", () => {
    const pods = new Stays<MapPod>(2_000);
    const put = (key: string, node: string) => pods.put({ ...pod(key, node), was: [] }, 1);
    for (let i = 0; i < 2_005; i++) put(`a/${i}`, "node1");
    assert.equal(pods.keyed.all.size, 2_000);
    assert.equal(pods.leftOut, 5);
    for (let i = 0; i < MOST.gone + 5; i++) pods.remove(`a/${i}`, 2);
    assert.equal([...pods.keyed.all.values()].filter(({ gone }) => gone !== undefined).length, MOST.gone);
    assert.equal(pods.keyed.get("a/4"), undefined);
    // There is room for five again, and one that went makes room for a sixth.
    for (let i = 2_000; i < 2_006; i++) put(`a/${i}`, "node1");
    assert.equal(pods.leftOut, 0);
    assert.equal(pods.keyed.get("a/5"), undefined);
    for (let i = 0; i < 3 * MOST.stays; i++) put("a/1000", `node${i % 2}`);
    assert.equal(pods.keyed.get("a/1000")?.was.length, MOST.stays);
  });

  it("keeps the bound of the time line", () => {
    for (let i = 0; i < 3 * MOST.moments; i++)
      scene.world.eventSeen({ key: `${i}`, at: i, bad: false, reason: "R", subject: "s", message: "m", count: 1 });
    assert.equal(scene.page.moments.length, MOST.moments);
  });

  it("tells of repairs, refusals and verdicts as they come and go, and of an agent that was started again", () => {
    const verdict = { found: "node9 is down", meaning: "m", cure: "c" };
    const refused = [{ network: "default", node: "node9", reason: "BadVtep", message: "it is none" }];
    const probes = { on: true, message: "", verdicts: [verdict] };
    scene.world.nodeSeen({ name: "node1", ips: [] });
    scene.world.agentAnswered("node1", agent({ vteps: [vtep({ fdb: 2, route: 1 })] }));
    assert.deepEqual(scene.line, []);
    scene.world.agentAnswered("node1", agent({ vteps: [vtep({ fdb: 5, route: 1 })], refused, probes }));
    assert.deepEqual(
      new Set(scene.line),
      new Set([
        "probe node1 node9 is down",
        "refusal node1 refuses node9 (default): BadVtep: it is none",
        "repair node1 put back: 3 fdb in default",
      ]),
    );
    scene.world.agentAnswered("node1", agent({ uptimeSeconds: 1, vteps: [vtep({ fdb: 1 })] }));
    assert.deepEqual(
      new Set(scene.line.slice(0, 4)),
      new Set([
        "node node1 the agent was started again",
        "probe node1 over: node9 is down",
        "refusal node1 no longer refuses node9 (default): BadVtep",
        "repair node1 put back: 1 fdb in default",
      ]),
    );
  });

  it("forgets what a node has measured when it does not answer, and its column when it is removed", () => {
    scene.nodes("node1", "node2", "node3");
    const cell = (from: string, to: string): PairState => {
      const { nodes } = scene.page;
      const [a, b] = [nodes.get(from), nodes.get(to)];
      assert.ok(a && b);
      return scene.page.cell(a, b).state;
    };
    scene.world.measured("node1", [
      { node: "node2", state: "answers", rttMs: 0.5 },
      { node: "node3", state: "down" },
      { node: "node1", state: "down" },
      { node: "nobody", state: "down" },
    ]);
    scene.world.measured("node3", [{ node: "node1", state: "loss" }]);
    assert.equal(cell("node1", "node2"), "answers");
    assert.equal(cell("node1", "node3"), "down");
    assert.equal(cell("node1", "node1"), "unknown");
    assert.equal(cell("node3", "node1"), "loss");
    scene.world.agentSilent("node3", "nobody listens");
    assert.equal(cell("node3", "node1"), "unknown");
    assert.equal(scene.page.nodes.get("node3")?.why, "nobody listens");
    // An answer that was under way meanwhile changes nothing.
    scene.world.measured("node3", [{ node: "node1", state: "answers" }]);
    assert.equal(cell("node3", "node1"), "unknown");
    scene.world.nodeGone("node3");
    // Whoever gets its place has not been measured.
    scene.nodes("node4");
    assert.equal(cell("node1", "node4"), "unknown");
    assert.equal(cell("node1", "node2"), "answers");
  });

  it("says a round trip as one byte, to a tenth", () => {
    for (const ms of [0.001, 0.05, 0.4, 3, 250, 10_000]) {
      const back = roundTripMs(roundTripByte(ms));
      assert.ok(back !== undefined && Math.abs(back - ms) <= 0.1 * ms, `${ms} came back as ${back}`);
    }
    assert.equal(roundTripMs(roundTripByte(undefined)), undefined);
  });

  it("counts an Event up in the time line, and does not repeat it", () => {
    const event = { key: "u", at: 1, bad: true, reason: "PeerRefused", subject: "node1", message: "why", count: 1 };
    scene.world.eventSeen(event);
    scene.world.eventSeen(event);
    scene.world.eventSeen({ ...event, at: 2, count: 3 });
    assert.deepEqual(scene.line, ["event node1 PeerRefused: why (3 times)", "event node1 PeerRefused: why"]);
  });

  it("has the last flows, and tells of one that was denied once", () => {
    const end = (ip: string, port: number) => ({ ip, port, pod: `a/${ip}` });
    const flow = (key: string, more: object = {}) => ({
      key,
      at: 1,
      verdict: "denied" as const,
      protocol: 6,
      network: "default",
      source: end("one", 0),
      destination: end("two", 80),
      state: "ended",
      policy: "a/deny",
      ...more,
    });
    scene.world.flowed("node1", [flow("x")]);
    scene.world.flowed("node1", [flow("x", { packets: 2 })]);
    assert.deepEqual(scene.line, ["flow a/one denied to a/two port 80 by a/deny"]);
    assert.equal(scene.page.flows.get("x")?.packets, 2);
    // The agent of one node does not know the pods of others.
    scene.world.podSeen({ ...pod("a/three", "node3"), ips: ["192.0.2.3"] });
    scene.world.flowed("node1", [flow("z", { destination: { ip: "192.0.2.3", port: 1 } })]);
    assert.equal(scene.page.flows.get("z")?.destination.pod, "a/three");
    scene.world.podGone("a/three");
    scene.world.flowed("node1", [flow("y", { destination: { ip: "192.0.2.3", port: 1 } })]);
    assert.equal(scene.page.flows.get("y")?.destination.pod, undefined);
    const many = Array.from({ length: MOST.flows + 3 }, (_, i) => flow(`${i}`, { verdict: "allowed" }));
    scene.world.flowed("node1", many);
    assert.equal(scene.world.snapshot().flows.length, MOST.flows);
    assert.equal(scene.page.flows.has("x"), false);
  });

  it("says what cannot be read, until it can", () => {
    scene.world.trouble("pods", "forbidden");
    assert.deepEqual(scene.page.troubles, [{ what: "pods", why: "forbidden" }]);
    scene.world.trouble("pods", undefined);
    assert.deepEqual(scene.page.troubles, []);
  });
});
