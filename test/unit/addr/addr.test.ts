import assert from "node:assert/strict";
import fc from "fast-check";
import ipaddr from "ipaddr.js";
import {
  bigIntToIp,
  bytesToIp,
  cidrContains,
  cidrCovers,
  cidrsOverlap,
  derivedMac,
  ipScope,
  ipToBigInt,
  ipToBytes,
  linkLocalOf,
  macOfLinkLocal,
  networkAddress,
  parseCidr,
  parseIp,
  parseMac,
} from "../../../src/addr/index.ts";

const ipv4 = fc.ipV4();
const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => bytesToIp(bytes));

describe("addresses", () => {
  it("are canonical text: RFC 5952 for IPv6", () => {
    assert.equal(parseIp("FD00:0:0:0:0:0:0:1"), "fd00::1");
    assert.equal(parseIp("10.0.0.1"), "10.0.0.1");
  });

  it("refuse what only some parsers call an address, naming it", () => {
    for (const text of [
      "",
      "10.1",
      "010.0.0.1",
      "1.2.3.4.5",
      "0x7f.1",
      "fe80::1%eth0",
      "::ffff:10.0.0.1",
      "10.0.0.256",
    ]) {
      assert.throws(() => parseIp(text), RangeError, text);
    }
    assert.throws(() => parseIp("evil\u001b[2J"), /evil\\u001b/);
  });

  it("are read as the library reads them, whatever the text", () => {
    const digits = fc.stringMatching(/^[0-9.]{0,16}$/);
    const parts = fc.array(
      fc.oneof(fc.integer({ min: 0, max: 300 }).map(String), fc.constantFrom("", "00", "01", "1x")),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          digits,
          ipv4,
          parts.map((all) => all.join(".")),
        ),
        (text) => {
          const valid = ipaddr.IPv4.isValidFourPartDecimal(text);
          if (!valid) return assert.throws(() => parseIp(text), RangeError);
          assert.equal(parseIp(text), text);
          assert.deepEqual([...ipToBytes(text)], ipaddr.IPv4.parse(text).toByteArray());
          const range: string = ipaddr.parse(text).range();
          const told = ["linkLocal", "loopback", "multicast", "unspecified", "broadcast"].includes(range);
          assert.equal(ipScope(text), told ? range : "unicast");
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it("are read as the library reads them, in groups or not at all", () => {
    const part = fc.stringMatching(/^(::|:|[0-9a-g]{0,5}|1\.2\.3\.4)$/);
    const grouped = fc.array(part, { maxLength: 17 }).map((parts) => parts.join(""));
    fc.assert(
      fc.property(
        fc.oneof(
          grouped,
          fc.array(fc.stringMatching(/^[0-9a-f]{1,4}$/), { minLength: 6, maxLength: 9 }).map((all) => all.join(":")),
          ipv6,
        ),
        (text) => {
          if (ipaddr.IPv4.isValidFourPartDecimal(text)) return;
          if (!ipaddr.IPv6.isValid(text)) assert.throws(() => ipToBytes(text));
          else {
            assert.deepEqual([...ipToBytes(text)], ipaddr.IPv6.parse(text).toByteArray());
            const canonical = ipaddr.IPv6.parse(text).toRFC5952String();
            assert.equal(bytesToIp(ipToBytes(text)), canonical);
            if (ipaddr.IPv6.parse(text).isIPv4MappedAddress()) assert.throws(() => parseIp(text), RangeError);
            else assert.equal(parseIp(text), canonical);
          }
        },
      ),
      { numRuns: 5_000 },
    );
  });

  it("keep their value through bytes and integers", () => {
    fc.assert(
      fc.property(fc.oneof(ipv4, ipv6), (ip) => {
        assert.equal(bytesToIp(ipToBytes(ip)), ip);
        assert.equal(bigIntToIp(ipToBigInt(ip), ip.includes(":") ? 6 : 4), ip);
      }),
    );
  });

  it("know their scope", () => {
    assert.equal(ipScope("169.254.1.1"), "linkLocal");
    assert.equal(ipScope("224.0.0.1"), "multicast");
    assert.equal(ipScope("0.0.0.0"), "unspecified");
    assert.equal(ipScope("::1"), "loopback");
    assert.equal(ipScope("10.244.0.1"), "unicast");
    assert.equal(ipScope("fd00::1"), "unicast");
  });
});

describe("prefixes", () => {
  it("refuse host bits and bad lengths, naming the network that was meant", () => {
    assert.equal(parseCidr("FD00::/64"), "fd00::/64");
    assert.throws(() => parseCidr("10.244.1.7/24"), /10\.244\.1\.0\/24/);
    for (const text of ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "fd00::/129", "10.0.0.0/ 8"]) {
      assert.throws(() => parseCidr(text), RangeError, text);
    }
  });

  it("contain, cover and overlap within one family only", () => {
    assert.ok(cidrContains("10.244.1.0/24", "10.244.1.255"));
    assert.ok(!cidrContains("10.244.1.0/24", "10.244.2.0"));
    assert.ok(!cidrContains("0.0.0.0/0", "::1"));
    assert.ok(cidrCovers("10.244.0.0/16", "10.244.3.0/24"));
    assert.ok(!cidrCovers("10.244.3.0/24", "10.244.0.0/16"));
    assert.ok(cidrsOverlap("10.244.0.0/16", "10.244.3.0/24"));
    assert.ok(!cidrsOverlap("10.244.2.0/24", "10.244.3.0/24"));
    assert.ok(!cidrsOverlap("0.0.0.0/0", "::/0"));
    assert.equal(networkAddress("fd00:10::/64"), "fd00:10::");
  });
});

describe("MAC addresses", () => {
  it("derived from a name are unicast, locally administered and the same every time", () => {
    fc.assert(
      fc.property(fc.string(), (seed) => {
        const mac = derivedMac(seed);
        assert.equal(parseMac(mac), mac);
        assert.equal(Number.parseInt(mac.slice(0, 2), 16) & 0x03, 0x02);
        assert.equal(derivedMac(seed), mac);
      }),
    );
  });

  it("refuse group and all-zero addresses", () => {
    for (const text of [
      "01:00:5e:00:00:01",
      "ff:ff:ff:ff:ff:ff",
      "00:00:00:00:00:00",
      "02:00:00:00:00",
      "02-00-00-00-00-zz",
    ]) {
      assert.throws(() => parseMac(text), RangeError, text);
    }
    assert.equal(parseMac("02-AB-00-00-00-01"), "02:ab:00:00:00:01");
  });

  it("make the link-local address of their EUI-64", () => {
    assert.equal(parseIp(linkLocalOf("02:00:5e:10:00:01")), parseIp("fe80::5eff:fe10:1"));
    for (const mac of ["02:00:00:00:00:00", "02:00:5e:10:00:01", "fe:ff:ff:ff:ff:ff", "00:00:00:00:00:01"])
      assert.equal(macOfLinkLocal(parseIp(linkLocalOf(mac))), mac);
    for (const ip of ["fe80::1", "fd00::5eff:fe10:1", "10.0.0.1"]) assert.equal(macOfLinkLocal(ip), undefined, ip);
  });
});
