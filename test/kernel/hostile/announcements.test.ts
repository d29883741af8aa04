import assert from "node:assert/strict";
import { eventuallyHolds } from "../../support/eventually.ts";
import { lost, useLab } from "../lab/support.ts";
import { attack, hostileNode } from "./support.ts";

/** No annotation at all, for a reader that parses. */
const NONSENSE = [
  "",
  "null",
  "[]",
  '{"default":',
  '{"default":{}}',
  '{"default":[]}',
  `{"default":${"[".repeat(50_000)}`,
];

describe("what a hostile node announces", () => {
  const the = useLab({ nodes: 3 });

  before("a pod on each node", async () => {
    for (const node of [1, 2, 3]) await the().addPod(`node${node}`, `pod${node}`);
  });

  attack("node", "announces what cannot be read", async () => {
    const mallory = await hostileNode(the(), "node3");
    for (const text of NONSENSE) await mallory.announce(text);
    for (const node of ["node1", "node2"]) {
      await eventuallyHolds(async () => {
        const { networks, ready } = await the().status(the().node(node));
        assert.deepEqual(
          networks[0]?.refused.map(({ node: who }) => who),
          ["node3"],
        );
        assert.ok(ready.ready);
      });
    }
    const others = the()
      .pods()
      .filter(({ node }) => node !== "node3");
    assert.deepEqual(
      (await the().ping(others)).filter(({ rttMs }) => rttMs === undefined),
      [],
    );
    await mallory.repent();
    await eventuallyHolds(async () => assert.deepEqual(await lost(the()), []));
    return "refused by name; the other nodes kept their peers and stayed ready";
  });
});
