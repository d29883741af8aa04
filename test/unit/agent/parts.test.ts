import assert from "node:assert/strict";
import { aggregate } from "../../../src/agent/aggregate.ts";
import { mergeAnnotation } from "../../../src/agent/publish.ts";
import { assess } from "../../../src/agent/readiness.ts";
import { RefusalBook } from "../../../src/agent/refusals.ts";
import { pathComplaint, probePaths, udpPortBound } from "../../../src/agent/selftest.ts";
import { Waiting } from "../../../src/agent/waiting.ts";
import { parseVtepAnnotation } from "../../../src/overlay/annotation.ts";
import type { Refusal } from "../../../src/overlay/types.ts";

describe("refusals", () => {
  const refusal = (node: string, message = "m"): Refusal => ({ node, reason: "BadAnnotation", message });

  it("are news once, when they change and when they are lifted", () => {
    const book = new RefusalBook();
    assert.deepEqual(book.update([refusal("a"), refusal("b")]).fresh.length, 2);
    assert.deepEqual(book.update([refusal("a"), refusal("b")]), { fresh: [], lifted: [] });
    assert.deepEqual(book.update([refusal("a", "other")]), { fresh: [refusal("a", "other")], lifted: ["b"] });
    assert.deepEqual([...book.byReason()], [["BadAnnotation", 1]]);
  });
});

describe("waiting", () => {
  it("is said once, as a line and an Event, until it changes or grows long", () => {
    const lines: string[] = [];
    const events: string[] = [];
    const say = (message: string) => lines.push(message);
    const log = { error: say, warn: say, info: say, debug: say, enabled: () => true, child: () => log };
    const waiting = new Waiting(log, (reason) => events.push(reason));
    waiting.for("node", "no Node a", 0);
    waiting.for("node", "no Node a", 1_000);
    waiting.for("podCidr", "no CIDR", 2_000);
    waiting.for("podCidr", "no CIDR", 2_000 + 600_000);
    waiting.over();
    waiting.over();
    assert.deepEqual(events, ["SkylaneWaitingForNode", "SkylaneWaitingForPodCIDR", "SkylaneWaitingForPodCIDR"]);
    assert.deepEqual(lines, ["waiting: no Node a", "waiting: no CIDR", "waiting: no CIDR", "no longer waiting"]);
  });
});

describe("prefixes put together", () => {
  it("are the fewest that cover the same", () => {
    const nodes = Array.from({ length: 256 }, (_, i) => `10.244.${i}.0/24`);
    assert.deepEqual(aggregate([...nodes.toReversed(), "fd00:1::/64", "fd00:1:0:1::/64"]), [
      "10.244.0.0/16",
      "fd00:1::/63",
    ]);
    assert.deepEqual(aggregate(["10.244.1.0/24", "10.244.2.0/24"]), ["10.244.1.0/24", "10.244.2.0/24"]);
    assert.deepEqual(aggregate(["10.244.0.0/16", "10.244.3.0/24", "10.244.0.0/16"]), ["10.244.0.0/16"]);
    assert.deepEqual(aggregate([]), []);
    assert.deepEqual(aggregate(["0.0.0.0/1", "128.0.0.0/1"]), ["0.0.0.0/0"]);
  });
});

describe("readiness", () => {
  it("is all checks together, and a question that fails is a no with its reason", () => {
    const yes = { name: "a", ask: () => ({ ok: true, message: "fine" }) };
    const broken = {
      name: "b",
      ask: () => {
        throw new Error("no kernel");
      },
    };
    assert.equal(assess([yes]).ready, true);
    assert.deepEqual(assess([yes, broken]), {
      ready: false,
      checks: [
        { name: "a", ok: true, message: "fine" },
        { name: "b", ok: false, message: "no kernel" },
      ],
    });
  });
});

describe("the annotation", () => {
  const entry = { vni: 4096, mac: "02:00:00:00:00:01", ips: ["172.30.0.11"], podCidrs: ["10.244.1.0/24"], port: 4789 };

  it("keeps the entries of other pod networks", () => {
    const one = mergeAnnotation(undefined, "default", entry) as string;
    const both = mergeAnnotation(one, "blue", { ...entry, vni: 7 }) as string;
    assert.deepEqual([...parseVtepAnnotation(both).keys()].sort(), ["blue", "default"]);
    const again = mergeAnnotation(both, "default", { ...entry, port: 8472 }) as string;
    assert.equal(parseVtepAnnotation(again).get("blue")?.vni, 7);
    assert.equal(parseVtepAnnotation(again).get("default")?.port, 8472);
    assert.deepEqual([...parseVtepAnnotation(mergeAnnotation(again, "default", undefined) as string).keys()], ["blue"]);
  });

  it("goes with its last entry, and replaces what nobody can read", () => {
    assert.equal(mergeAnnotation(mergeAnnotation(undefined, "default", entry), "default", undefined), undefined);
    assert.equal(mergeAnnotation("garbage", "default", entry), mergeAnnotation(undefined, "default", entry));
  });
});

describe("the self-test's local half", () => {
  it("sees the VXLAN socket by its port", () => {
    const table = "  sl  local_address rem_address\n  12: 00000000:12B5 00000000:0000 07\n";
    assert.equal(
      udpPortBound(4789, 4, () => table),
      true,
    );
    assert.equal(
      udpPortBound(8472, 4, () => table),
      false,
    );
  });

  it("goes from our VTEP address to the peer's, one path a peer", () => {
    const own = ["10.244.1.0/24", "fd00:1::/64"];
    const peers = [
      { node: "b", podCidrs: ["fd00:2::/64", "10.244.2.0/24"] },
      { node: "c", podCidrs: ["fd00:3::/64"] },
    ];
    assert.deepEqual(probePaths(own, peers), [
      { node: "b", from: "10.244.1.0", to: "10.244.2.0" },
      { node: "c", from: "fd00:1::", to: "fd00:3::" },
    ]);
    assert.deepEqual(probePaths(["10.244.1.0/24"], [peers[1]!]), []);
  });

  it("complains about a route that leads elsewhere, or from elsewhere", () => {
    const path = { node: "b", from: "10.244.1.0", to: "10.244.2.0" };
    const device = { ifindex: 9, name: "sky.4096" };
    assert.equal(
      pathComplaint(path, device, () => ({ ifindex: 9, prefSrc: "10.244.1.0" })),
      undefined,
    );
    assert.match(pathComplaint(path, device, () => undefined) ?? "", /no route to 10\.244\.2\.0/);
    assert.match(pathComplaint(path, device, () => ({ ifindex: 2 })) ?? "", /another device than sky\.4096/);
    assert.match(pathComplaint(path, device, () => ({ ifindex: 9, prefSrc: "10.0.0.1" })) ?? "", /10\.0\.0\.1 instead/);
  });
});
