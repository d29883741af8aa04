import assert from "node:assert/strict";
import { rulesOf } from "../../../src/firewall/node-firewall.ts";
import { loadAgentConfig } from "../../../src/config/index.ts";
import type { LocalNetwork, Peer } from "../../../src/peers/index.ts";

const config = loadAgentConfig({ argv: ["--node-name", "n1"], env: {} });
const PREFIXES = ["10.244.2.0/24", "fd00:2::/64"];

function sourcesOf(peer: Partial<Peer>, local: Partial<LocalNetwork> = {}): readonly string[] | undefined {
  const one: Peer = { node: "n2", mac: "02:00:00:00:00:02", underlayIp: "172.30.0.2", podCidrs: PREFIXES, ...peer };
  const { podCidrs = ["10.244.1.0/24"], ...others } = local;
  const network = { network: "default", vni: 4096, port: 4789, podCidrs, clusterCidrs: [], ...others } as unknown;
  return rulesOf(network as LocalNetwork, new Map([["n2", one]]), config)
    .sources?.()
    .flatMap(({ ip, cidrs }) => cidrs.map((cidr) => `${ip} ${cidr}`));
}
const from = (ip: string, ...cidrs: string[]): string[] => cidrs.map((cidr) => `${ip} ${cidr}`);

describe("what a peer is believed to send from", () => {
  it("is its prefixes, and in the default network its underlay address", () => {
    assert.deepEqual(sourcesOf({}), from("172.30.0.2", ...PREFIXES, "172.30.0.2/32"));
    const mixed = sourcesOf({ underlayIp: "fd30::2" });
    assert.deepEqual(mixed, from("fd30::2", ...PREFIXES, "fd30::2/128"));
  });

  it("is not what it says of its own underlay addresses besides", () => {
    const more = sourcesOf({ receivesAt: ["172.30.0.2", "fd30::9"] });
    assert.deepEqual(more, from("172.30.0.2", ...PREFIXES, "172.30.0.2/32"));
  });

  it("is its blocks and the addresses of its claims in a network with a namespace of its own, where no node has an address", () => {
    const isolated = { isolated: true };
    assert.deepEqual(sourcesOf({}, isolated), from("172.30.0.2", ...PREFIXES));
    const hosts = sourcesOf({ hosts: ["10.50.0.9", "fd50::9"] }, isolated);
    assert.deepEqual(hosts, from("172.30.0.2", ...PREFIXES, "10.50.0.9/32", "fd50::9/128"));
  });
});
