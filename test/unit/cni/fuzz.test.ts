import assert from "node:assert/strict";
import fc from "fast-check";
import { handle } from "../../../src/cni/index.ts";
import { parseArgs } from "../../../src/cni/spec/args.ts";
import { CniError } from "../../../src/cni/spec/errors.ts";
import { FakeHost } from "./fake-host.ts";

const VERBS = ["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"];

/** Mostly right, so that the deeper layers are reached, and any of it may be anything. */
const mostly = <T>(right: fc.Arbitrary<T>, wrong: fc.Arbitrary<unknown> = fc.jsonValue()): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 4, arbitrary: right }, { weight: 1, arbitrary: wrong });

const hostile = fc.constantFrom(
  "$(touch /tmp/pwned)",
  "`id`",
  "; id",
  "../../bin/sh",
  "a\0b",
  "\n",
  "-rf",
  "__proto__",
);
const text = fc.oneof(fc.string({ unit: "binary", maxLength: 30 }), hostile);
const ip = fc.oneof(fc.ipV4(), fc.ipV6(), text);
const cidr = fc.oneof(fc.constantFrom("10.244.1.2/32", "0.0.0.0/0", "::/0", "fd00::1/64"), text);
const versions = fc.constantFrom("0.1.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "2.0.0");

const result = fc.record(
  {
    cniVersion: mostly(versions),
    interfaces: mostly(fc.array(mostly(fc.record({ name: mostly(text), sandbox: mostly(text), mac: mostly(text) })))),
    ips: mostly(
      fc.array(mostly(fc.record({ address: mostly(cidr), gateway: mostly(ip), interface: mostly(fc.nat(3)) }))),
    ),
    routes: mostly(fc.array(mostly(fc.record({ dst: mostly(cidr), gw: mostly(ip), mtu: mostly(fc.nat()) })))),
    dns: mostly(fc.record({ nameservers: mostly(fc.array(ip)) })),
  },
  { requiredKeys: [] },
);

const config = fc.record(
  {
    cniVersion: mostly(fc.oneof({ weight: 5, arbitrary: fc.constant("1.1.0") }, versions)),
    name: mostly(fc.constant("net"), text),
    type: mostly(fc.constant("skylane"), text),
    network: mostly(fc.constant("default"), text),
    mtu: mostly(fc.integer({ min: 1280, max: 1450 })),
    ipam: mostly(fc.record({ type: mostly(fc.constant("nonexistent"), text) }, { requiredKeys: [] })),
    dns: mostly(fc.record({ nameservers: mostly(fc.array(ip)), search: mostly(fc.array(text)) }, { requiredKeys: [] })),
    args: mostly(fc.record({ cni: mostly(fc.record({ ips: mostly(fc.array(ip)) })) })),
    runtimeConfig: mostly(
      fc.record(
        {
          ips: mostly(fc.array(ip, { maxLength: 3 })),
          mac: mostly(text),
          portMappings: mostly(
            fc.array(
              mostly(
                fc.record(
                  {
                    hostPort: mostly(fc.integer({ min: 0, max: 65_536 })),
                    containerPort: mostly(fc.integer({ min: 0, max: 65_536 })),
                    protocol: mostly(fc.constantFrom("tcp", "UDP", "sctp", "icmp"), text),
                    hostIP: mostly(ip, text),
                  },
                  { requiredKeys: [] },
                ),
              ),
              { maxLength: 3 },
            ),
          ),
          dns: mostly(fc.record({ servers: mostly(fc.array(ip)) })),
          ipRanges: mostly(
            fc.array(mostly(fc.array(mostly(fc.record({ subnet: mostly(cidr), rangeStart: mostly(ip) }))))),
          ),
        },
        { requiredKeys: [] },
      ),
    ),
    prevResult: mostly(result),
    "cni.dev/valid-attachments": mostly(
      fc.array(mostly(fc.record({ containerID: mostly(text), ifname: mostly(text) })), { maxLength: 4 }),
    ),
  },
  { requiredKeys: ["cniVersion", "name"] },
);

const environment = fc.record(
  {
    CNI_COMMAND: fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...VERBS) }, { weight: 1, arbitrary: text }),
    CNI_CONTAINERID: fc.oneof({ weight: 4, arbitrary: fc.constantFrom("c1", "c2") }, { weight: 1, arbitrary: text }),
    CNI_NETNS: fc.oneof({ weight: 4, arbitrary: fc.constantFrom("/run/netns/pod") }, { weight: 1, arbitrary: text }),
    CNI_IFNAME: fc.oneof({ weight: 4, arbitrary: fc.constantFrom("eth0", "net1") }, { weight: 1, arbitrary: text }),
    CNI_ARGS: fc.oneof(fc.constantFrom("", "IgnoreUnknown=1;K8S_POD_NAME=a"), text),
    CNI_PATH: fc.oneof(fc.constantFrom("/nonexistent"), text),
  },
  { requiredKeys: ["CNI_COMMAND"] },
);

describe("any request", function () {
  // Thousands of requests: on a machine with other work they take longer than a unit test may otherwise.
  this.timeout(60_000);

  let host: FakeHost;
  beforeEach(() => {
    host = new FakeHost();
  });
  afterEach(() => host.remove());

  async function answered(env: Record<string, string>, stdin: string | Uint8Array): Promise<void> {
    const before = host.remains().length;
    const { exitCode, stdout } = await handle({ env, stdin }, host);
    if (exitCode === 0) {
      const isResult = env.CNI_COMMAND === "ADD" || env.CNI_COMMAND === "VERSION";
      assert.equal(stdout !== "", isResult);
      if (isResult) assert.equal(typeof (JSON.parse(stdout) as { cniVersion: unknown }).cniVersion, "string");
      return;
    }
    const error = JSON.parse(stdout) as Record<string, unknown>;
    assert.ok(Number.isInteger(error.code) && (error.code as number) > 0);
    assert.notEqual(error.code, 100, `an unforeseen failure: ${stdout}`);
    assert.ok(typeof error.msg === "string" && error.msg !== "");
    assert.ok(error.details === undefined || typeof error.details === "string");
    assert.match(String(error.cniVersion), /^\d+\.\d+\.\d+$/);
    if (env.CNI_COMMAND === "ADD") assert.equal(host.remains().length, before, "a failed ADD left something");
  }

  it("of bytes is answered in the spec's shape", () =>
    fc.assert(fc.asyncProperty(environment, fc.oneof(fc.uint8Array({ maxLength: 200 }), text, fc.json()), answered), {
      numRuns: 500,
    }));

  it("that is almost right is answered in the spec's shape", () =>
    fc.assert(
      fc.asyncProperty(environment, config, (env, body) => {
        const dirs = { dataDir: host.dir, runDir: host.dir };
        return answered(env, JSON.stringify({ ...body, ...dirs }));
      }),
      { numRuns: 1500 },
    ));

  it("CNI_ARGS of any kind are parsed or refused by name", () => {
    const pair = fc.tuple(fc.oneof(fc.constantFrom("IgnoreUnknown", "K8S_POD_NAME", "IP"), text), text);
    const args = fc.oneof(
      text,
      fc.array(pair).map((pairs) => pairs.map((one) => one.join("=")).join(";")),
    );
    fc.assert(
      fc.property(args, (value) => {
        try {
          parseArgs(value);
        } catch (error) {
          assert.ok(error instanceof CniError && error.code === 4 && error.message.includes("CNI_ARGS"));
        }
      }),
    );
  });
});
