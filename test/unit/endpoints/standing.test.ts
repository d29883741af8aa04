import assert from "node:assert/strict";
import { derivedMac } from "../../../src/addr/index.ts";
import { entryOfMac } from "../../../src/ipam/claims/index.ts";
import {
  type ClaimPlace,
  type Endpoint,
  nodeMac,
  ownersOf,
  STANDING,
  type Standing,
  StandingJudge,
} from "../../../src/endpoints/index.ts";

const CLAIM = "shop/db/uid-1";
const CLAIM_MAC = derivedMac(`lan/${CLAIM}`);
const NAMED = "02:00:00:00:00:07";

/** Two nodes with a block each, and a block of claims with one IP address, and one with a MAC address. */
const blocks: Record<string, { node: string; addresses: Record<string, string> }> = {
  "10.80.0.": { node: "a", addresses: {} },
  "10.80.1.": { node: "b", addresses: {} },
  "10.80.9.": { node: "", addresses: { "10.80.9.5": CLAIM, "10.80.9.6": "shop/other/uid-2" } },
  "fe80::": { node: "", addresses: { [entryOfMac(NAMED)]: CLAIM } },
};
type Claim = ClaimPlace | { last: string[] } | "gone" | "unknown";
const judgeOf = (claim: Claim) =>
  new StandingJudge("lan", {
    blockWith: (ip) => Object.entries(blocks).find(([begin]) => ip.startsWith(begin))?.[1],
    entryOfMac,
    claim: (holder) => (holder === CLAIM ? claim : "gone"),
  });
const held: ClaimPlace = { ips: ["10.80.9.5"], mac: CLAIM_MAC, node: "a" };

describe("what there is to say for a published endpoint", () => {
  const judge = (
    node: string,
    mac: string,
    ips: string[],
    { claim = held, present }: { claim?: Claim; present?: string } = {},
  ) => {
    const judged = judgeOf(claim).judge(node, { mac, ips }, present);
    return "standing" in judged ? judged.standing : judged.refused;
  };

  it("is that its addresses are in blocks of its node, and whether its MAC is the node's own", () => {
    assert.equal(judge("a", nodeMac("lan", "a", "x"), ["10.80.0.5"]), STANDING.node);
    assert.equal(judge("a", nodeMac("lan", "b", "x"), ["10.80.0.5"]), STANDING.word);
    assert.equal(judge("a", nodeMac("red", "a", "x"), ["10.80.0.5"]), STANDING.word);
    assert.equal(judge("a", NAMED, ["10.80.0.5"]), STANDING.word);
    assert.equal(judge("a", NAMED, []), STANDING.word);
  });

  it("is nothing where an address is in another node's block, in none, or in two's", () => {
    for (const ips of [["10.80.1.5"], ["10.81.0.1"], ["10.80.0.5", "10.80.1.5"], ["10.80.0.5", "10.80.9.5"]])
      assert.match(String(judge("a", nodeMac("lan", "a", "x"), ips)), /in no block of its, nor a claim's/);
  });

  it("is that a claim has the addresses and says that it is there, whatever the node says of moves", () => {
    assert.equal(judge("a", CLAIM_MAC, ["10.80.9.5"]), STANDING.claim);
    assert.match(String(judge("b", CLAIM_MAC, ["10.80.9.5"])), /IPClaim shop\/db has, and node a uses it/);
    assert.equal(judge("b", CLAIM_MAC, ["10.80.9.5"], { present: "b" }), STANDING.former);
    const idle = { ips: held.ips, mac: CLAIM_MAC };
    assert.match(String(judge("b", CLAIM_MAC, ["10.80.9.5"], { claim: idle })), /and no node uses it/);
    assert.match(String(judge("b", CLAIM_MAC, ["10.80.9.5"], { claim: "unknown" })), /has not told yet/);
    assert.equal(judge("b", CLAIM_MAC, ["10.80.9.5"], { claim: "gone" }), STANDING.word);
    assert.match(String(judge("a", CLAIM_MAC, ["10.80.9.7"])), /in no block/);
    assert.match(String(judge("a", CLAIM_MAC, ["10.80.9.5", "10.80.9.6"])), /in no block/);
  });

  it("is of a claim that was deleted that a pod of the node had it, and no other node's word", () => {
    const claim = { last: ["a"] };
    assert.equal(judge("a", CLAIM_MAC, ["10.80.9.5"], { claim }), STANDING.word);
    assert.equal(judge("b", CLAIM_MAC, ["10.80.9.5"], { claim, present: "b" }), STANDING.word);
    assert.match(
      String(judge("b", CLAIM_MAC, ["10.80.9.5"], { claim })),
      /which IPClaim shop\/db had until it was deleted, and no pod of that node/,
    );
    assert.match(String(judge("b", CLAIM_MAC, ["10.80.9.5"], { claim: { last: [] } })), /had until it was deleted/);
  });

  it("is not what a claim's status says alone: it must have been given the addresses and the MAC", () => {
    assert.match(String(judge("a", NAMED, ["10.80.9.5"])), /which IPClaim shop\/db has with 10.80.9.5/);
    const named = { ...held, mac: NAMED };
    assert.equal(judge("a", NAMED, ["10.80.9.5"], { claim: named }), STANDING.claim);
    const stolen = nodeMac("lan", "b", "victim");
    const lying = { ...held, mac: stolen };
    assert.match(String(judge("a", stolen, ["10.80.9.5"], { claim: lying })), /but not MAC address/);
  });

  it("decides whose a MAC is before moves, age and names do", () => {
    const at = (standing: Standing, moves: number, since: string, ip: string): Endpoint => ({
      mac: NAMED,
      ips: [ip],
      moves,
      standing,
      since,
    });
    const owner = (b: Endpoint, c: Endpoint, present?: string) =>
      ownersOf(
        new Map([
          ["c", [c]],
          ["b", [b]],
        ]),
        new Map(present ? [[NAMED, { node: present }]] : []),
      ).byMac.get(NAMED)?.node;
    const order = [STANDING.word, STANDING.former, STANDING.claim, STANDING.node];
    for (const [n, worse] of order.entries())
      for (const better of order.slice(n + 1))
        assert.equal(owner(at(worse, 1e15, "2000", "10.80.0.1"), at(better, 0, "2001", "10.80.0.2"), "b"), "c");
    // Of claims' the moves tell, of the rest who was there before, then whose node has been in the network for longer.
    assert.equal(owner(at(STANDING.claim, 1, "2000", "1.1.1.1"), at(STANDING.claim, 2, "2001", "1.1.1.2")), "c");
    assert.equal(owner(at(STANDING.word, 9, "2000", "1.1.1.1"), at(STANDING.word, 0, "2001", "1.1.1.2"), "c"), "c");
    assert.equal(owner(at(STANDING.word, 0, "2001", "1.1.1.1"), at(STANDING.word, 9, "2000", "1.1.1.2")), "c");
    assert.equal(owner(at(STANDING.word, 0, "2000", "1.1.1.1"), at(STANDING.word, 9, "2000", "1.1.1.2")), "b");
  });

  it("gives each pod of a node a MAC of its own that is no other node's", () => {
    const macs = new Set<string>();
    for (const node of ["a", "b", "c"]) for (let n = 0; n < 100; n++) macs.add(nodeMac("lan", node, `pod${n}`));
    assert.equal(macs.size, 300);
    const judge = judgeOf(held);
    for (const mac of macs) {
      assert.match(mac, /^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/);
      assert.equal(["a", "b", "c"].filter((node) => judge.isOwnMac(node, mac)).length, 1);
    }
  });
});
