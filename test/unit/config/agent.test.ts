import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import {
  agentUsage,
  ConfigError,
  configurationMarkdown,
  loadAgentConfig,
  matchInterfaces,
  parseListen,
  wantsHelp,
} from "../../../src/config/index.ts";

describe("config: the agent's", () => {
  let folder: string;
  let file: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "skylane-config-"));
    file = join(folder, "agent.yaml");
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const load = (yaml: string | Buffer, argv: string[] = [], env: Record<string, string> = { NODE_NAME: "me" }) => {
    writeFileSync(file, yaml);
    return loadAgentConfig({ file, argv, env });
  };
  const problems = (work: () => unknown): ConfigError => {
    try {
      work();
    } catch (error) {
      assert.ok(error instanceof ConfigError, String(error));
      return error;
    }
    throw new Error("it was accepted");
  };

  it("is all defaults when nothing is said but the node's name", () => {
    assert.deepEqual(load(""), {
      nodeName: "me",
      network: "default",
      vni: "auto",
      port: 4789,
      mtu: "auto",
      clusterCidrs: [],
      masquerade: { enabled: true, exclude: [] },
      underlay: {},
      directRouting: "off",
      dnsServers: [],
      encryption: "off",
      wireguardPort: 51_871,
      encryptionKeyDays: 0,
      fastPath: "auto",
      flows: "off",
      probes: "off",
      hostPorts: "own",
      bandwidth: "own",
      txChecksum: "auto",
      listen: "127.0.0.1:9473",
      metrics: { listen: "", allow: [] },
      logLevel: "info",
      logFormat: "text",
      gcInterval: 300,
      runDir: "/run/skylane",
      serviceCidrs: [],
      dataDir: "/var/lib/cni/skylane",
      cni: {
        confDir: "/etc/cni/net.d",
        confName: "10-skylane.conflist",
        binDir: "/opt/cni/bin",
        install: false,
        chained: "auto",
      },
    });
  });

  it("takes every key from the file, canonical", () => {
    const config = load(
      `
nodeName: other
kubeconfig: /etc/kubernetes/skylane.conf
network: blue
vni: 16777215
port: 8472
mtu: 1400
clusterCidrs: [10.244.0.0/16, "FD00:10:244::/56", 10.244.3.0/24]
masquerade: { enabled: false, exclude: [10.0.0.0/8] }
underlay:
  interfaceRegexp: "ens\\\\d+"
txChecksum: "off"
listen: "[::1]:9000"
logLevel: debug
logFormat: json
gcInterval: 60
runDir: /run/blue/
dataDir: /var/lib/blue
cni:
  confName: 05-blue.conflist
  chained: [{ type: portmap, capabilities: { portMappings: true } }]
`,
      [],
      {},
    );
    assert.equal(config.nodeName, "other");
    assert.deepEqual(
      config.clusterCidrs,
      ["10.244.0.0/16", "fd00:10:244::/56"],
      "one that lies in another adds nothing",
    );
    assert.deepEqual(config.underlay, { interfaceRegexp: "ens\\d+" });
    assert.deepEqual([config.vni, config.mtu, config.runDir], [16777215, 1400, "/run/blue"]);
    assert.deepEqual(config.cni.chained, [{ type: "portmap", capabilities: { portMappings: true } }]);
    assert.equal(config.cni.binDir, "/opt/cni/bin");
  });

  it("says what a section takes where it is something else", () => {
    assert.throws(
      () => load("masquerade: yes\n"),
      /masquerade: "yes" is not allowed; allowed: keys of its own: enabled, exclude/,
    );
  });

  it("lets flags win over the environment, that over the file", () => {
    const yaml = "nodeName: from-file\nvni: 1\nport: 1\n";
    assert.equal(load(yaml, [], {}).nodeName, "from-file");
    assert.equal(load(yaml, [], { NODE_NAME: "from-env" }).nodeName, "from-env");
    const argv = [
      "--node-name=from-flag",
      "--vni",
      "7",
      "--cluster-cidrs",
      "10.0.0.0/8, fd00::/8",
      "--underlay-interface",
      "eth1",
    ];
    const config = load(yaml, [...argv, "--masquerade-enabled=false", "--mtu", "1400", "--masquerade-exclude", ""], {
      NODE_NAME: "from-env",
    });
    assert.deepEqual([config.nodeName, config.vni, config.port, config.mtu], ["from-flag", 7, 1, 1400]);
    assert.deepEqual(config.clusterCidrs, ["10.0.0.0/8", "fd00::/8"]);
    assert.deepEqual(config.underlay, { interface: "eth1" });
    assert.deepEqual(config.masquerade, { enabled: false, exclude: [] });
    assert.equal(load("masquerade: {enabled: false}", ["--masquerade-enabled", "--vni=9"]).masquerade.enabled, true);
  });

  it("finds the file by --config, and only a file that was asked for must be there", () => {
    writeFileSync(file, "vni: 77");
    assert.equal(loadAgentConfig({ argv: ["--config", file, "--node-name", "x"] }).vni, 77);
    const missing = problems(() => loadAgentConfig({ argv: ["--config", join(folder, "none"), "--node-name", "x"] }));
    assert.match(missing.message, /none: cannot be read: ENOENT/);
  });

  it("takes a key with nothing behind it for its default", () => {
    assert.equal(load("masquerade:\nvni:\n# comment\n").masquerade.enabled, true);
  });

  it("tells everything that is wrong at once: file and line, key, value, what is allowed", () => {
    const error = problems(() =>
      load(
        "vni: 0\nvnii: 5\nmtu: huge\nmasquerade:\n  exclude:\n    - 10.0.0.1/8\nlogLevel: loud\ninterface: eth0\ncni: { confDir: etc, bindir: /x }\nwholly: 1\n",
        ["--gc-interval", "1"],
        {},
      ),
    );
    const lines = error.message.split("\n").map((line) => line.trim());
    const expected = [
      /^11 problems:$/,
      /agent\.yaml: nodeName: is missing .*; allowed: the Node object's name/,
      /agent\.yaml:1: vni: 0 is not allowed; allowed: `auto`, or a whole number from 1 to 16777215$/,
      /agent\.yaml:3: mtu: "huge" is not allowed; allowed: `auto`, or a whole number from 576/,
      /agent\.yaml:6: masquerade\.exclude\[0\]: "10\.0\.0\.1\/8" has host bits set; the network is 10\.0\.0\.0\/8; allowed: /,
      /agent\.yaml:7: logLevel: "loud" is not allowed; allowed: `error`, `warn`, `info`, `debug`$/,
      /^command line: --gc-interval: 1 is not allowed; allowed: a whole number from 10 to 86400 seconds$/,
      /agent\.yaml:9: cni\.confDir: "etc" is not an absolute path/,
      /agent\.yaml:2: vnii: unknown key "vnii"; did you mean vni\?$/,
      /agent\.yaml:8: interface: unknown key "interface"; did you mean underlay\.interface\?$/,
      /agent\.yaml:9: cni\.bindir: unknown key "bindir"; did you mean cni\.binDir\?$/,
      /agent\.yaml:10: wholly: unknown key "wholly"; allowed: nodeName, kubeconfig, /,
    ];
    assert.equal(lines.length, expected.length, error.message);
    for (const [at, pattern] of expected.entries()) assert.match(lines[at] as string, pattern);
    assert.deepEqual([error.key, error.value], ["nodeName", "nothing"]);
    assert.equal(error.problems.length, 11);
  });

  for (const [yaml, expected] of [
    ["underlay: {interface: a/b}", /underlay\.interface: "a\/b" is not allowed/],
    ["underlay: {interfaceRegexp: '('}", /interfaceRegexp: .*Unterminated group/],
    ["underlay: {interfaceRegexp: ')|('}", /interfaceRegexp: .*Unmatched/],
    [`underlay: {interfaceRegexp: ${"a".repeat(129)}}`, /1 to 128 characters/],
    ["underlay: {publicIp: here}", /publicIp: .*neither `ExternalIP` nor an address/],
    ["underlay: {canReach: 10.0.0.0/8}", /canReach: "10.0.0.0\/8" is not an IPv4 or IPv6 address/],
    ["underlay: eth0", /underlay: "eth0" is not allowed/],
    ["network: ../x", /network: "\.\.\/x" is not allowed/],
    ["vni: 16777216", /vni/],
    ["vni: 1.5", /vni/],
    ["vni: '4096'", /vni: "4096" is not allowed/],
    ["mtu: 575", /mtu/],
    ["listen: localhost:80", /listen/],
    ["listen: 1.2.3.4:0", /listen/],
    ["runDir: /run/../etc", /runDir/],
    ["runDir: relative", /runDir/],
    ["cni: {confName: ../../x.conflist}", /confName/],
    ["cni: {chained: [{type: ../sh}]}", /chained/],
    ["cni: {chained: [{}]}", /chained/],
    ["clusterCidrs: 10.0.0.0/8", /clusterCidrs: "10.0.0.0\/8" is not allowed; allowed: a list/],
    ["__proto__: {vni: 5}", /unknown key "__proto__"/],
    ["constructor: 1", /unknown key "constructor"/],
    ["- a\n- b", /must be a mapping/],
    ["just text", /must be a mapping/],
    ["vni: 1\nvni: 2", /:2: is not valid YAML: Map keys must be unique/],
    ["vni: [1", /is not valid YAML/],
    ["a: &x [1]\nb: *x", /is not usable YAML.*alias/i],
    ["vni: 1\n---\nvni: 2", /multiple documents/],
    ["vni: !!js/function 'x'", /vni/],
    ["? [a, b]\n: 1", /is not valid YAML/],
    ["[".repeat(40_000), /nested deeper/],
    [`${" ".repeat(70_000)}vni: 1`, /is longer than 65536 bytes/],
    [Buffer.from([0x76, 0xff, 0xfe]), /is not UTF-8/],
  ] as const) {
    it(`refuses ${JSON.stringify(yaml.toString("utf8").slice(0, 50))}`, () => {
      assert.match(problems(() => load(Buffer.from(yaml))).message, expected);
    });
  }

  it("refuses encryption together with what goes beside the tunnel, or at the tunnel's own port", () => {
    assert.equal(load("encryption: strict\ndirectRouting: off").encryption, "strict");
    const direct = problems(() => load("encryption: wireguard\ndirectRouting: auto"));
    assert.match(direct.message, /directRouting.*through the tunnel/s);
    for (const port of [51_871, 51_874])
      assert.match(problems(() => load(`encryption: strict\nport: ${port}`)).message, /wireguardPort.*port of VXLAN/s);
    assert.equal(load("encryption: strict\nport: 51875").port, 51_875);
    assert.match(problems(() => load("wireguardPort: 65533")).message, /wireguardPort.*65532/s);
    assert.match(problems(() => load("encryptionKeyDays: -1")).message, /encryptionKeyDays/);
  });

  it("is done with a file that was made to be slow", function () {
    this.timeout(30_000);
    const bomb = `${["a: &a [x,x,x,x,x,x,x,x,x]", "b: &b [*a,*a,*a,*a,*a,*a,*a,*a]", "c: &c [*b,*b,*b,*b,*b,*b,*b]"].join("\n")}\n`;
    assert.match(problems(() => load(bomb)).message, /alias/i);
    const keys = Array.from({ length: 3_000 }, (_, i) => `k${i}: 1`).join("\n");
    assert.equal(problems(() => load(keys)).problems.length, 100);
    assert.match(problems(() => loadAgentConfig({ file: "/dev/zero" })).message, /not a regular file/);
    assert.match(problems(() => loadAgentConfig({ file: "/" })).message, /not a regular file/);
  });

  it("tells every unknown flag with the nearest known one", () => {
    const error = problems(() => load("", ["--vnii", "3", "--node-nam=x", "stray", "--zzz", "--vni"]));
    assert.match(error.message, /"--vnii": unknown flag; did you mean --vni\?/);
    assert.match(error.message, /"--node-nam=x": unknown flag; did you mean --node-name\?/);
    assert.match(error.message, /"stray": unexpected argument/);
    assert.match(error.message, /"--zzz": unknown flag\n/);
    assert.match(error.message, /--vni: needs a value; allowed: `auto`, or a whole number/);
    assert.match(problems(() => load("", ["--vni", "many"])).message, /^command line: --vni: "many" is not allowed/);
    assert.match(
      problems(() => load("", [], { NODE_NAME: "Bad Name" })).message,
      /^environment: NODE_NAME: "Bad Name" is not/,
    );
  });

  it("never answers a value from outside with anything but ConfigError, and escapes it", function () {
    this.timeout(30_000);
    const anything = fc.oneof(
      fc.jsonValue(),
      fc.dictionary(
        fc.constantFrom("vni", "mtu", "cni", "underlay", "masquerade", "listen", "clusterCidrs", "x"),
        fc.jsonValue(),
      ),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: "binary" }),
          anything.map((value) => JSON.stringify(value)),
        ),
        (text) => {
          try {
            load(text);
          } catch (error) {
            assert.ok(error instanceof ConfigError, String((error as Error).stack));
            assert.ok(error.problems.every((one) => one.file.startsWith(file)));
            // oxlint-disable-next-line no-control-regex
            assert.doesNotMatch(error.message, /[\u0000-\u0009\u000b-\u001f]/);
          }
        },
      ),
      { numRuns: 150 },
    );
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.string(),
            fc.string().map((text) => `--${text}`),
            fc.constantFrom("--vni", "--mtu", "--config="),
          ),
        ),
        (argv) => {
          try {
            load("", argv);
          } catch (error) {
            assert.ok(error instanceof ConfigError, String((error as Error).stack));
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it("has a usage text with every flag", () => {
    assert.equal(wantsHelp(["--vni", "1", "--help"]), true);
    assert.equal(wantsHelp(["--vni", "1"]), false);
    for (const flag of ["--config", "--node-name", "--underlay-can-reach", "--cni-conf-dir", "--help"]) {
      assert.ok(agentUsage().includes(`  ${flag} `), flag);
    }
    assert.ok(!agentUsage().includes("--cni-chained"));
  });

  it("is documented as it is", () => {
    const written = readFileSync(join(import.meta.dirname, "../../../docs/configuration.md"), "utf8");
    assert.equal(written, configurationMarkdown(), "run `node scripts/config-docs.ts`");
    const [, example] = /```yaml\n([\s\S]*?)```/.exec(written) ?? [];
    assert.deepEqual(load(example as string), load(""));
  });

  it("parses listen addresses", () => {
    assert.deepEqual(parseListen("127.0.0.1:9473"), { host: "127.0.0.1", port: 9473 });
    assert.deepEqual(parseListen("[FE80::1]:1"), { host: "fe80::1", port: 1 });
    assert.deepEqual(parseListen(":80"), { port: 80 });
  });

  it("matches whole interface names, and gives an expression up that would take for ever", () => {
    assert.deepEqual(matchInterfaces("eth\\d|lo", ["eth0", "eth10", "lo", "veth1", "averyveryverylongname"]), [
      "eth0",
      "lo",
    ]);
    for (const pattern of ["(a|a|a|a|a|a|a|a)*b", "(((a+)+)+)+b"]) {
      assert.throws(() => matchInterfaces(pattern, ["aaaaaaaaaaaaaaa", "aaaaaaaaaaaaaac"]), /takes more than 100 ms/);
    }
  });
});
