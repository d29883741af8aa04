import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { probe, probeSome } from "../../../src/agent/selftest.ts";

describe("asking a peer through the tunnel", () => {
  it('takes the kernel\'s "port unreachable" for an answer', async () => {
    const path = { node: "b", from: "127.0.0.1", to: "127.0.0.1" };
    assert.equal((await probe(path, 2_000)).answered, true);
    assert.deepEqual(await probeSome([path], 0), { asked: 1, answered: "b" });
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
});
