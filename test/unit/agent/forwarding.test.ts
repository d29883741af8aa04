import assert from "node:assert/strict";
import { type ForwardingLink, planForwarding, readForwarding } from "../../../src/host/forwarding.ts";
import { linkOf } from "../../support/link.ts";

const uplink: ForwardingLink = {
  name: "eth0",
  usesRa: true,
  physical: true,
  overlay: false,
  acceptRa: "1",
  forwarding4: "0",
  forwarding6: "0",
};
const overlay: ForwardingLink = { ...uplink, name: "sky.4096", usesRa: false, physical: false, overlay: true };

describe("forwarding", () => {
  it("keeps the default route of an uplink with router advertisements, before it switches IPv6 on", () => {
    assert.deepEqual(planForwarding({ ipv4: "0", ipv6: "0", links: [uplink] }), [
      { key: "net.ipv6.conf.eth0.accept_ra", value: "2" },
      { key: "net.ipv6.conf.all.forwarding", value: "1" },
      { key: "net.ipv4.ip_forward", value: "1" },
    ]);
  });

  it("does the same for a bridge or VLAN that uses advertisements, and for a physical device that may yet", () => {
    const keys = (link: ForwardingLink) => planForwarding({ ipv6: "0", links: [link] }).map(({ key }) => key);
    assert.ok(keys({ ...uplink, physical: false }).includes("net.ipv6.conf.eth0.accept_ra"));
    assert.ok(keys({ ...uplink, usesRa: false }).includes("net.ipv6.conf.eth0.accept_ra"));
    assert.ok(!keys({ ...uplink, usesRa: false, physical: false }).includes("net.ipv6.conf.eth0.accept_ra"));
  });

  it("leaves an operator's accept_ra of 0 or 2 alone, and everything where all is well", () => {
    for (const acceptRa of ["0", "2"])
      assert.deepEqual(planForwarding({ ipv4: "1", ipv6: "1", links: [{ ...uplink, acceptRa }] }), []);
    const settled = { ...uplink, usesRa: false, forwarding6: "1" };
    assert.deepEqual(planForwarding({ ipv4: "1", ipv6: "1", links: [settled] }), []);
  });

  it("rescues an uplink whose advertisements are about to be ignored because somebody else forwards", () => {
    assert.deepEqual(planForwarding({ ipv4: "1", ipv6: "1", links: [{ ...uplink, forwarding6: "1" }] }), [
      { key: "net.ipv6.conf.eth0.accept_ra", value: "2" },
    ]);
  });

  it("does without IPv6 where the kernel has none", () => {
    assert.deepEqual(planForwarding({ ipv4: "0", links: [{ ...uplink, acceptRa: undefined }] }), [
      { key: "net.ipv4.ip_forward", value: "1" },
    ]);
  });

  it("switches the overlay's own device back on when somebody switched it off alone", () => {
    assert.deepEqual(planForwarding({ ipv4: "1", ipv6: "1", links: [overlay] }), [
      { key: "net.ipv4.conf.sky.4096.forwarding", value: "1" },
      { key: "net.ipv6.conf.sky.4096.forwarding", value: "1" },
    ]);
  });

  it("takes an address for one from advertisements when nobody made it permanent, as dumps tell by leaving that out", () => {
    const links = ["skyra0", "skyra1", "skyra2", "skyra3"].map((name, i) => linkOf(i + 2, name));
    const addresses = [
      { ifindex: 2, ip: "fd30::11", prefix: 64 },
      { ifindex: 3, ip: "fd30::12", prefix: 64, permanent: true },
      { ifindex: 4, ip: "172.30.0.11", prefix: 24 },
      { ifindex: 5, ip: "fe80::1", prefix: 64 },
    ];
    assert.deepEqual(
      readForwarding(links, addresses, []).links.map(({ usesRa }) => usesRa),
      [true, false, false, false],
    );
    const learned = { family: 6, dst: "default", ifindex: 3, protocol: 9 } as const;
    assert.equal(readForwarding(links, addresses, [learned]).links[1]?.usesRa, true);
  });
});
