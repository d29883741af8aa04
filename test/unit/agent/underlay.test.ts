import assert from "node:assert/strict";
import { overlayMtu } from "../../../src/network/mtu.ts";
import { selectUnderlay, type UnderlayInput } from "../../../src/network/underlay.ts";
import { POD_LINK_GROUP } from "../../../src/netlink/types.ts";
import { linkOf } from "../../support/link.ts";

const input = (more: Partial<UnderlayInput> = {}): UnderlayInput => ({
  selection: {},
  internalIps: ["172.30.0.11"],
  links: [
    linkOf(1, "lo", { loopback: true, mtu: 65536 }),
    linkOf(2, "eth0"),
    linkOf(3, "eth1", { mtu: 9000 }),
    linkOf(4, "sky.4096", { kind: "vxlan" }),
    linkOf(5, "sky0123456789a", { kind: "veth", group: POD_LINK_GROUP }),
  ],
  addresses: [
    { ifindex: 1, ip: "127.0.0.1", prefix: 8 },
    { ifindex: 2, ip: "172.30.0.11", prefix: 24 },
    { ifindex: 2, ip: "fd30::11", prefix: 64 },
    { ifindex: 2, ip: "fe80::1", prefix: 64 },
    { ifindex: 3, ip: "10.9.0.4", prefix: 16 },
    { ifindex: 4, ip: "10.244.1.0", prefix: 32 },
    { ifindex: 5, ip: "10.244.1.9", prefix: 32 },
  ],
  routeTo: () => undefined,
  ...more,
});

function chosen(more: Partial<UnderlayInput> = {}) {
  const result = selectUnderlay(input(more));
  assert.ok("underlay" in result, "missing" in result ? result.missing : "");
  return result.underlay;
}

function missing(more: Partial<UnderlayInput>): string {
  const result = selectUnderlay(input(more));
  assert.ok("missing" in result);
  return result.missing;
}

describe("the underlay address", () => {
  it("is the Node's InternalIP that this machine has, with its device's MTU", () => {
    assert.deepEqual(chosen({ internalIps: ["192.0.2.1", "172.30.0.11", "fd30::11"] }), {
      ip: "172.30.0.11",
      ips: ["172.30.0.11", "fd30::11"],
      device: "eth0",
      ifindex: 2,
      mtu: 1500,
    });
  });

  it("is of the family that the Node names first", () => {
    assert.equal(chosen({ internalIps: ["fd30::11", "172.30.0.11"] }).ip, "fd30::11");
  });

  it("keeps the family in use while it can, whatever the Node names first, or leaves out for a moment", () => {
    const v4 = { family: 4, current: "172.30.0.11" } as const;
    assert.deepEqual(chosen({ ...v4, internalIps: ["fd30::11", "172.30.0.11"] }).ips, ["172.30.0.11", "fd30::11"]);
    assert.deepEqual(chosen({ ...v4, internalIps: ["fd30::11"] }).ips, ["172.30.0.11", "fd30::11"]);
    const v6 = { family: 6, current: "fd30::11" } as const;
    assert.equal(chosen({ ...v6, internalIps: ["172.30.0.11", "fd30::11"] }).ip, "fd30::11");
    assert.equal(chosen({ ...v6, internalIps: ["172.30.0.11"] }).ip, "fd30::11");
    // Another address of the family is no change of it.
    assert.equal(chosen({ family: 4, current: "172.30.0.9", internalIps: ["fd30::11", "10.9.0.4"] }).ip, "10.9.0.4");
    // Where this machine has none of it any more, the other one is better than none, until it comes back.
    const addresses = input().addresses.filter(({ ip }) => ip !== "172.30.0.11");
    assert.equal(chosen({ ...v4, addresses, internalIps: ["fd30::11", "172.30.0.11"] }).ip, "fd30::11");
    const back = { family: 4, current: "fd30::11", internalIps: ["fd30::11", "172.30.0.11"] } as const;
    assert.equal(chosen(back).ip, "172.30.0.11");
    const selection = { interface: "eth0" };
    assert.equal(chosen({ ...v4, selection, internalIps: ["fd30::11", "172.30.0.11"] }).ip, "172.30.0.11");
    // What an operator says on the Node is said on purpose.
    assert.equal(chosen({ ...v4, override: "fd30::11,172.30.0.11" }).ip, "fd30::11");
  });

  it("is waited for, with the addresses looked for, while the machine has none of them", () => {
    assert.match(missing({ internalIps: ["192.0.2.1"] }), /192\.0\.2\.1.*on an interface of this machine/);
    assert.match(missing({ internalIps: [] }), /no InternalIP yet/);
  });

  it("is waited for while duplicate address detection runs", () => {
    const addresses = [{ ifindex: 2, ip: "fd30::11", prefix: 64, tentative: true }];
    assert.match(missing({ internalIps: ["fd30::11"], addresses }), /fd30::11/);
  });

  it("follows the operator's annotation before everything else", () => {
    const selection = { interface: "eth0" };
    assert.equal(chosen({ override: "10.9.0.4", selection }).device, "eth1");
    assert.deepEqual(chosen({ override: " fd30::11, 10.9.0.4 " }).ips, ["fd30::11", "10.9.0.4"]);
  });

  it("says what is wrong with the operator's annotation instead of guessing", () => {
    assert.match(missing({ override: "eth0" }), /malformed: "eth0"/);
    assert.match(missing({ override: "192.0.2.1" }), /192\.0\.2\.1, which is on no interface/);
    assert.match(missing({ override: "10.9.0.4,172.30.0.11" }), /two IPv4 addresses/);
  });

  it("is selected by interface, expression, prefix or reachable address", () => {
    assert.equal(chosen({ selection: { interface: "eth1" } }).ip, "10.9.0.4");
    assert.equal(chosen({ selection: { interfaceRegexp: "eth[1-9]" } }).ip, "10.9.0.4");
    assert.match(missing({ selection: { interfaceRegexp: "th1" } }), /interfaceRegexp th1/);
    assert.equal(chosen({ selection: { cidr: "10.9.0.0/16" } }).ip, "10.9.0.4");
    const routeTo = () => ({ ifindex: 3, prefSrc: "10.9.0.4" });
    assert.equal(chosen({ selection: { canReach: "10.9.0.1" }, routeTo }).ip, "10.9.0.4");
    assert.match(missing({ selection: { canReach: "192.0.2.9" } }), /no route to 192\.0\.2\.9/);
  });

  it("is never on a device of Skylane's own, whatever the selection covers", () => {
    assert.match(missing({ selection: { cidr: "10.244.0.0/16" } }), /cidr 10\.244\.0\.0\/16/);
    assert.match(missing({ selection: { interfaceRegexp: "sky.*" } }), /sky/);
  });

  it("prefers the Node's own address on an interface with several, then the one in use, then a permanent one", () => {
    const addresses = [
      { ifindex: 2, ip: "172.30.0.250", prefix: 32 },
      { ifindex: 2, ip: "172.30.0.11", prefix: 24 },
    ];
    const selection = { interface: "eth0" };
    assert.equal(chosen({ addresses, selection }).ip, "172.30.0.11");
    assert.equal(chosen({ addresses, selection, internalIps: [] }).ip, "172.30.0.250");
    assert.equal(chosen({ addresses, selection, internalIps: [], current: "172.30.0.11" }).ip, "172.30.0.11");
    const temporary = [addresses[0]!, { ...addresses[1]!, permanent: true }];
    assert.equal(chosen({ addresses: temporary, selection, internalIps: [] }).ip, "172.30.0.11");
  });

  it("takes the physical devices' MTU where the address is on loopback", () => {
    const addresses = [{ ifindex: 1, ip: "172.30.0.11", prefix: 32 }];
    assert.equal(chosen({ addresses }).mtu, 1500);
  });
});

