import assert from "node:assert/strict";
import fc from "fast-check";
import {
  hostPortText,
  overlap,
  type PortMapping,
  renderHostPorts,
  stepsToPut,
  stepsToTake,
} from "../../../src/dataplane/host-ports/index.ts";

const mapping = (text: string): PortMapping => {
  const [protocol, hostPort, containerPort = "80", hostIp = ""] = text.split(" ") as [PortMapping["protocol"], string];
  return { protocol, hostPort: Number(hostPort), containerPort: Number(containerPort), hostIp };
};
const pod = (ips: string, ...ports: string[]) => ({ ips: ips.split(" "), ports: ports.map(mapping) });
/** What a text of rules has in a set. */
const elementsOf = (rules: string, set: string): string[] => {
  const [, elements] = new RegExp(`(?:map|set) ${set} \\{\\n[^}]*?elements = \\{ (.*) \\}\\n`).exec(rules) ?? [];
  return elements?.split(", ") ?? [];
};
const hex = (bytes: unknown): string => Buffer.from(bytes as Uint8Array).toString("hex");

describe("host ports of two pods", () => {
  const cases: [string, string, boolean][] = [
    ["tcp 80", "tcp 80", true],
    ["tcp 80", "udp 80", false],
    ["tcp 80", "tcp 81", false],
    ["tcp 80", "tcp 80 1 192.0.2.1", true],
    ["tcp 80 1 192.0.2.1", "tcp 80 1 192.0.2.1", true],
    ["tcp 80 1 192.0.2.1", "tcp 80 1 192.0.2.2", false],
    ["tcp 80 1 0.0.0.0", "tcp 80 1 192.0.2.1", true],
    ["tcp 80 1 0.0.0.0", "tcp 80 1 2001:db8::1", false],
    ["tcp 80 1 0.0.0.0", "tcp 80 1 ::", false],
    ["tcp 80", "tcp 80 1 ::", true],
  ];
  for (const [a, b, both] of cases)
    it(`${a} and ${b}: ${both ? "one of them" : "both"}`, () => {
      assert.equal(overlap(mapping(a), mapping(b)), both);
      assert.equal(overlap(mapping(b), mapping(a)), both);
    });

  it("are called as people write them", () => {
    assert.equal(hostPortText(mapping("udp 53")), "53/udp");
    assert.equal(hostPortText(mapping("tcp 80 1 192.0.2.1")), "192.0.2.1:80/tcp");
    assert.equal(hostPortText(mapping("tcp 80 1 2001:db8::1")), "[2001:db8::1]:80/tcp");
  });
});

describe("the table of host ports", () => {
  it("has an element a family for a port, and none of a family that the pod has not", () => {
    const both = renderHostPorts([pod("10.0.0.2 fd00::2", "tcp 8080 80", "udp 53 5353 0.0.0.0", "sctp 9 9 192.0.2.1")]);
    assert.deepEqual(elementsOf(both, "all4"), ["tcp . 8080 : 10.0.0.2 . 80", "udp . 53 : 10.0.0.2 . 5353"]);
    assert.deepEqual(elementsOf(both, "all6"), ["tcp . 8080 : fd00::2 . 80"]);
    assert.deepEqual(elementsOf(both, "one4"), ["192.0.2.1 . sctp . 9 : 10.0.0.2 . 9"]);
    assert.deepEqual(elementsOf(both, "one6"), []);
    assert.deepEqual(elementsOf(both, "self4"), ["10.0.0.2 . 10.0.0.2"]);
    const single = renderHostPorts([pod("10.0.0.2", "tcp 8080 80", "tcp 81 81 ::")]);
    assert.deepEqual(elementsOf(single, "all4"), ["tcp . 8080 : 10.0.0.2 . 80"]);
    assert.deepEqual([...elementsOf(single, "all6"), ...elementsOf(single, "self6")], []);
  });

  it("is empty without pods, and put in the place of whatever is there", () => {
    const rules = renderHostPorts([]);
    assert.doesNotMatch(rules, /elements/);
    assert.match(rules, /^add table inet skylane_hostports\ndelete table inet skylane_hostports\ntable inet /);
  });

  it("has of a port that two records say the older one", () => {
    const rules = renderHostPorts([pod("10.0.0.2", "tcp 80 1"), pod("10.0.0.3", "tcp 80 2 0.0.0.0", "tcp 81 2")]);
    assert.deepEqual(elementsOf(rules, "all4"), ["tcp . 80 : 10.0.0.2 . 1", "tcp . 81 : 10.0.0.3 . 2"]);
  });

  it("is changed by the kernel's own bytes", () => {
    const steps = stepsToPut(pod("10.0.0.2 fd00::2", "udp 8080 80", "tcp 1 2 2001:db8::1"));
    const elements = steps.flatMap((step) => ("come" in step ? step.come.map((one) => [step.set, one] as const) : []));
    const shown = elements.map(([set, { key, value }]) => [set, hex(key), ...(value ? [hex(value)] : [])].join(" "));
    const v6 = "fd000000000000000000000000000002";
    assert.deepEqual(shown.sort(), [
      "all4 110000001f900000 0a00000200500000",
      `all6 110000001f900000 ${v6}00500000`,
      `one6 20010db80000000000000000000000010600000000010000 ${v6}00020000`,
      "self4 0a0000020a000002",
      `self6 ${v6}${v6}`,
    ]);
  });

  it("loses nothing of another pod's with one that goes", () => {
    const gone = stepsToTake([pod("10.0.0.2 fd00::2", "tcp 80 1", "tcp 81 1")], [pod("10.0.0.3", "tcp 80 2 0.0.0.0")]);
    const shown = gone.flatMap((step) => ("gone" in step ? step.gone.map(({ key }) => `${step.set} ${hex(key)}`) : []));
    const v6 = "fd000000000000000000000000000002";
    assert.deepEqual(shown.sort(), [
      "all4 0600000000510000",
      "all6 0600000000500000",
      "all6 0600000000510000",
      "self4 0a0000020a000002",
      `self6 ${v6}${v6}`,
    ]);
  });

  it("has each key once, whatever the records say", () => {
    const port = fc.record({
      protocol: fc.constantFrom<PortMapping["protocol"]>("tcp", "udp", "sctp"),
      hostPort: fc.integer({ min: 1, max: 3 }),
      containerPort: fc.integer({ min: 1, max: 65_535 }),
      hostIp: fc.constantFrom("", "0.0.0.0", "::", "192.0.2.1", "2001:db8::1"),
    });
    const ips = fc.constantFrom(["10.0.0.2"], ["10.0.0.3", "fd00::3"], ["fd00::4"]);
    fc.assert(
      fc.property(fc.array(fc.record({ ips, ports: fc.array(port) }), { maxLength: 4 }), (records) => {
        const rules = renderHostPorts(records);
        for (const set of ["all4", "all6", "one4", "one6"]) {
          const keys = elementsOf(rules, set).map((element) => element.split(" : ")[0]);
          assert.equal(new Set(keys).size, keys.length);
        }
      }),
    );
  });
});
