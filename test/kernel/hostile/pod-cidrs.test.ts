import assert from "node:assert/strict";
import type { Lab } from "../../../lab/index.ts";
import { eventuallyHolds } from "../../support/eventually.ts";
import { inStep, useLab } from "../lab/support.ts";
import { attack, hostileNode } from "./support.ts";

const API = "172.30.0.1";
const HONEST = ["node1", "node2"];
/** A machine with other work on it takes its time, and nothing here is about how long. */
const PATIENT = { timeoutMs: 60_000 };

/** Prefixes that no node has been given; the last ones are what a wide route, or two halves of one, would draw. */
const FOREIGN: [what: string, podCidrs: string[]][] = [
  ["the API server's address as its pod CIDR", [`${API}/32`]],
  ["the API server's address in IPv6, beside its own pod CIDR", ["10.244.3.0/24", "fd30::1/128"]],
  ["the nodes' own prefix", ["172.30.0.0/24"]],
  ["a part of the nodes' prefix with the API server in it", ["172.30.0.0/29"]],
  ["another node's underlay address", ["172.30.0.12/32"]],
  ["a younger node's pod CIDR", ["10.244.2.0/24"]],
  ["a part of its own pod CIDR that is another one", ["10.244.3.0/25"]],
  ["the Services' CIDR", ["10.96.0.0/12"]],
  ["one Service's address", ["10.96.0.10/32"]],
  ["a wide prefix around all pods", ["10.0.0.0/8"]],
  ["somebody's prefix on the Internet", ["203.0.113.0/24"]],
];

async function wayToApi(lab: Lab, node: string): Promise<string> {
  return lab.exec(node, "ip", "route", "get", API);
}

describe("pod CIDRs that a hostile node announces", () => {
  const the = useLab({ nodes: 3 });

  before("a pod on each node", async () => {
    for (const node of [1, 2, 3]) await the().addPod(`node${node}`, `pod${node}`);
  });

  /** All is well for everybody but the one that lies. */
  async function unharmed(podCidrs: readonly string[]): Promise<void> {
    for (const node of HONEST) {
      await eventuallyHolds(async () => {
        const status = await the().status(the().node(node));
        const [network] = status.networks;
        assert.deepEqual(
          network?.refused.map(({ node: who, reason }) => `${who} ${reason}`),
          ["node3 ForeignPodCidr"],
        );
        assert.match(network?.refused[0]?.message ?? "", /which the API server has not given it/);
        assert.deepEqual(
          network?.peers.map(({ node: who, state }) => `${who} ${state}`),
          HONEST.filter((one) => one !== node).map((one) => `${one} programmed`),
        );
        assert.ok(status.ready.ready, JSON.stringify(status.ready));
      }, PATIENT);
      assert.doesNotMatch(await wayToApi(the(), node), /sky\.|via/);
      // The one prefix in the list that is somebody's leads to the node whose it is.
      const wanted = podCidrs.filter((cidr) => cidr.startsWith("10.244.2.") && node === "node1");
      const routes = await the().exec(node, "ip", "route", "show", "proto", "83");
      for (const cidr of podCidrs) {
        const there = routes.includes(`${cidr.replace("/32", "")} via`);
        assert.equal(there, wanted.includes(cidr), routes);
      }
    }
    const others = the()
      .pods()
      .filter(({ node }) => node !== "node3");
    assert.deepEqual(
      (await the().ping(others)).filter(({ rttMs }) => rttMs === undefined),
      [],
    );
  }

  for (const [what, podCidrs] of FOREIGN) {
    attack("node", `announces ${what}`, async () => {
      const mallory = await hostileNode(the(), "node3");
      try {
        await mallory.change({ podCidrs });
        await unharmed(podCidrs);
      } finally {
        await mallory.repent();
      }
      return "refused by name; everybody else stayed ready and reached each other and the API server";
    });
  }

  attack("node", "has announced the API server's address when a node boots while the API server is away", async () => {
    const mallory = await hostileNode(the(), "node3");
    try {
      await mallory.change({ podCidrs: [`${API}/32`] });
      await unharmed([`${API}/32`]);
      await the().setFaults({ away: true });
      await the().restartNode("node1", { pods: false });
      await eventuallyHolds(async () => {
        const { api, networks } = await the().status(the().node("node1"));
        assert.equal(api.state, "cached");
        assert.deepEqual(
          networks[0]?.refused.map(({ node, reason }) => `${node} ${reason}`),
          ["node3 ForeignPodCidr"],
        );
        assert.deepEqual(
          networks[0]?.peers.map(({ node, state }) => `${node} ${state}`),
          ["node2 programmed"],
        );
      }, PATIENT);
      assert.doesNotMatch(await wayToApi(the(), "node1"), /sky\.|via/);
    } finally {
      await the().clearFaults();
      await mallory.repent();
    }
    await inStep(the());
    return "what it said is in the cache and is refused out of it, too; the node found the API server again";
  });

  it("gets everybody back in the end", async () => {
    await eventuallyHolds(async () => {
      for (const { name } of the().nodes()) {
        const { networks } = await the().status(the().node(name));
        assert.equal(networks[0]?.peers.length, 2);
      }
    }, PATIENT);
  });
});