describe("the overlay's MTU", () => {
  const eth0 = { ip: "172.30.0.11", mtu: 1500, device: "eth0" };

  it("is the underlay's less what encapsulation adds", () => {
    assert.deepEqual(overlayMtu("auto", eth0, [4, 6]), { mtu: 1450, warnings: [] });
    assert.deepEqual(overlayMtu("auto", { ...eth0, ip: "fd30::11" }, [4]), { mtu: 1430, warnings: [] });
  });

  it("leaves room for WireGuard where what goes between nodes is encrypted", () => {
    assert.equal(overlayMtu("auto", eth0, [4, 6], "wireguard").mtu, 1390);
    assert.equal(overlayMtu("auto", { ...eth0, ip: "fd30::11" }, [4], "strict").mtu, 1350);
    assert.match(overlayMtu(1450, eth0, [4], "strict").warnings.join(), /over 1390.*in WireGuard/);
  });

  it("is the configured one, with a warning when it does not fit", () => {
    assert.deepEqual(overlayMtu(1400, eth0, [4]), { mtu: 1400, warnings: [] });
    const large = overlayMtu(1500, eth0, [4]);
    assert.equal(large.mtu, 1500);
    assert.match(large.warnings.join(), /over 1450.*eth0/);
  });

  it("warns where pods could have no IPv6", () => {
    assert.match(overlayMtu("auto", { ...eth0, mtu: 1300 }, [4, 6]).warnings.join(), /under the 1280/);
    assert.deepEqual(overlayMtu("auto", { ...eth0, mtu: 1300 }, [4]).warnings, []);
    // Whoever can mend it is named: the link, the configuration, or both.
    assert.match(
      overlayMtu("auto", { ...eth0, mtu: 1329 }, [6]).narrow ?? "",
      /eth0 has an MTU of 1329; it must be 1330/,
    );
    assert.match(overlayMtu(1200, eth0, [6]).narrow ?? "", /the configured mtu must be 1280 at least$/);
    const both = overlayMtu(1200, { ...eth0, ip: "fd30::11", mtu: 1300 }, [6]).narrow ?? "";
    assert.match(both, /the configured mtu must be 1280 at least, and that of eth0, which is 1300, 1350$/);
    assert.equal(overlayMtu("auto", { ...eth0, mtu: 1330 }, [6]).narrow, undefined);
  });
});
