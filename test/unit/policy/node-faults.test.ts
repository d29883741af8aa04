/** What nodes say of themselves about policies, and what the status of a policy makes of it. */
import assert from "node:assert/strict";
import {
  DOMAIN_NAMES,
  domainNamesFor,
  readNamesFault,
  saidIn,
  says,
  withConditions,
  writePolicyFaults,
} from "../../../src/policy/index.ts";

const WHY = 'the kernel hands no packets to programs (nft_queue): "ENOENT"';

describe("what a node says of itself about policies", () => {
  it("is nothing where nothing is wrong, else read as it was written", () => {
    assert.equal(writePolicyFaults(undefined), undefined);
    assert.equal(readNamesFault(undefined), undefined);
    assert.equal(readNamesFault(writePolicyFaults(WHY)), WHY);
  });

  it("is one printable line of a bounded length, whatever the system said", () => {
    for (const said of ["", "\n", "a\r\nb\u001b[2Jc", "ü".repeat(9_000), '"'.repeat(9_000), "\\".repeat(9_000)]) {
      const text = writePolicyFaults(said);
      assert.match(readNamesFault(text) ?? "", /^[\x20-\x7e]{1,256}$/, JSON.stringify(said.slice(0, 20)));
    }
  });

  it("is believed in that form alone", () => {
    const texts = [
      "",
      "{",
      "null",
      "[]",
      '"x"',
      "{}",
      '{"domainNames":null}',
      '{"domainNames":1}',
      '{"domainNames":["x"]}',
      '{"domainNames":""}',
      '{"__proto__":{"domainNames":"x"}}',
      JSON.stringify({ domainNames: "a\nb" }),
      JSON.stringify({ domainNames: "\u202Eabc" }),
      JSON.stringify({ domainNames: "\u001b[31mred" }),
      JSON.stringify({ domainNames: "x".repeat(257) }),
      JSON.stringify({ domainNames: "x", more: "y".repeat(100_000) }),
    ];
    for (const text of texts) assert.equal(readNamesFault(text), undefined, text.slice(0, 60));
    assert.equal(readNamesFault('{"domainNames":"x","of a later release":[1]}'), "x");
  });
});

describe("the condition of a policy's domain names", () => {
  it("is true where no node says that it cannot keep them", () => {
    const condition = domainNamesFor(new Map(), 3);
    assert.deepEqual([condition.status, condition.reason, condition.observedGeneration], ["True", "Held", 3]);
  });

  it("names nodes by cause", () => {
    const causes = new Map([
      ["n3", "no module"],
      ["n1", "no module"],
      ["n2", "busy"],
    ]);
    const { status, reason, message } = domainNamesFor(causes, undefined);
    assert.deepEqual([status, reason], ["False", "NodesCannotHold"]);
    assert.match(message, /: n1, n3 \(no module\); n2 \(busy\)$/);
    assert.deepEqual(domainNamesFor(new Map([...causes].toReversed()), undefined).message, message);
  });

  it("names ten at most, says how many more there are, and stays within what the API takes", () => {
    const node = (n: number): string => `n${String(n).padStart(4, "0")}`;
    const many = new Map(Array.from({ length: 5_000 }, (_, n) => [node(n), "no module"]));
    const { message } = domainNamesFor(many, 1);
    assert.match(message, /n0000, .*n0009 \(no module\); and 4990 more$/);
    assert.doesNotMatch(message, /n0010/);
    assert.doesNotMatch(domainNamesFor(new Map([...many].slice(0, 10)), 1).message, /more/);
    const long = new Map([...many].map(([name], n) => [`${name}.${"x".repeat(248)}`, `${n}${"y".repeat(250)}`]));
    assert.ok(domainNamesFor(long, 1).message.length < 32_768);
  });

  it("comes, changes and goes beside the others, and keeps since when", () => {
    const now = "2026-02-02T00:00:00Z";
    const theirs = { type: "Ready", status: "True", reason: "r", message: "m", lastTransitionTime: "x" };
    const object = (conditions: unknown) => ({ status: { conditions } });
    const wanted = domainNamesFor(new Map([["n1", "busy"]]), 1);
    const first = withConditions(object([theirs]), { [DOMAIN_NAMES]: wanted }, now);
    assert.deepEqual(first, [theirs, { type: DOMAIN_NAMES, ...wanted, lastTransitionTime: now }]);
    assert.ok(says(saidIn(object(first), DOMAIN_NAMES), wanted));
    const more = domainNamesFor(new Map([["n2", "busy"]]), 1);
    assert.ok(!says(saidIn(object(first), DOMAIN_NAMES), more));
    const second = withConditions(object(first), { [DOMAIN_NAMES]: more }, "later");
    assert.deepEqual([second[1]?.["message"], second[1]?.["lastTransitionTime"]], [more.message, now]);
    const held = withConditions(object(second), { [DOMAIN_NAMES]: domainNamesFor(new Map(), 1) }, "later");
    assert.equal(held[1]?.["lastTransitionTime"], "later");
    assert.deepEqual(withConditions(object(held), { [DOMAIN_NAMES]: undefined }, "later"), [theirs]);
    assert.deepEqual(withConditions(object([theirs]), { [DOMAIN_NAMES]: undefined }, now), [theirs]);
  });

  it("is read from whatever is in a status", () => {
    for (const conditions of [undefined, null, 1, {}, [1], [null], [{ type: 1 }]])
      assert.equal(saidIn({ status: { conditions } }, DOMAIN_NAMES), undefined);
    const odd = { type: DOMAIN_NAMES, status: { a: 1 } };
    assert.ok(!says(saidIn({ status: { conditions: [odd] } }, DOMAIN_NAMES), domainNamesFor(new Map(), 1)));
    assert.ok(says(undefined, undefined));
  });
});
