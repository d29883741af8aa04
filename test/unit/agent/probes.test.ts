import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { pathComplaint, probe, probePaths, probeSome, udpPortBound } from "../../../src/network/probes.ts";

describe("the self-test's local half", () => {
  it("sees the VXLAN socket by its port", () => {
    const table = "  sl  local_address rem_address\n  12: 00000000:12B5 00000000:0000 07\n";
    assert.equal(
      udpPortBound(4789, 4, () => table),
      true,
    );
    assert.equal(
      udpPortBound(8472, 4, () => table),
      false,
    );
  });

  it("goes from our VTEP address to the peer's, one path a peer", () => {
    const own = ["10.244.1.0/24", "fd00:1::/64"];
    const peers = [
      { node: "b", podCidrs: ["fd00:2::/64", "10.244.2.0/24"] },
      { node: "c", podCidrs: ["fd00:3::/64"] },
    ];
    assert.deepEqual(probePaths(own, peers), [
      { node: "b", from: "10.244.1.0", to: "10.244.2.0" },
      { node: "c", from: "fd00:1::", to: "fd00:3::" },
    ]);
    assert.deepEqual(probePaths(["10.244.1.0/24"], [peers[1]!]), []);
  });

  it("complains about a route that leads elsewhere, or from elsewhere", () => {
    const path = { node: "b", from: "10.244.1.0", to: "10.244.2.0" };
    const device = { ifindex: 9, name: "sky.4096" };
    assert.equal(
      pathComplaint(path, device, () => ({ ifindex: 9, prefSrc: "10.244.1.0" })),
      undefined,
    );
    assert.match(pathComplaint(path, device, () => undefined) ?? "", /no route to 10\.244\.2\.0/);
    assert.match(pathComplaint(path, device, () => ({ ifindex: 2 })) ?? "", /another device than sky\.4096/);
    assert.match(pathComplaint(path, device, () => ({ ifindex: 9, prefSrc: "10.0.0.1" })) ?? "", /10\.0\.0\.1 instead/);
  });
});

describe("asking a peer through the tunnel", () => {
  it('takes the kernel\'s "port unreachable" for an answer', async () => {
    const path = { node: "b", from: "127.0.0.1", to: "127.0.0.1" };
    assert.equal((await probe(path, 2_000)).answered, true);
    assert.deepEqual(await probeSome([path]), { asked: 1, answered: "b" });
  });

  it("takes silence for silence, and an address that is not ours for no answer with its reason", async () => {
    // A socket on that very port swallows the datagrams.
    const swallower = createSocket("udp4").bind(0, "127.0.0.1");
    await once(swallower, "listening");
    const path = { node: "b", from: "127.0.0.1", to: "127.0.0.1" };
    assert.deepEqual(await probe(path, 400, swallower.address().port), { answered: false });
    swallower.close();
    const { answered, error } = await probe({ node: "b", from: "192.0.2.1", to: "127.0.0.1" }, 400);
    assert.equal(answered, false);
    assert.match(String(error), /EADDRNOTAVAIL/);
  });

  it("says why where the kernel has no way there at all", async () => {
    // What is sent from the loopback device's address does not leave it.
    const { answered, error } = await probe({ node: "b", from: "127.0.0.1", to: "192.0.2.1" }, 400);
    assert.equal(answered, false);
    assert.match(String(error), /EINVAL|ENETUNREACH/);
  });
});
