import assert from "node:assert/strict";
import { cidrCovers, cidrsOverlap, parseCidr, parseIp, parseMac } from "../../../src/addr/index.ts";
import {
  CLUSTER_CIDRS,
  MAX_NODES,
  nodeName,
  nodeNumber,
  podCidr,
  podFamilies,
  podName,
  portName,
  underlayFamilies,
  underlayIp,
  underlayMac,
} from "../../../lab/cluster/names.ts";

describe("the lab's numbering plan", () => {
  const numbers = Array.from({ length: MAX_NODES }, (_, i) => i + 1);

  it("says where an address belongs", () => {
    assert.equal(underlayIp(2, 4), "172.30.0.12");
    assert.equal(underlayIp(2, 6), "fd30::12");
    assert.equal(podCidr(2, 4), "10.244.2.0/24");
    assert.equal(podCidr(2, 6), "fd00:10:244:2::/64");
  });

  it("gives canonical values, different for every node, in their ranges", () => {
    for (const family of [4, 6] as const) {
      const ips = numbers.map((n) => underlayIp(n, family));
      const cidrs = numbers.map((n) => podCidr(n, family));
      assert.deepEqual(ips.map(parseIp), ips);
      assert.deepEqual(cidrs.map(parseCidr), cidrs);
      assert.equal(new Set(ips).size, MAX_NODES);
      assert.ok(cidrs.every((cidr) => cidrCovers(CLUSTER_CIDRS[family], cidr)));
      assert.ok(cidrs.every((cidr, i) => i === 0 || !cidrsOverlap(cidr, cidrs[i - 1] as string)));
    }
    const macs = numbers.map(underlayMac);
    assert.deepEqual(macs.map(parseMac), macs);
    assert.equal(new Set(macs).size, MAX_NODES);
    assert.ok(numbers.every((n) => portName(n).length <= 15));
  });

  it("understands a node by name or number, and nothing else", () => {
    for (const n of [1, 7, MAX_NODES]) {
      assert.equal(nodeNumber(nodeName(n)), n);
      assert.equal(nodeNumber(String(n)), n);
    }
    for (const text of ["", "0", "node0", "node01", "node201", "201", "nodes1", "node1 ", "-1", "1e2", "../1"])
      assert.throws(() => nodeNumber(text), RangeError, text);
  });

  it("names pods by node and letter", () => {
    assert.deepEqual(
      [0, 1, 25, 26, 27, 51, 52, 701, 702].map((k) => podName(3, k)),
      ["n3-a", "n3-b", "n3-z", "n3-aa", "n3-ab", "n3-az", "n3-ba", "n3-zz", "n3-aaa"],
    );
  });

  it("keeps pods dual-stack on an IPv6 underlay", () => {
    assert.deepEqual([underlayFamilies("ipv6-underlay"), podFamilies("ipv6-underlay")], [[6], [4, 6]]);
    assert.deepEqual([underlayFamilies("ipv4-only"), podFamilies("ipv4-only")], [[4], [4]]);
    assert.deepEqual(
      [underlayFamilies("dual-stack"), podFamilies("dual-stack")],
      [
        [4, 6],
        [4, 6],
      ],
    );
  });
});
