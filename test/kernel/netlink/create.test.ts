/** Making a device and hearing of it in the same exchange. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { type Creation, NetlinkError, Rtnl } from "../../../src/netlink/index.ts";
import { openNetns, closeFd } from "../../../src/sys/index.ts";
import { testNamespace } from "../support/netns.ts";

describe("a device that is made and told of at once", () => {
  const here = testNamespace("create-here");
  const there = testNamespace("create-there");
  let rtnl: Rtnl;
  let peers: Rtnl;
  let fd: number;
  const pair = (name: string): Creation => ({
    op: "add",
    kind: "link",
    link: { kind: "veth", name, mtu: 1400, queues: 1, peer: { name: `${name}p`, mtu: 1400, netnsFd: fd } },
  });
  before(() => {
    rtnl = Rtnl.open({ netns: here.path });
    peers = Rtnl.open({ netns: there.path });
    fd = openNetns(there.path);
  });
  after(() => {
    rtnl.close();
    peers.close();
    closeFd(fd);
  });

  it("is made with an MTU under which there is no IPv6, whatever is asked of its link-local addresses", () => {
    const asked = { addrGenMode: "none", mtu: 1200 } as const;
    const peer = { ...asked, name: "narrowp", netnsFd: fd };
    rtnl.execute({ op: "add", kind: "link", link: { ...asked, kind: "veth", name: "narrow", alias: "thin", peer } });
    assert.deepEqual(
      [rtnl.link("narrow")?.alias, rtnl.link("narrow")?.mtu, peers.link("narrowp")?.mtu],
      ["thin", 1200, 1200],
    );
    const vxlan = { kind: "vxlan", name: "narrowx", vni: 1, port: 4789, local: "192.0.2.1" } as const;
    rtnl.execute({ op: "add", kind: "link", link: { ...asked, ...vxlan } });
    assert.equal(rtnl.link("narrowx")?.mtu, 1200);
  });

  it("is the one that is there, with its peer in another namespace", () => {
    const made = rtnl.create(pair("one"));
    const [own, peer] = [rtnl.link("one"), peers.link("onep")];
    assert.ok(made && own && peer);
    assert.equal(made.index, own.index);
    assert.equal(made.peerIndex, peer.index);
    assert.equal(made.mtu, 1400);
    assert.equal(made.mac, own.mac);
  });

  it("has the queues that were asked for, at both ends", () => {
    for (const [{ path }, name] of [
      [here, "one"],
      [there, "onep"],
    ] as const) {
      const [link] = JSON.parse(
        execFileSync("nsenter", [`--net=${path}`, "ip", "-d", "-j", "link", "show", name], { encoding: "utf8" }),
      ) as { num_tx_queues: number; num_rx_queues: number }[];
      assert.deepEqual([link?.num_tx_queues, link?.num_rx_queues], [1, 1]);
    }
  });

  it("is refused with the kernel's reason, and the conversation goes on", () => {
    assert.throws(
      () => rtnl.create(pair("one")),
      (error) => error instanceof NetlinkError && error.code === "EEXIST",
    );
    assert.ok(rtnl.create(pair("two"))?.peerIndex);
  });

  it("is returned as well where making it takes more than one message", () => {
    const made = rtnl.create({ op: "add", kind: "link", link: { kind: "bridge", name: "br", alias: "a bridge" } });
    assert.equal(made?.alias, "a bridge");
  });

  it("goes, one removal after the other through one socket", async () => {
    for (const name of ["one", "two"]) {
      const { index } = rtnl.link(name) ?? { index: 0 };
      assert.deepEqual(await rtnl.deleteLinks([{ index, name }]), []);
      assert.equal(rtnl.link(name), undefined);
    }
  });
});
