import { deepEqual, equal, match } from "node:assert/strict";
import { type Reserved, reservedWithin } from "../../../src/peers/index.ts";

const here: Reserved = {
  apiServer: ["172.30.0.1", "10.96.0.1", "fd00:30::1"],
  gateways: ["172.30.0.254", "fe80::1"],
  own: ["172.30.0.11", "192.0.2.7", "fd00:30::11"],
  onLink: ["172.30.0.0/24", "fd00:30::/64"],
  services: ["10.96.0.0/12", "fd00:96::/108"],
  pods: ["10.244.0.0/16", "10.50.0.0/16", "fd00:244::/48"],
  podCidrs: ["10.244.1.0/24", "fd00:244:1::/64"],
};

describe("prefixes that no route to a peer may cover", () => {
  const refused: [prefix: string, names: string][] = [
    ["172.30.0.1/32", "API server's address 172.30.0.1"],
    ["172.30.0.0/16", "API server's address 172.30.0.1"],
    ["0.0.0.0/0", "API server's address"],
    ["fd00:30::1/128", "API server's address fd00:30::1"],
    ["fd00::/16", "API server's address fd00:30::1"],
    ["172.30.0.254/32", "gateway 172.30.0.254"],
    ["172.30.0.128/25", "gateway 172.30.0.254"],
    ["fe80::/64", "gateway fe80::1"],
    ["192.0.2.0/24", "own address 192.0.2.7"],
    ["fd00:30::10/124", "own address fd00:30::11"],
    ["10.96.0.0/12", "API server's address 10.96.0.1"],
    ["10.97.3.0/24", "Services' CIDR 10.96.0.0/12"],
    ["10.96.0.10/32", "Services' CIDR 10.96.0.0/12"],
    ["10.64.0.0/10", "API server's address 10.96.0.1"],
    ["fd00:96::a/128", "Services' CIDR fd00:96::/108"],
    ["172.30.0.64/26", "on-link prefix 172.30.0.0/24"],
    ["172.30.0.12/32", "on-link prefix 172.30.0.0/24"],
    ["fd00:30:0:0:1::/80", "on-link prefix fd00:30::/64"],
    ["172.30.0.12", "on-link prefix 172.30.0.0/24"],
  ];
  for (const [prefix, names] of refused) {
    it(`refuses ${prefix}, which covers the ${names}`, () => {
      match(String(reservedWithin(prefix, here)), new RegExp(names));
    });
  }

  for (const prefix of ["10.244.2.0/24", "172.30.1.0/24", "10.112.0.0/24", "fd00:244:2::/64", "fd00:31::/64"]) {
    it(`lets ${prefix} be`, () => equal(reservedWithin(prefix, here), undefined));
  }

  it("lets pods be in a part of a wide prefix on the link where this node's own are, too, but not around it", () => {
    const lan: Reserved = {
      ...here,
      apiServer: ["10.0.0.2"],
      own: ["10.0.0.11"],
      onLink: ["10.0.0.0/8"],
      services: [],
    };
    equal(reservedWithin("10.244.2.0/24", lan), undefined);
    deepEqual(
      ["10.0.0.0/24", "10.0.0.0/8", "0.0.0.0/0"].map((prefix) => reservedWithin(prefix, lan)),
      Array(3).fill("the API server's address 10.0.0.2"),
    );
    const elsewhere = { ...lan, podCidrs: ["192.168.1.0/24"] };
    equal(reservedWithin("10.244.2.0/24", elsewhere), "the on-link prefix 10.0.0.0/8");
    const exactly = { ...lan, apiServer: [], own: [] };
    equal(reservedWithin("10.0.0.0/8", exactly), "the on-link prefix 10.0.0.0/8");
  });
});
