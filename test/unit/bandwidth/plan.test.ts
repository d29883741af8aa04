import assert from "node:assert/strict";
import {
  bucketOf,
  entriesOf,
  ifbOf,
  type LimitEntry,
  limitKey,
  type LimitObject,
  limitOperations,
} from "../../../src/dataplane/bandwidth/index.ts";
import { DeltaTracker, planAll } from "../../../src/reconcile/index.ts";

const END = "sky0123456789a";
const IFB = "sbw0123456789a";
const device = (name: string, index: number, mtu = 1_450) => [name, { name, index, mtu, up: true }] as const;
const DEVICES = new Map([device(END, 7), device(IFB, 9, 1_500)]);
const LIMITS = { ingress: { rate: 1e7 }, egress: { rate: 2e7 } };

const planned = (limits: typeof LIMITS | object, there: LimitObject[], devices = DEVICES) => {
  const tracker = new DeltaTracker<LimitEntry>();
  for (const entry of entriesOf(END, limits)) tracker.put(limitKey(entry), entry);
  const { operations, waiting } = planAll(tracker, there, limitOperations, devices);
  return { done: operations.map(({ op, kind }) => `${op} ${kind}`), operations, waiting };
};

/** Both limits as the kernel has them. */
const whole = (): LimitObject[] => [
  { kind: "ifb", end: END, index: 9 },
  { kind: "queue", end: END, index: 7, device: END, own: true, bucket: bucketOf(LIMITS.ingress, 1_450) },
  { kind: "queue", end: END, index: 9, device: IFB, own: true, bucket: bucketOf(LIMITS.egress, 1_450) },
  { kind: "hook", end: END, index: 7, own: true },
  { kind: "redirect", end: END, index: 7, to: 9 },
];

describe("the plan of limits", () => {
  it("names the IFB device after the host end", () => assert.equal(ifbOf(END), IFB));

  it("hands packets over only once there is a queue for them", () => {
    assert.deepEqual(planned(LIMITS, []).done, ["replace qdisc", "replace qdisc", "add qdisc", "replace filter"]);
  });

  it("does nothing where all is right", () => assert.deepEqual(planned(LIMITS, whole()).done, []));

  it("takes away what nobody wants in the opposite order, and the device last", () => {
    const { done, operations } = planned({}, whole());
    assert.deepEqual(done, ["del filter", "del qdisc", "del qdisc", "del link"]);
    assert.partialDeepStrictEqual(operations.at(-1), { link: { index: 9, name: IFB } });
  });

  it("ends one direction without touching the other", () => {
    assert.deepEqual(planned({ ingress: LIMITS.ingress }, whole()).done, ["del filter", "del qdisc", "del link"]);
    assert.deepEqual(planned({ egress: LIMITS.egress }, whole()).done, ["del qdisc"]);
  });

  it("changes a rate in place", () => {
    const { done, operations } = planned({ ...LIMITS, egress: { rate: 3e7 } }, whole());
    assert.deepEqual(done, ["replace qdisc"]);
    assert.partialDeepStrictEqual(operations[0], { qdisc: { ifindex: 9, bucket: { rate: 3e7 / 8 } } });
  });

  it("turns a filter to the device that was made anew", () => {
    const there = whole().map((one) => (one.kind === "redirect" ? { ...one, to: 0 } : one));
    assert.deepEqual(planned(LIMITS, there).done, ["replace filter"]);
  });

  it("replaces another's queue where a limit is wanted, and leaves it where none is", () => {
    const foreign = (): LimitObject[] =>
      whole().map((one) => (one.kind === "queue" && one.device === END ? { ...one, own: false } : one));
    assert.deepEqual(planned(LIMITS, foreign()).done, ["replace qdisc"]);
    assert.deepEqual(planned({ egress: LIMITS.egress }, foreign()).done, []);
  });

  it("waits for a host end that is not there", () => {
    const { done, waiting } = planned(LIMITS, [], new Map());
    assert.deepEqual(done, []);
    assert.equal(waiting.length, 5);
  });
});
