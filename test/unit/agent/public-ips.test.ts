import assert from "node:assert/strict";
import { publicIps } from "../../../src/network/public-ips.ts";

describe("the addresses under which others reach a node", () => {
  const ips = ["10.0.0.5", "fd30::5"];
  const of = (setting?: string, own: { externalIps?: string[]; publicOverride?: string } = {}) => {
    const result = publicIps(ips, setting, own);
    return "ips" in result ? result.ips : result.missing;
  };

  it("are those of its interfaces unless somebody says otherwise, by the annotation before the setting", () => {
    assert.deepEqual(of(), ips);
    assert.deepEqual(of("203.0.113.7"), ["203.0.113.7", "fd30::5"]);
    assert.deepEqual(of("2001:db8::7,203.0.113.7"), ["203.0.113.7", "2001:db8::7"]);
    const externalIps = ["2001:db8::9", "203.0.113.9", "203.0.113.10"];
    assert.deepEqual(of("ExternalIP", { externalIps }), ["203.0.113.9", "2001:db8::9"]);
    assert.deepEqual(of("ExternalIP", { externalIps, publicOverride: " 203.0.113.8 " }), ["203.0.113.8", "fd30::5"]);
    assert.deepEqual(of(undefined, { publicOverride: "" }), ips);
  });

  it("are waited for, with the reason, where what is said cannot be used", () => {
    assert.match(
      String(of("ExternalIP", { externalIps: ["2001:db8::9"] })),
      /no such address of the underlay's family/,
    );
    assert.match(String(of(undefined, { publicOverride: "x" })), /annotation skylane\.dev\/public-ip is malformed/);
    assert.match(String(of(undefined, { publicOverride: "1.2.3.4,5.6.7.8" })), /two IPv4 addresses/);
    assert.match(String(of("224.0.0.1")), /names 224\.0\.0\.1, at which no node can be reached/);
  });
});
