import assert from "node:assert/strict";
import { outsideInWords, podsOutside } from "../../../src/pod-requests/outside-pods.ts";

describe("pods outside of the node's pod CIDRs", () => {
  const pods = [
    { pod: "shop/b", ip: "10.244.1.7" },
    { pod: "shop/b", ip: "fd00:10:244:1::7" },
    { pod: "shop/a", ip: "10.244.1.9" },
  ];
  const names = (podCidrs: string[]): string[] => podsOutside(pods, podCidrs).map(({ pod, ip }) => `${pod} ${ip}`);

  it("are those with an address in none of them, of either family", () => {
    assert.deepEqual(names(["10.244.1.0/24", "fd00:10:244:1::/64"]), []);
    assert.deepEqual(names(["10.244.1.8/29", "10.244.1.0/29", "fd00:10:244:1::/64"]), []);
    assert.deepEqual(names(["10.244.2.0/24", "fd00:10:244:1::/64"]), ["shop/a 10.244.1.9", "shop/b 10.244.1.7"]);
    assert.deepEqual(names(["10.244.1.8/29", "fd00:10:244:2::/64"]), ["shop/b 10.244.1.7", "shop/b fd00:10:244:1::7"]);
  });

  it("have a reason that names the CIDR, or the family that the node has no more", () => {
    const [one] = podsOutside(pods.slice(0, 1), ["10.244.2.0/24", "fd00::/64"]);
    assert.equal(one?.why, "outside of the node's pod CIDR 10.244.2.0/24");
    const [other] = podsOutside(pods.slice(1, 2), ["10.244.1.0/24"]);
    assert.equal(other?.why, "the node has no pod CIDR of IPv6 any more");
  });

  it("are named by ten, with how many more there are", () => {
    const many = Array.from({ length: 12 }, (_, i) => ({ pod: `shop/p${i + 10}`, ip: `10.244.1.${i + 10}` }));
    const text = outsideInWords(podsOutside(many, ["10.244.2.0/24"]));
    assert.match(
      text,
      /outside of the node's pod CIDR 10\.244\.2\.0\/24\. Delete these pods.*: shop\/p10 \(10\.244\.1\.10\), /,
    );
    assert.match(text, /shop\/p19 \(10\.244\.1\.19\) and 2 more$/);
    const both = outsideInWords(podsOutside(pods, ["10.9.0.0/24"]));
    assert.match(both, /shop\/b \(10\.244\.1\.7, fd00:10:244:1::7\)$/);
  });
});
