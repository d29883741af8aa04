import assert from "node:assert/strict";
import fc from "fast-check";
import {
  AnnotationError,
  formatVtepAnnotation,
  MAX_ANNOTATION_LENGTH,
  parseVtepAnnotation,
  readVtepAnnotation,
  type VtepAnnotation,
} from "../../../src/peers/index.ts";

const entry = {
  vni: 4096,
  mac: "02:11:22:33:44:55",
  ips: ["172.30.0.11", "fd30::11"],
  podCidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
  port: 4789,
};
const KEY = `${"A".repeat(42)}I=`;
const OTHER_KEY = `${"B".repeat(42)}I=`;
const text = (other: Record<string, unknown>): string => JSON.stringify({ default: { ...entry, ...other } });

function refuses(annotation: string, key: string, reason: RegExp): void {
  assert.throws(
    () => parseVtepAnnotation(annotation),
    (error) => error instanceof AnnotationError && error.key === key && reason.test(error.reason),
    annotation.slice(0, 100),
  );
}

describe("the vtep annotation", () => {
  it("comes back as it was written, in the same bytes whatever the order of networks", () => {
    const other = { ...entry, vni: 5000, claims: true, wireguard: { key: KEY, port: 51_871 } };
    const changing = { ...entry, wireguard: { key: KEY, port: 51_873, slot: 1 as const, next: OTHER_KEY } };
    const networks = new Map<string, VtepAnnotation>([
      ["default", changing],
      ["blue", other],
    ]);
    assert.deepEqual(parseVtepAnnotation(formatVtepAnnotation(networks)), networks);
    assert.equal(formatVtepAnnotation(networks), formatVtepAnnotation(new Map([...networks].toReversed())));
  });

  it("is made canonical, and unknown keys are ignored", () => {
    const odd = text({ mac: "02-AA-BB-CC-DD-EE", ips: ["FD30:0::11"], podCidrs: ["FD00::/64"], later: { x: 1 } });
    const parsed = parseVtepAnnotation(odd).get("default");
    assert.deepEqual(parsed, { ...entry, mac: "02:aa:bb:cc:dd:ee", ips: ["fd30::11"], podCidrs: ["fd00::/64"] });
  });

  it("has a second key only where a slot says which is which", () => {
    const parsed = parseVtepAnnotation(text({ wireguard: { key: KEY, port: 51_871, next: OTHER_KEY } })).get("default");
    assert.deepEqual(parsed?.wireguard, { key: KEY, port: 51_871 });
  });

  it("is refused with the key that is wrong", () => {
    refuses("", "", /not JSON/);
    refuses("[]", "", /not a JSON object/);
    refuses("null", "", /not a JSON object/);
    refuses('{"default":7}', "default", /not a JSON object/);
    refuses('{"__proto__":{}}', "", /no pod network/);
    refuses('{"a b":{}}', "", /no pod network/);
    refuses(text({ vni: 0 }), "default.vni", /1 to 16777215/);
    refuses(text({ vni: 16_777_216 }), "default.vni", /16777215/);
    refuses(text({ vni: "4096" }), "default.vni", /whole number/);
    refuses(text({ port: 65_536 }), "default.port", /65535/);
    refuses(text({ port: 4789.5 }), "default.port", /whole number/);
    refuses(text({ mac: "01:00:5e:00:00:01" }), "default.mac", /group/);
    refuses(text({ mac: undefined }), "default.mac", /missing/);
    refuses(text({ mac: 5 }), "default.mac", /not a string/);
    refuses(text({ ips: [] }), "default.ips", /one to 2/);
    refuses(text({ ips: "172.30.0.11" }), "default.ips", /list/);
    refuses(text({ ips: ["172.30.0.11", "172.30.0.12"] }), "default.ips", /same address family/);
    for (const ip of ["127.0.0.1", "224.0.0.1", "0.0.0.0", "255.255.255.255", "169.254.0.1", "::", "::1", "fe80::1"]) {
      refuses(text({ ips: [ip] }), "default.ips[0]", /no node can be reached/);
    }
    refuses(text({ ips: ["1.2.3"] }), "default.ips[0]", /not an IPv4/);
    refuses(text({ podCidrs: ["10.244.1.7/24"] }), "default.podCidrs[0]", /host bits/);
    refuses(text({ podCidrs: ["0.0.0.0/0"] }), "default.podCidrs[0]", /wider/);
    refuses(text({ podCidrs: ["fd00::/8"] }), "default.podCidrs[0]", /wider/);
    refuses(text({ podCidrs: ["127.0.0.0/8"] }), "default.podCidrs[0]", /loopback/);
    refuses(text({ podCidrs: ["224.0.0.0/24"] }), "default.podCidrs[0]", /multicast/);
    refuses(text({ podCidrs: ["169.254.0.0/16"] }), "default.podCidrs[0]", /linkLocal/);
    refuses(text({ podCidrs: [...entry.podCidrs, "10.0.0.0/24"] }), "default.podCidrs", /one to 2/);
    for (const wireguard of [7, null, [], "key"])
      refuses(text({ wireguard }), "default.wireguard", /not a JSON object/);
    for (const key of [
      "",
      `${KEY}\n`,
      `${"A".repeat(43)}=`,
      `${"A".repeat(42)}J=`,
      KEY.slice(1),
      `${KEY.slice(0, -2)}_=`,
      "$(id)",
    ])
      refuses(text({ wireguard: { key, port: 51_871 } }), "default.wireguard.key", /no public key/);
    refuses(text({ wireguard: { port: 51_871 } }), "default.wireguard.key", /missing/);
    for (const port of [0, 65_536, "51871", undefined])
      refuses(text({ wireguard: { key: KEY, port } }), "default.wireguard.port", /whole number/);
    const of = (more: object): string => text({ wireguard: { key: KEY, port: 51_871, slot: 0, ...more } });
    for (const slot of [2, -1, "1", null]) refuses(of({ slot }), "default.wireguard.slot", /whole number from 0 to 1/);
    for (const [port, slot] of [
      [65_533, 0],
      [2, 1],
    ])
      refuses(of({ port, slot }), "default.wireguard.port", /ports beside it/);
    for (const next of ["", 7, null, KEY.slice(1), `${"A".repeat(43)}=`])
      refuses(of({ next }), "default.wireguard.next", /no public key|not a string/);
    refuses(of({ next: KEY }), "default.wireguard.next", /the key that it has now/);
    refuses(" ".repeat(MAX_ANNOTATION_LENGTH + 1), "", /longer than/);
  });

  it("has for other networks than the default one as many CIDRs as a node has blocks, each once, or none", () => {
    const blocks = Array.from({ length: 256 }, (_, n) => `10.${n >> 2}.0.${(n % 4) * 64}/26`);
    const of = (podCidrs: unknown) => JSON.stringify({ blue: { ...entry, podCidrs } });
    assert.deepEqual(readVtepAnnotation(of(blocks), "blue")?.podCidrs, blocks);
    assert.deepEqual(readVtepAnnotation(of([]), "blue")?.podCidrs, []);
    refuses(of([...blocks, "10.200.0.0/26"]), "blue.podCidrs", /up to 256/);
    refuses(of(["10.1.0.0/26", "10.2.0.0/26", "10.1.0.0/26"]), "blue.podCidrs", /one twice/);
    refuses(of(undefined), "blue.podCidrs", /list/);
    refuses(text({ podCidrs: [] }), "default.podCidrs", /one to 2/);
    refuses(text({ podCidrs: ["10.244.1.0/24", "10.244.2.0/24"] }), "default.podCidrs", /same address family/);
  });

  it("may have a thousand networks, whose entries are read one by one at little more than the cost of one", () => {
    const names = Array.from({ length: 1_024 }, (_, n) => `n${n}`);
    const small = (n: number) => ({
      vni: n + 1,
      mac: entry.mac,
      ips: ["10.0.0.1"],
      podCidrs: ["10.9.0.0/26"],
      port: 4789,
    });
    const written = formatVtepAnnotation(new Map(names.map((name, n) => [name, small(n)])));
    assert.ok(written.length < MAX_ANNOTATION_LENGTH);
    const start = process.cpuUsage();
    for (const [n, name] of names.entries()) assert.equal(readVtepAnnotation(written, name)?.vni, n + 1);
    const { user } = process.cpuUsage(start);
    // Parsed for each of them, it would be two seconds.
    assert.ok(user < 500_000, `${user} µs`);
    refuses(JSON.stringify(Object.fromEntries([...names, "more"].map((name) => [name, {}]))), "", /more than 1024/);
  });

  it("that was refused is refused again", () => {
    const wrong = JSON.stringify({ blue: entry, [`"${" ".repeat(2_000)}`]: {} });
    for (let i = 0; i < 3; i++) assert.throws(() => readVtepAnnotation(wrong, "blue"), /no pod network is called/);
  });

  it("quotes nothing from outside unescaped", () => {
    for (const hostile of ["\u001b[2J", "a\nb", "\u0000", "💥".repeat(200)]) {
      for (const annotation of [
        hostile,
        JSON.stringify({ [hostile]: {} }),
        text({ mac: hostile }),
        text({ ips: [hostile] }),
      ]) {
        assert.throws(
          () => parseVtepAnnotation(annotation),
          (error) => error instanceof AnnotationError && !/\p{Cc}/u.test(error.message) && error.message.length < 600,
        );
      }
    }
  });

  it("of one network does not depend on the others", () => {
    const both = JSON.stringify({ blue: { vni: -1 }, default: entry });
    assert.deepEqual(readVtepAnnotation(both, "default"), entry);
    assert.throws(() => readVtepAnnotation(both, "blue"), AnnotationError);
    assert.equal(readVtepAnnotation(both, "green"), undefined);
  });

  it("never ends in anything but a value or an AnnotationError, whatever the text", () => {
    const key = fc.constantFrom("default", "vni", "mac", "ips", "podCidrs", "port", "__proto__", "constructor");
    const value = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.ipV4(), fc.ipV6(), fc.nat(70_000).map(String));
    const shaped = fc.dictionary(key, fc.oneof(value, fc.dictionary(key, fc.oneof(value, fc.array(value)))));
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          shaped.map((v) => JSON.stringify(v)),
        ),
        (annotation) => {
          try {
            for (const [network, parsed] of parseVtepAnnotation(annotation)) {
              assert.deepEqual(readVtepAnnotation(annotation, network), parsed);
            }
          } catch (error) {
            assert.ok(error instanceof AnnotationError, String(error));
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
