import assert from "node:assert/strict";
import fc from "fast-check";
import { type Packet, PolicyModel, PolicyTable, verdictOf } from "../../../src/policy/index.ts";
import { PROTOCOLS } from "../../../src/policy/nft/render.ts";
import { podAt } from "../../../src/policy/semantics/oracle.ts";
import type { World } from "../../../src/policy/semantics/types.ts";
import {
  addressesOf,
  change,
  changed,
  modelOf,
  namesIn,
  NODE,
  POD_CIDRS,
  PODS,
  world,
} from "../../unit/policy/support.ts";
import { type PolicyNode, policyNode } from "./policy-node.ts";

const OWN = ["172.30.0.1", "fd30::1"] as const;

/** Who may send: pods here from their own links, everybody else from outside. The node itself is judged by nobody. */
function packetsIn(world: World): Packet[] {
  const own = new Set<string>(OWN);
  const here = new Set(world.pods.filter(({ node }) => node === NODE).flatMap(({ ips }) => ips));
  const packets: Packet[] = [];
  for (const source of addressesOf(world))
    for (const destination of addressesOf(world)) {
      if (own.has(source) || source === destination || source.includes(":") !== destination.includes(":")) continue;
      if (!here.has(source) && !here.has(destination)) continue;
      for (const protocol of ["TCP", "UDP"] as const)
        for (const port of [53, 80, 443, 8080]) packets.push({ source, destination, protocol, port });
    }
  return packets;
}

async function hold(node: PolicyNode, world: World): Promise<number> {
  const packets = packetsIn(world);
  const arrived = await node.arriving(packets);
  const wrong = packets.flatMap((packet, i) => {
    const { egress, ingress } = verdictOf(world, packet);
    // The other node judges its own pods.
    const here = (ip: string): boolean => podAt(world, ip)?.node === NODE;
    const wanted =
      (!here(packet.source) || (egress?.allowed ?? true)) && (!here(packet.destination) || (ingress?.allowed ?? true));
    return wanted === arrived[i] ? [] : [`${JSON.stringify(packet)} ${wanted ? "was dropped" : "arrived"}`];
  });
  assert.deepEqual(wrong.slice(0, 5), [], `of ${packets.length} packets ${wrong.length} met with something else`);
  return arrived.filter((one) => !one).length;
}

describe("network policies in a real kernel", () => {
  let node: PolicyNode;

  before(() => {
    node = policyNode(OWN);
    for (let n = 0; n < PODS; n += 2) node.pod(`${n}`, [`10.0.0.${n + 1}`, `fd00::${(n + 1).toString(16)}`]);
  });

  it("drop and pass what the oracle says, of generated policies, pods and nodes", async function () {
    this.timeout(300_000);
    const seen = { denied: 0 };
    using table = new PolicyTable({ netns: node.ns.path });
    // In some clusters nothing is denied: then others are drawn, so that both happen.
    for (let round = 0; round < 10 && seen.denied === 0; round++)
      await fc.assert(
        fc.asyncProperty(world, async (world) => {
          const model = modelOf(world);
          await table.put(model.ruleset);
          const denied = await hold(node, world);
          seen.denied += denied;
        }),
        { numRuns: 5, endOnFailure: true },
      );
    assert.ok(seen.denied > 0);
  });

  for (const protocol of PROTOCOLS)
    it(`do so after every change, each one on the table that is there, by ${protocol}`, async function () {
      this.timeout(300_000);
      using table = new PolicyTable({
        netns: node.ns.path,
        protocol,
        onRefused: (error) => {
          // Once, on kernels that do not support the first form.
          if (!error.message.includes("Operation not supported")) throw error;
        },
      });
      await fc.assert(
        fc.asyncProperty(world, fc.array(change, { minLength: 3, maxLength: 5 }), async (start, changes) => {
          const model = new PolicyModel(NODE, POD_CIDRS);
          await table.put(model.ruleset);
          await table.apply(model.ruleset, model.change(namesIn(start)).rules);
          await table.apply(model.ruleset, model.replace(start).rules);
          let now = start;
          for (const one of changes) {
            now = changed(now, one);
            const { rules } = model.change(one);
            await table.apply(model.ruleset, rules);
          }
          await hold(node, now);
          await table.apply(model.ruleset, model.replace({ policies: [] }).rules);
          await hold(node, { ...now, policies: [] });
        }),
        { numRuns: 5, endOnFailure: true },
      );
    });
});
