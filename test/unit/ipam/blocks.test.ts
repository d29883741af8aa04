import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { cidrContains, networkAddress } from "../../../src/addr/index.ts";
import { Ipam, IpamExhausted, IpamInvalid, IpamTaken, type Owner } from "../../../src/ipam/local/index.ts";

const made: string[] = [];
function temporary(): string {
  const dir = mkdtempSync(join(tmpdir(), "skylane-blocks-"));
  made.push(dir);
  return join(dir, "blue");
}
const owner = (n: number | string): Owner => ({ containerId: `container-${n}`, ifname: "net1" });
const blocks = ["10.1.0.0/29", "fd00:1::/125", "10.1.7.8/29", "fd00:1::70/125"];

after(() => {
  for (const dir of made) rmSync(dir, { recursive: true, force: true });
});

describe("addresses from several blocks a family", function () {
  this.timeout(20_000);
  it("are one a family, of the first block first, and the error of the last one names the blocks", () => {
    const ipam = new Ipam({ dir: temporary() });
    const four = ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6", "10.1.7.10"];
    const six = ["fd00:1::2", "fd00:1::3", "fd00:1::4", "fd00:1::5", "fd00:1::6", "fd00:1::7"];
    const given = four.map((_, n) => ipam.reserve(owner(n), { podCidrs: blocks }));
    assert.deepEqual(
      given,
      four.map((ip, n) => [ip, six[n]]),
    );
    for (let n = 6; n < 10; n++) ipam.reserve(owner(n), { podCidrs: blocks });
    assert.throws(
      () => ipam.reserve(owner(10), { podCidrs: blocks }),
      (error) => error instanceof IpamExhausted && /10\.1\.0\.0\/29, 10\.1\.7\.8\/29: 10 of its 10/.test(error.message),
    );
  });

  it("go on with the next block as soon as there is one, and with the one freed longest ago over all of them", () => {
    const ipam = new Ipam({ dir: temporary() });
    const one = { podCidrs: ["10.1.0.0/29"] };
    const two = { podCidrs: ["10.1.0.0/29", "10.1.7.8/29"] };
    for (let n = 0; n < 5; n++) ipam.reserve(owner(n), one);
    assert.throws(() => ipam.reserve(owner(5), one), IpamExhausted);
    for (let n = 5; n < 10; n++) ipam.reserve(owner(n), two);
    for (const n of [7, 1, 9]) ipam.release(owner(n));
    assert.deepEqual(
      [20, 21, 22].map((n) => ipam.reserve(owner(n), two)[0]),
      ["10.1.7.12", "10.1.0.3", "10.1.7.14"],
    );
  });

  it("never are a block's network address, whatever the blocks are", () => {
    const block = fc.tuple(fc.nat(255), fc.constantFrom(26, 28, 30)).map(([third, size]) => `10.2.${third}.0/${size}`);
    fc.assert(
      fc.property(
        fc.uniqueArray(block, { minLength: 1, maxLength: 3, selector: (b) => b.split("/")[0] }),
        (podCidrs) => {
          const ipam = new Ipam({ dir: temporary() });
          for (let n = 0; n < 4; n++) {
            let ip: string | undefined;
            try {
              [ip] = ipam.reserve(owner(n), { podCidrs });
            } catch (error) {
              assert.ok(error instanceof IpamExhausted);
              return;
            }
            assert.ok(podCidrs.some((cidr) => cidrContains(cidr, ip as string) && networkAddress(cidr) !== ip));
          }
        },
      ),
      { numRuns: 30 },
    );
  });

  it("are counted by block", () => {
    const ipam = new Ipam({ dir: temporary() });
    for (let n = 0; n < 6; n++) ipam.reserve(owner(n), { podCidrs: blocks });
    assert.deepEqual(
      ipam.usage(blocks, ["10.1.7.14"]).map(({ block, used, total }) => `${block} ${used}/${total}`),
      ["10.1.0.0/29 5/5", "fd00:1::/125 6/6", "10.1.7.8/29 1/4", "fd00:1::70/125 0/6"],
    );
    assert.deepEqual(new Ipam({ dir: temporary() }).usage(["10.1.0.0/29"]), [
      { block: "10.1.0.0/29", used: 0, total: 5n },
    ]);
    assert.throws(() => ipam.usage(["10.1.0.1/29"]), IpamInvalid);
  });
});

describe("a claim's address", () => {
  const claim = { podCidrs: blocks, claimed: true };

  it("may be outside of the blocks; the other family's comes from them", () => {
    const ipam = new Ipam({ dir: temporary() });
    assert.deepEqual(ipam.reserve(owner(1), { ...claim, ips: ["10.9.0.77"] }), ["10.9.0.77", "fd00:1::2"]);
    assert.deepEqual(ipam.reserve(owner(2), { podCidrs: [], claimed: true, ips: ["fd00:9::1", "10.9.0.78"] }), [
      "fd00:9::1",
      "10.9.0.78",
    ]);
    assert.deepEqual(ipam.release(owner(2)).sort(), ["10.9.0.78", "fd00:9::1"]);
  });

  it("is given once, and only where a claim is the reason", () => {
    const ipam = new Ipam({ dir: temporary() });
    ipam.reserve(owner(1), { ...claim, ips: ["10.9.0.77"] });
    assert.throws(() => ipam.reserve(owner(2), { ...claim, ips: ["10.9.0.77"] }), IpamTaken);
    assert.throws(() => ipam.reserve(owner(3), { podCidrs: blocks, ips: ["10.9.0.78"] }), IpamInvalid);
  });

  for (const ip of ["10.1.0.0", "10.1.0.7", "224.0.0.1", "127.0.0.1", "fe80::1", "10.9.0.1"]) {
    it(`is not ${ip}`, () => {
      const ipam = new Ipam({ dir: temporary() });
      assert.throws(() => ipam.reserve(owner(1), { ...claim, ips: [ip], exclude: ["10.9.0.1"] }), IpamInvalid);
    });
  }
});

describe("a block that is given back", () => {
  it("is retired only when nothing of it is taken, and from then on nobody gives from it until it is admitted", () => {
    const dir = temporary();
    const ipam = new Ipam({ dir });
    const podCidrs = ["10.1.0.0/30", "10.1.7.8/30"];
    ipam.reserve(owner(1), { podCidrs });
    assert.equal(ipam.retire("10.1.0.0/30"), false);
    assert.deepEqual(ipam.retired(), []);
    assert.equal(ipam.retire("10.1.7.8/30"), true);
    assert.equal(ipam.retire("10.1.7.8/30"), true, "again is fine");

    const other = new Ipam({ dir });
    assert.deepEqual(other.retired(), ["10.1.7.8/30"]);
    assert.throws(() => other.reserve(owner(2), { podCidrs }), IpamExhausted);
    assert.throws(() => other.reserve(owner(2), { podCidrs: ["10.1.7.8/30"] }), IpamExhausted);
    assert.throws(
      () => other.reserve(owner(2), { podCidrs, ips: ["10.1.7.10"] }),
      (error) => error instanceof IpamInvalid && /10\.1\.7\.8\/30 is no longer this node's/.test(error.message),
    );

    other.admit("10.1.7.8/30");
    assert.deepEqual(ipam.reserve(owner(2), { podCidrs }), ["10.1.7.10"]);
  });
});
