/** Routes to peers whose way takes less than the device. */
import assert from "node:assert/strict";
import { type MeasuredMtus, narrowedPath, narrower } from "../../../src/data-path/narrowed-path.ts";
import type { DataPath } from "../../../src/data-path/index.ts";
import type { Actual } from "../../../src/dataplane/vxlan/index.ts";
import type { DataPathListener } from "../../../src/observe/index.ts";
import type { PathMtu, Peer } from "../../../src/peers/index.ts";
import { applied, desiredState, entriesOf, local, peer, plan } from "./support.ts";

const narrow: Peer = { ...peer(1), pathMtu: { 4: 1340 } };
const mtus = (peers: Peer[]) =>
  Array.from(entriesOf(desiredState(local, peers), "route").values(), ({ dst, mtu }) => [dst, mtu]);
const kernel = (peers: Peer[]): Actual[] => applied(desiredState(local, peers).entries);

describe("a peer whose way takes less than the device", () => {
  it("has routes that say so, in that family, to its prefixes and its single addresses; not to its VTEP, which measures", () => {
    const hosts = ["10.244.9.9", "fd00:10:244:9::9"];
    assert.deepEqual(mtus([{ ...narrow, hosts }, peer(2)]), [
      ["10.244.1.0/32", undefined],
      ["10.244.1.0/24", 1340],
      ["fd00:10:244:1::/64", undefined],
      ["10.244.9.9/32", 1340],
      ["fd00:10:244:9::9/128", undefined],
      ["10.244.2.0/24", undefined],
      ["fd00:10:244:2::/64", undefined],
    ]);
    const direct = [
      { gateway: "172.30.0.101", ifindex: 2 },
      { gateway: "fd30::101", ifindex: 2 },
    ];
    assert.deepEqual(mtus([{ ...narrow, pathMtu: { 4: 1340, 6: 1300 }, direct }]), [
      ["10.244.1.0/32", undefined],
      ["10.244.1.0/24", 1340],
      ["fd00:10:244:1::/128", undefined],
      ["fd00:10:244:1::/64", 1300],
    ]);
  });

  it("has them replaced in place, there and back, and put back where somebody changes them", () => {
    const of = (mtu: number | undefined) => ["replace", "10.244.1.0/24", mtu];
    const vtep = (op: string) => [op, "10.244.1.0/32", undefined];
    for (const [from, to, wanted] of [
      [[peer(1)], [narrow], [vtep("add"), of(1340)]],
      [[narrow], [peer(1)], [of(undefined), vtep("del")]],
      [[{ ...narrow, pathMtu: { 4: 1400 } }], [narrow], [of(1340)]],
    ] as const) {
      const operations = plan(desiredState(local, [...to]), kernel([...from]));
      assert.deepEqual(
        operations.map((one) => one.kind === "route" && [one.op, one.route.dst, one.route.mtu]),
        wanted,
      );
      assert.deepEqual(plan(desiredState(local, [...to]), kernel([...to])), []);
    }
  });

  it("has routes of another network take no more than its own devices do", () => {
    assert.deepEqual(narrower({ 4: 1340, 6: 1400 }, 1400), { 4: 1340 });
    assert.equal(narrower({ 4: 1400 }, 1300), undefined);
    assert.equal(narrower(undefined, 1300), undefined);
  });

  it("is handed over with what was measured, and again when that is something else", async () => {
    const given: string[] = [];
    const say = ({ node, pathMtu }: Peer): string => `${node} ${JSON.stringify(pathMtu ?? {})}`;
    const path = {
      setPeers: (peers: Iterable<Peer>) => void given.push(`all: ${Array.from(peers, say).join(", ")}`),
      changePeers: (changes: Iterable<readonly [string, Peer | undefined]>) =>
        void given.push(...Array.from(changes, ([node, one]) => (one ? say(one) : `${node} gone`))),
      stop: () => Promise.resolve(),
    } as unknown as DataPath;
    const known = new Map<string, PathMtu>([["node1", { 6: 1300 }]]);
    const followers = new Set<(node: string) => void>();
    const changed = (node: string): void => followers.forEach((tell) => tell(node));
    const measured: MeasuredMtus = {
      of: (node) => known.get(node),
      follow: (onChange) => {
        followers.add(onChange);
        return () => void followers.delete(onChange);
      },
    };
    const narrowed = narrowedPath(() => path, measured)(local, {} as DataPathListener);
    narrowed.setPeers([peer(1), peer(2)]);
    known.set("node2", { 4: 1340 });
    changed("node2");
    known.delete("node1");
    changed("node1");
    narrowed.changePeers([
      ["node2", peer(2)],
      ["node1", undefined],
    ]);
    changed("node1");
    assert.deepEqual(given, [
      'all: node1 {"6":1300}, node2 {}',
      'node2 {"4":1340}',
      "node1 {}",
      'node2 {"4":1340}',
      "node1 gone",
    ]);
    await narrowed.stop();
    changed("node2");
    assert.equal(given.length, 5);
  });
});
