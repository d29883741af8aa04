import assert from "node:assert/strict";
import { CniError, handle } from "../../../src/cni/index.ts";
import type { PublishedNetwork } from "../../../src/config/index.ts";
import { BandwidthRefused } from "../../../src/dataplane/bandwidth/index.ts";
import { HostPortsNotReady, HostPortsUnsupported, HostPortTaken } from "../../../src/dataplane/host-ports/index.ts";
import { SysError } from "../../../src/sys/index.ts";
import { FakeHost } from "./fake-host.ts";

type Json = Record<string, unknown>;

const VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

describe("the verbs", () => {
  let host: FakeHost;
  beforeEach(() => {
    host = new FakeHost();
  });
  afterEach(() => host.remove());

  const env = (command: string, more: Record<string, string> = {}): Record<string, string> => ({
    CNI_COMMAND: command,
    CNI_CONTAINERID: "c1",
    CNI_NETNS: "/run/netns/pod",
    CNI_IFNAME: "eth0",
    CNI_PATH: "/nonexistent",
    ...more,
  });
  const config = (more: Json = {}): Json => ({
    cniVersion: "1.1.0",
    name: "net",
    type: "skylane",
    dataDir: host.dir,
    runDir: host.dir,
    ...more,
  });
  const call = async (
    command: string,
    o: { env?: Record<string, string>; config?: Json | string } = {},
  ): Promise<{ exitCode: number; json: Json; stdout: string; undo?: () => Promise<void> }> => {
    const stdin = typeof o.config === "string" ? o.config : JSON.stringify(config(o.config));
    const answer = await handle({ env: env(command, o.env), stdin }, host);
    const json = answer.stdout === "" ? {} : (JSON.parse(answer.stdout) as Json);
    const undo = answer.undo;
    return { exitCode: answer.exitCode, json, stdout: answer.stdout, ...(undo && { undo }) };
  };
  const failure = async (
    code: number,
    pattern: RegExp,
    command: string,
    o: { env?: Record<string, string>; config?: Json | string } = {},
  ): Promise<void> => {
    const { exitCode, json } = await call(command, o);
    assert.equal(exitCode, 1);
    assert.equal(json.code, code, JSON.stringify(json));
    assert.match(`${json.msg as string} | ${(json.details as string | undefined) ?? ""}`, pattern);
  };

  describe("VERSION", () => {
    it("lists what is spoken and repeats the version of the request", async () => {
      const { exitCode, json } = await call("VERSION", { config: '{"cniVersion":"0.4.0"}' });
      assert.equal(exitCode, 0);
      assert.deepEqual(json, { cniVersion: "0.4.0", supportedVersions: VERSIONS });
    });
    it("answers an empty stdin too", async () => {
      assert.equal((await call("VERSION", { config: "" })).json.cniVersion, "1.1.0");
    });
    it("needs no other variable", async () => {
      const answer = await handle({ env: { CNI_COMMAND: "VERSION" }, stdin: "{}" }, host);
      assert.equal(answer.exitCode, 0);
    });
    it("refuses what is not JSON", () => failure(6, /not JSON/, "VERSION", { config: "{" }));
  });

  describe("environment", () => {
    it("names CNI_COMMAND when it is missing", () => failure(4, /CNI_COMMAND/, ""));
    it("names CNI_COMMAND when it is unknown", () => failure(4, /CNI_COMMAND: "add"/, "add"));
    it("names every missing variable at once", () =>
      failure(4, /missing.*CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME/, "ADD", {
        env: { CNI_CONTAINERID: "", CNI_NETNS: "", CNI_IFNAME: "" },
      }));
    it("DEL needs no CNI_NETNS", async () => {
      assert.equal((await call("DEL", { env: { CNI_NETNS: "" } })).exitCode, 0);
    });
    for (const id of ["-a", "a/b", "a b", "../x", "a\n", "é", ".hidden"]) {
      it(`refuses container ID ${JSON.stringify(id)}`, () =>
        failure(4, /CNI_CONTAINERID/, "ADD", { env: { CNI_CONTAINERID: id } }));
    }
    for (const name of [
      "abcdefghijklmnop",
      ".",
      "..",
      "a/b",
      "a:b",
      "a b",
      "a\tb",
      "éééééééé",
      "eth%d",
      "all",
      "default",
    ]) {
      it(`refuses interface name ${JSON.stringify(name)}`, () =>
        failure(4, /CNI_IFNAME/, "ADD", { env: { CNI_IFNAME: name } }));
    }
    it("a relative sandbox path", () => failure(4, /CNI_NETNS/, "ADD", { env: { CNI_NETNS: "run/x" } }));
    it("a sandbox that does not exist is code 3", () =>
      failure(3, /\/run\/netns\/none/, "ADD", { env: { CNI_NETNS: "/run/netns/none" } }));
    it("the host's own namespace", () =>
      failure(4, /own network namespace/, "ADD", { env: { CNI_NETNS: "/run/netns/host" } }));
    it("unknown CNI_ARGS", () => failure(4, /unknown keys FOO/, "ADD", { env: { CNI_ARGS: "FOO=1" } }));
    it("malformed CNI_ARGS", () => failure(4, /no KEY=VALUE/, "ADD", { env: { CNI_ARGS: "IgnoreUnknown=1;FOO" } }));
    it("unknown CNI_ARGS pass with IgnoreUnknown", async () => {
      const args = "IgnoreUnknown=true;FOO=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=x";
      assert.equal((await call("ADD", { env: { CNI_ARGS: args } })).exitCode, 0);
      assert.partialDeepStrictEqual(host.attachSpecs, [{ alias: "ns/web-0/eth0" }]);
    });
    it("a pod name that is none", () =>
      failure(4, /K8S_POD_NAME=/, "ADD", { env: { CNI_ARGS: "K8S_POD_NAME=a$(id)" } }));
    it("without a pod's name the alias says the container", async () => {
      await call("ADD");
      assert.partialDeepStrictEqual(host.attachSpecs, [{ alias: "c1/eth0" }]);
    });
  });

  describe("configuration", () => {
    const bad: [string, number, RegExp, Json | string][] = [
      ["not JSON", 6, /not JSON/, "nonsense"],
      ["empty", 6, /empty/, ""],
      ["a list", 6, /not a JSON object/, "[]"],
      ["too deep", 6, /levels deep/, `{"a":${"[".repeat(100_000)}`],
      ["too large", 6, /larger than/, `{"a":"${"x".repeat(1_100_000)}"}`],
      ["no name", 7, /"name"/, { name: "" }],
      ["a bad name", 7, /"name"/, { name: "../x" }],
      ["a bad network", 7, /"network"/, { network: "a/b" }],
      ["a relative dataDir", 7, /"dataDir"/, { dataDir: "x" }],
      ["an older version", 1, /0\.2\.0.*0\.3\.0/, { cniVersion: "0.2.0" }],
      ["no version", 1, /0\.1\.0/, { cniVersion: null }],
      ["a version that is no text", 6, /cniVersion/, { cniVersion: 1 }],
      ["ipam that is no object", 7, /"ipam"/, { ipam: "host-local" }],
      ["an ipam path", 7, /"ipam\.type"/, { ipam: { type: "../../bin/sh" } }],
      ["itself as ipam", 2, /"ipam\.type".*skylane/, { ipam: { type: "skylane" } }],
      ["runtimeConfig", 7, /"runtimeConfig"/, { runtimeConfig: [] }],
      ["runtimeConfig.ips", 7, /"runtimeConfig\.ips\[1\]"/, { runtimeConfig: { ips: ["10.244.1.3", "x"] } }],
      ["two of a family", 2, /at most one IPv4/, { runtimeConfig: { ips: ["10.244.1.3", "10.244.1.4/24"] } }],
      ["runtimeConfig.mac", 7, /"runtimeConfig\.mac"/, { runtimeConfig: { mac: "01:00:5e:00:00:01" } }],
      ["runtimeConfig.dns", 7, /"runtimeConfig\.dns\.servers\[0\]"/, { runtimeConfig: { dns: { servers: ["x"] } } }],
      [
        "ipRanges",
        7,
        /"runtimeConfig\.ipRanges\[0\]\[0\]\.subnet"/,
        { runtimeConfig: { ipRanges: [[{ subnet: "x" }]] } },
      ],
      ["port mappings", 7, /"runtimeConfig\.portMappings"/, { runtimeConfig: { portMappings: {} } }],
      ["a port mapping", 7, /portMappings\[0\]/, { runtimeConfig: { portMappings: ["80:80"] } }],
      ...(
        [
          ["a host port", 7, "hostPort", { hostPort: 65_536, containerPort: 1 }],
          ["a host port as text", 7, "hostPort", { hostPort: "80", containerPort: 1 }],
          ["a port", 7, "containerPort", { hostPort: 1 }],
          ["port 0", 7, "containerPort", { hostPort: 1, containerPort: 0 }],
          ["a protocol", 2, "protocol", { hostPort: 1, containerPort: 1, protocol: "icmp" }],
          ["what is in every object", 2, "protocol", { hostPort: 1, containerPort: 1, protocol: "constructor" }],
          ["a host's name", 7, "hostIP", { hostPort: 1, containerPort: 1, hostIP: "localhost" }],
          ["a rule", 7, "hostIP", { hostPort: 1, containerPort: 1, hostIP: "1.2.3.4 drop" }],
        ] as const
      ).map(([what, code, key, mapping]): [string, number, RegExp, Json] => [
        `${what} of a port mapping`,
        code,
        new RegExp(`"runtimeConfig\\.portMappings\\[0\\]\\.${key}"`),
        { runtimeConfig: { portMappings: [mapping] } },
      ]),
      [
        "a host port that leads to two",
        7,
        /portMappings\[1\].*80\/tcp leads to 1/,
        { runtimeConfig: { portMappings: [1, 2].map((containerPort) => ({ hostPort: 80, containerPort })) } },
      ],
      ["args.cni.ips", 7, /"args\.cni\.ips\[0\]"/, { args: { cni: { ips: [1] } } }],
      ["mtu", 7, /"mtu"/, { mtu: "1450" }],
      ["an mtu above the overlay's", 7, /at most 1450/, { mtu: 9000 }],
      ["an mtu too small for IPv6", 7, /at least 1280/, { mtu: 1000 }],
      ["dns", 7, /"dns\.search"/, { dns: { search: "x" } }],
      ["dns", 7, /"dns\.domain"/, { dns: { domain: "a b" } }],
      ["dns", 7, /"dns\.options\[0\]"/, { dns: { options: [""] } }],
      [
        "a search domain that would be a line of its own",
        7,
        /"runtimeConfig\.dns\.searches\[1\]"/,
        { runtimeConfig: { dns: { searches: ["a", "b\nnameserver 192.0.2.1"] } } },
      ],
      ["prevResult", 7, /"prevResult\.ips\[0\]\.address"/, { prevResult: { ips: [{ address: "x" }] } }],
      [
        "a prevResult index",
        7,
        /ips\[0\]\.interface/,
        { prevResult: { interfaces: [{ name: "a" }], ips: [{ address: "10.0.0.1/8", interface: 1 }] } },
      ],
      ["an ipam plugin that is missing", 50, /"none" is not installed/, { ipam: { type: "none" } }],
    ];
    for (const [what, code, pattern, body] of bad) {
      it(`refuses ${what}`, async () => {
        await failure(code, pattern, "ADD", { config: body });
        assert.deepEqual(host.remains(), []);
      });
    }
    it("ignores keys that it does not know, and cniVersions", async () => {
      const extra = { cniVersions: VERSIONS, whatever: [1], capabilities: { ips: true }, disableCheck: true };
      assert.equal((await call("ADD", { config: extra })).exitCode, 0);
    });
    it("maps host ports to the pod's addresses, and takes them back with it", async () => {
      const portMappings = [
        { hostPort: 8080, containerPort: 80 },
        { hostPort: 8080, containerPort: 80, protocol: "TCP", hostIP: "" },
        { HostPort: 53, ContainerPort: 5353, Protocol: "udp", HostIP: "192.0.2.1" },
        { hostPort: 0, containerPort: 99, protocol: "tcp" },
      ];
      const env = { CNI_ARGS: "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0" };
      assert.equal((await call("ADD", { env, config: { runtimeConfig: { portMappings } } })).exitCode, 0);
      assert.partialDeepStrictEqual(host.ports.get("c1/eth0"), {
        owner: { containerId: "c1", ifname: "eth0" },
        pod: "ns/web-0",
        ips: ["10.244.1.2", "fd00:1::2"],
        ports: [
          { protocol: "tcp", hostPort: 8080, containerPort: 80, hostIp: "" },
          { protocol: "udp", hostPort: 53, containerPort: 5353, hostIp: "192.0.2.1" },
        ],
      });
      assert.equal((await call("DEL", { config: { runtimeConfig: { portMappings: "?" } } })).exitCode, 0);
      assert.equal(host.ports.size, 0);
    });
    it("leaves nothing of a pod whose host ports cannot be mapped, and keeps addresses as long as a port leads to them", async () => {
      const config = { runtimeConfig: { portMappings: [{ hostPort: 80, containerPort: 80 }] } };
      host.fail.mapPorts = new HostPortTaken("host port 80/tcp of this node is taken by pod a/b");
      await failure(101, /80\/tcp.*taken by pod a\/b.*hostPort/, "ADD", { config });
      host.fail.mapPorts = new HostPortsNotReady("not yet");
      await failure(11, /not yet.*skylane-agent/, "ADD", { config });
      host.fail.mapPorts = new HostPortsUnsupported("never");
      await failure(102, /never.*hostPorts: portmap/, "ADD", { config });
      assert.deepEqual(host.remains(), []);
      delete host.fail.mapPorts;
      const portMappings = [{ hostPort: 80, containerPort: 80, hostIP: "::" }];
      const onlyIpv6 = { runtimeConfig: { portMappings, ips: ["10.244.1.3"] } };
      await failure(2, /\[::\]:80\/tcp.*family that the pod has/, "ADD", { config: onlyIpv6 });
      assert.deepEqual(host.remains(), []);
      assert.equal((await call("ADD", { config })).exitCode, 0);
      host.fail.unmapPorts = new Error("the kernel says no");
      assert.equal((await call("DEL")).exitCode, 1);
      assert.equal(host.reservations.length, 2);
      delete host.fail.unmapPorts;
      assert.equal((await call("DEL")).exitCode, 0);
      assert.deepEqual(host.remains(), []);
    });
    it("remembers that no other plugin has host ports of a pod", async () => {
      const capabilities = { portMappings: true };
      const net = { dataDir: host.dir, network: "default" };
      await call("ADD", { config: { capabilities } });
      assert.equal(host.attachments(net).list()[0]?.hostPorts, "own");
      await call("DEL", { config: { capabilities } });
      await call("ADD");
      assert.equal(host.attachments(net).list()[0]?.hostPorts, undefined);
    });
    it("limits the pod's bandwidth, and takes the limit back with it", async () => {
      const env = { CNI_ARGS: "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0;K8S_POD_UID=u1" };
      const bandwidth = { ingressRate: 1e6, ingressBurst: 2 ** 64, EgressRate: 2e6, egressBurst: 0 };
      assert.equal((await call("ADD", { env, config: { runtimeConfig: { bandwidth } } })).exitCode, 0);
      assert.partialDeepStrictEqual(host.limits.get("c1/eth0"), {
        owner: { containerId: "c1", ifname: "eth0" },
        network: "default",
        pod: "ns/web-0",
        uid: "u1",
        limits: { ingress: { rate: 1e6 }, egress: { rate: 2e6 } },
      });
      const [record] = host.attachments({ dataDir: host.dir, network: "default" }).list();
      assert.partialDeepStrictEqual(record, { pod: "ns/web-0", podUid: "u1" });
      assert.equal((await call("DEL", { config: { runtimeConfig: { bandwidth: "?" } } })).exitCode, 0);
      assert.equal(host.limits.size, 0);
    });
    it("refuses bandwidth that is none by its key, and a rate of 0 limits nothing", async () => {
      for (const [bandwidth, pattern] of [
        [{ ingressRate: "1M" }, /runtimeConfig\.bandwidth\.ingressRate.*a number of bits/],
        [{ egressRate: -1 }, /runtimeConfig\.bandwidth\.egressRate.*0 or more/],
        [{ egressRate: 999 }, /runtimeConfig\.bandwidth\.egressRate.*1k to 1P/],
        [{ egressRate: 1e15 + 1 }, /1k to 1P/],
        [{ egressRate: 1e6, egressBurst: [] }, /egressBurst.*a number of bits/],
        [[], /runtimeConfig\.bandwidth/],
      ] as const)
        await failure(7, pattern, "ADD", { config: { runtimeConfig: { bandwidth } } });
      assert.deepEqual(host.remains(), []);
      const bandwidth = { ingressRate: 0, ingressBurst: 0, egressRate: 0, egressBurst: 0 };
      assert.equal((await call("ADD", { config: { runtimeConfig: { bandwidth } } })).exitCode, 0);
      assert.equal(host.limits.size, 0);
    });
    it("leaves nothing of a pod that cannot be limited", async () => {
      const config = { runtimeConfig: { bandwidth: { ingressRate: 1e6, ingressBurst: 1e6 } } };
      host.fail.limit = new BandwidthRefused("no IFB here");
      await failure(102, /no IFB here.*act_mirred/, "ADD", { config });
      assert.deepEqual(host.remains(), []);
    });
    it("is not moved by __proto__ or duplicate keys", async () => {
      const text = `{"__proto__":{"mtu":1},"cniVersion":"0.1.0","cniVersion":"1.1.0","name":"net","dataDir":"${host.dir}","runDir":"${host.dir}","constructor":1}`;
      assert.equal((await call("ADD", { config: text })).exitCode, 0);
      assert.partialDeepStrictEqual(host.attachSpecs, [{ mtu: 1450 }]);
    });
    it("a bad optional key does not keep DEL from its work", async () => {
      await call("ADD");
      const { exitCode } = await call("DEL", {
        config: { runtimeConfig: 5, prevResult: 7, mtu: "x" },
        env: { CNI_ARGS: "?" },
      });
      assert.equal(exitCode, 0);
      assert.deepEqual(host.remains(), []);
    });
    it("an error speaks the version of the request", async () => {
      const { json } = await call("ADD", { config: { cniVersion: "0.4.0", mtu: "x" } });
      assert.equal(json.cniVersion, "0.4.0");
      assert.equal((await call("ADD", { config: { cniVersion: "9.9.9" } })).json.cniVersion, "1.1.0");
    });
  });

  describe("ADD", () => {
    for (const version of VERSIONS) {
      it(`answers in the shape of ${version}`, async () => {
        const { json } = await call("ADD", { config: { cniVersion: version, dns: { nameservers: ["10.0.0.10"] } } });
        const old = version < "1";
        const mtu = version === "1.1.0" ? { mtu: 1450 } : {};
        assert.deepEqual(json, {
          cniVersion: version,
          interfaces: [
            { name: "sky-c1-eth0", mac: "ee:ee:ee:ee:ee:ee", ...mtu },
            { name: "eth0", mac: "02:00:00:00:00:01", ...mtu, sandbox: "/run/netns/pod" },
          ],
          ips: [
            { ...(old && { version: "4" }), address: "10.244.1.2/32", interface: 1, gateway: "169.254.1.1" },
            { ...(old && { version: "6" }), address: "fd00:1::2/128", interface: 1, gateway: "fe80::1" },
          ],
          routes: [
            { dst: "0.0.0.0/0", gw: "169.254.1.1" },
            { dst: "::/0", gw: "fe80::1" },
          ],
          dns: { nameservers: ["10.0.0.10"] },
        });
      });

      it(`appends to a previous result of ${version}`, async () => {
        const versionKey = version < "1" ? { version: "4" } : {};
        const prevResult = {
          cniVersion: version,
          interfaces: [{ name: "other0" }, { name: "net1", sandbox: "/run/netns/pod", custom: "kept" }],
          ips: [{ ...versionKey, address: "192.0.2.5/24", gateway: "192.0.2.1", interface: 1 }],
          routes: [{ dst: "192.0.2.0/24" }],
          dns: { domain: "before.example", search: ["a"] },
          custom: { kept: true },
        };
        const { json } = await call("ADD", { config: { cniVersion: version, prevResult, dns: { search: ["b"] } } });
        const { interfaces, ips, routes, dns, custom } = json as { [key: string]: Json[] };
        assert.deepEqual(interfaces?.slice(0, 2), prevResult.interfaces);
        assert.deepEqual(
          interfaces?.slice(2).map(({ name }) => name),
          ["sky-c1-eth0", "eth0"],
        );
        assert.deepEqual(ips?.[0], prevResult.ips[0]);
        assert.deepEqual(
          ips?.map((ip) => ip.interface),
          [1, 3, 3],
        );
        assert.deepEqual(routes?.[0], { dst: "192.0.2.0/24" });
        assert.deepEqual(dns, { domain: "before.example", search: ["b"] });
        assert.deepEqual(custom, { kept: true });
      });
    }

    it("takes a previous result of another version", async () => {
      const prevResult = {
        cniVersion: "0.4.0",
        interfaces: [{ name: "a", mtu: 9 }],
        ips: [{ version: "6", address: "fd00::1/64", interface: 0 }],
      };
      const { json } = await call("ADD", { config: { cniVersion: "1.0.0", prevResult } });
      const { ips, interfaces } = json as { [key: string]: Json[] };
      assert.deepEqual(ips?.[0], { address: "fd00::1/64", interface: 0 });
      assert.deepEqual(interfaces?.[0], { name: "a" });
    });

    it("DNS of the runtime replaces that of the configuration, key by key", async () => {
      const dns = { nameservers: ["10.0.0.10"], domain: "d", search: ["s"], options: ["ndots:5"] };
      const runtimeConfig = { dns: { servers: ["10.0.0.11"], searches: [], options: ["ndots:1"] } };
      const { json } = await call("ADD", { config: { dns, runtimeConfig } });
      assert.deepEqual(json.dns, { nameservers: ["10.0.0.11"], domain: "d", search: ["s"], options: ["ndots:1"] });
    });

    it("reads keys in any case, as runtimes written in Go send them", async () => {
      const dns = { Servers: ["fe80::1%eth0", "10.0.0.11"], Searches: null, Options: ["ndots:1"] };
      const ipRanges = [[{ Subnet: "10.244.1.0/29", RangeStart: "10.244.1.3" }]];
      const { json } = await call("ADD", { config: { runtimeConfig: { dns, ipRanges } } });
      assert.deepEqual(json.dns, { nameservers: ["fe80::1%eth0", "10.0.0.11"], options: ["ndots:1"] });
      await failure(7, /ipRanges\[0\]\[0\]\.rangeStart/, "ADD", {
        config: { runtimeConfig: { ipRanges: [[{ Subnet: "10.244.1.0/29", RangeStart: "10.0.0.1" }]] } },
        env: { CNI_CONTAINERID: "c2" },
      });
    });

    it("leaves empty DNS out from 1.0.0 on, as the reference does", async () => {
      assert.equal((await call("ADD")).json.dns, undefined);
    });

    it("runtimeConfig wins over args.cni, and that over CNI_ARGS", async () => {
      const asked = { env: { CNI_ARGS: "IP=10.244.1.5;MAC=02:00:00:00:00:05" } };
      const args = { cni: { ips: ["10.244.1.4/29"], mac: "02:00:00:00:00:04" } };
      const runtimeConfig = { ips: ["10.244.1.3", "FD00:1::3"], mac: "02-00-00-00-00-03" };
      const wanted: [Json, string[], string][] = [
        [{ args, runtimeConfig }, ["10.244.1.3", "fd00:1::3"], "02:00:00:00:00:03"],
        [{ args }, ["10.244.1.4"], "02:00:00:00:00:04"],
        [{}, ["10.244.1.5"], "02:00:00:00:00:05"],
      ];
      for (const [more, addresses, mac] of wanted) {
        assert.equal((await call("ADD", { ...asked, config: more })).exitCode, 0);
        assert.partialDeepStrictEqual(host.attachSpecs.at(-1), { addresses, mac });
        await call("DEL");
      }
    });

    it("a malformed IP= or MAC= in CNI_ARGS is code 4", async () => {
      await failure(4, /CNI_ARGS: IP/, "ADD", { env: { CNI_ARGS: "IP=x" } });
      await failure(4, /CNI_ARGS: MAC/, "ADD", { env: { CNI_ARGS: "MAC=x" } });
    });

    it("says what to wait for while nothing is published", async () => {
      host.published = undefined;
      await failure(11, /default\.json is not there yet.*skylane-agent writes it/, "ADD");
      assert.deepEqual(host.remains(), []);
    });

    it("a second ADD is an error and leaves the first untouched", async () => {
      await call("ADD");
      const before = host.remains();
      await failure(101, /already has interface eth0/, "ADD");
      assert.deepEqual(host.remains(), before);
    });

    it("what a reboot left of the same attachment does not stand in the way", async () => {
      await call("ADD");
      host.bootId = "boot-2";
      host.links.clear();
      assert.equal((await call("ADD")).exitCode, 0);
      assert.equal(host.reservations.length, 2);
    });

    it("exhaustion is code 51 and leaves nothing", async () => {
      for (let i = 0; i < 5; i++) await call("ADD", { env: { CNI_CONTAINERID: `p${i}` } });
      const before = host.remains();
      await failure(51, /10\.244\.1\.0\/29/, "ADD", { env: { CNI_CONTAINERID: "one-too-many" } });
      assert.deepEqual(host.remains(), before);
    });

    it("takes everything back when the link cannot be made", async () => {
      host.fail.attachPod = Object.assign(new Error("ENOSPC: no space left"), { code: "ENOSPC" });
      await failure(5, /ENOSPC/, "ADD");
      assert.deepEqual(host.remains(), []);
    });

    it("says so when taking back fails too, and keeps the record for the next try", async () => {
      host.fail.attachPod = new Error("boom");
      host.fail.release = Object.assign(new Error("EROFS: read-only"), { code: "EROFS" });
      await failure(100, /boom.*Not all of it could be taken back.*EROFS/, "ADD");
      assert.ok(host.remains().includes("c1"));
      host.fail = {};
      assert.equal((await call("DEL")).exitCode, 0);
      assert.deepEqual(host.remains(), []);
    });

    it("can be undone when its answer could not be delivered", async () => {
      const { undo } = await call("ADD");
      await undo?.();
      assert.deepEqual(host.remains(), []);
    });
  });

  describe("DEL", () => {
    it("succeeds with nothing there, twice, and without a sandbox", async () => {
      for (const more of [{ CNI_NETNS: "" }, { CNI_NETNS: "/run/netns/none" }, { CNI_NETNS: "garbage" }]) {
        assert.deepEqual(await call("DEL", { env: more }), { exitCode: 0, json: {}, stdout: "" });
      }
    });
    it("needs no published state", async () => {
      await call("ADD");
      host.published = undefined;
      assert.equal((await call("DEL")).exitCode, 0);
      assert.deepEqual(host.remains(), []);
    });
    it("keeps the address while the link cannot be removed, and names what is left", async () => {
      await call("ADD");
      host.fail.detachPod = Object.assign(new Error("EPERM deleting link"), { code: "EPERM" });
      await failure(5, /container c1 interface eth0.*EPERM/, "DEL");
      assert.equal(host.reservations.length, 2);
    });
    it("goes on when the delegated plugin is not installed and never gave anything", async () => {
      await call("ADD");
      assert.equal((await call("DEL", { config: { ipam: { type: "none" } } })).exitCode, 0);
      assert.deepEqual(host.remains(), []);
    });
    it("does not enter the host's own namespace", async () => {
      assert.equal((await call("DEL", { env: { CNI_NETNS: "/run/netns/host" } })).exitCode, 0);
    });
  });

  describe("what runtimes send", () => {
    it("an address more than once (podman)", async () => {
      const { json } = await call("ADD", {
        env: { CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAMESPACE=infra-;K8S_POD_NAME=web-" },
        config: { runtimeConfig: { ips: ["10.244.1.4", "10.244.1.4/24", "fd00:1::4", "FD00:1:0::4"] } },
      });
      const ips = (json.ips as Json[]).map(({ address }) => address);
      assert.deepEqual(ips, ["10.244.1.4/32", "fd00:1::4/128"]);
      await failure(2, /at most one IPv4/, "ADD", {
        env: { CNI_CONTAINERID: "c2" },
        config: { runtimeConfig: { ips: ["10.244.1.4", "10.244.1.5"] } },
      });
    });
    it("a name that ends as none of Kubernetes' does", async () => {
      const args = (name: string) => ({ env: { CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAME=${name}` } });
      for (const name of ["web-", "web.", "web_", "w"]) {
        assert.equal((await call("ADD", args(name))).exitCode, 0, name);
        await call("DEL");
      }
      for (const name of ["-web", "a b", "a/b", "a\n", "x".repeat(254)])
        await failure(4, /K8S_POD_NAME/, "ADD", args(name));
    });
    it("an MTU of 0, which is none", async () => {
      assert.equal((await call("ADD", { config: { mtu: 0 } })).exitCode, 0);
      assert.equal((host.attachSpecs[0] as { mtu: number }).mtu, 1450);
      for (const mtu of [-1, 67, 65_536, 0.5, "0"])
        await failure(7, /"mtu" is refused/, "ADD", { env: { CNI_CONTAINERID: "c2" }, config: { mtu } });
    });
  });

  describe("CHECK", () => {
    it("does not exist before 0.4.0", () =>
      failure(1, /CHECK needs cniVersion 0\.4\.0/, "CHECK", { config: { cniVersion: "0.3.1" } }));
    it("needs prevResult", () => failure(7, /"prevResult"/, "CHECK"));
    it("passes, and names every difference", async () => {
      const prevResult = (await call("ADD")).json;
      assert.deepEqual(await call("CHECK", { config: { prevResult } }), { exitCode: 0, json: {}, stdout: "" });
      host.differences = ["route default via 169.254.1.1 is missing", "mtu is 1400"];
      await failure(103, /route default via 169.254.1.1 is missing.*mtu is 1400/, "CHECK", { config: { prevResult } });
    });
    it("misses its host ports", async () => {
      const portMappings = [{ hostPort: 80, containerPort: 80 }];
      const capabilities = { portMappings: true };
      const prevResult = (await call("ADD")).json;
      const config = { capabilities, prevResult, runtimeConfig: { portMappings } };
      assert.equal((await call("CHECK", { config })).exitCode, 0, "another plugin may have them");
      await call("DEL");
      await call("ADD", { config: { capabilities } });
      await failure(103, /host port 80 is not recorded/, "CHECK", { config });
      host.portDifferences = ["host port 81/tcp to 80 is not in the packet filter"];
      await failure(103, /81\/tcp to 80 is not in the packet filter/, "CHECK", { config: { prevResult } });
    });
    it("misses the limits of its bandwidth", async () => {
      const prevResult = (await call("ADD")).json;
      host.limitDifferences = ["the filter of its bandwidth limit is missing or different"];
      await failure(103, /filter of its bandwidth limit is missing/, "CHECK", { config: { prevResult } });
    });
    it("misses the reservation", async () => {
      const prevResult = (await call("ADD")).json;
      host.reservations = host.reservations.filter(({ ip }) => ip.includes(":"));
      await failure(103, /10\.244\.1\.2.*not reserved/, "CHECK", { config: { prevResult } });
    });
    it("misses its own interface in prevResult", async () => {
      await call("ADD");
      await failure(103, /prevResult has no interface eth0/, "CHECK", { config: { prevResult: { interfaces: [] } } });
    });
  });

  describe("GC", () => {
    const attach = async (...ids: string[]): Promise<void> => {
      for (const id of ids) assert.equal((await call("ADD", { env: { CNI_CONTAINERID: id } })).exitCode, 0);
    };
    const left = (): string[] => [...host.links.keys()].map((name) => name.split("-")[1] ?? "");

    it("does not exist before 1.1.0", () =>
      failure(1, /GC needs cniVersion 1\.1\.0/, "GC", { config: { cniVersion: "1.0.0" } }));
    for (const key of ["cni.dev/valid-attachments", "cni.dev/attachments"]) {
      it(`keeps what ${key} lists`, async () => {
        await attach("a", "b", "c");
        const list = [
          { containerID: "b", ifname: "eth0" },
          { containerID: "a", ifname: "net1" },
        ];
        assert.equal((await call("GC", { config: { [key]: list } })).exitCode, 0);
        assert.deepEqual(left(), ["b"]);
        assert.equal(host.reservations.length, 2);
      });
    }
    it("an empty list frees all of this CNI network, and of no other", async () => {
      await attach("a");
      assert.equal((await call("ADD", { env: { CNI_CONTAINERID: "b" }, config: { name: "other" } })).exitCode, 0);
      await call("GC", { config: { "cni.dev/valid-attachments": [] } });
      assert.deepEqual(left(), ["b"]);
    });
    it("no list frees nothing that may live", async () => {
      await attach("a", "b");
      for (const more of [{}, { "cni.dev/valid-attachments": null }]) await call("GC", { config: more });
      assert.deepEqual(left(), ["a", "b"]);
    });
    it("no list frees what an earlier boot left", async () => {
      host.bootId = "earlier";
      await attach("a");
      await call("GC");
      assert.deepEqual(host.remains(), []);
    });
    for (const list of ["x", {}, [1], [{ containerID: "a" }], [{ containerID: "", ifname: "eth0" }]]) {
      it(`refuses ${JSON.stringify(list)} instead of guessing`, async () => {
        await attach("a");
        await failure(7, /"cni\.dev\/valid-attachments/, "GC", { config: { "cni.dev/valid-attachments": list } });
        assert.deepEqual(left(), ["a"]);
      });
    }
    it("goes on after a failure and reports it", async () => {
      await attach("a", "b");
      const detach = host.detachPod;
      host.detachPod = (o) => {
        if (o.containerId === "a") throw new Error("stuck");
        return detach(o);
      };
      await failure(100, /container a.*stuck/, "GC", { config: { "cni.dev/valid-attachments": [] } });
      assert.deepEqual(left(), ["a"]);
    });
  });

  describe("STATUS", () => {
    it("does not exist before 1.1.0", () => failure(1, /STATUS/, "STATUS", { config: { cniVersion: "1.0.0" } }));
    it("is fine", async () => {
      assert.deepEqual(await call("STATUS"), { exitCode: 0, json: {}, stdout: "" });
    });
    it("50 while not published", async () => {
      host.published = undefined;
      await failure(50, /not ready/, "STATUS");
    });
    it("names a cause once", async () => {
      const cause = new SyntaxError("Unexpected end of JSON input");
      host.publishedError = new Error(`default.json: is not JSON: ${cause.message}`, { cause });
      const { json } = await call("STATUS");
      assert.equal(String(json.msg).match(/Unexpected end/g)?.length, 1, String(json.msg));
    });
    it("50 with a file that cannot be used", async () => {
      host.publishedError = new Error("layout version 2 is unknown");
      await failure(50, /layout version 2/, "STATUS");
    });
    it("51 without the overlay's device", async () => {
      host.devices.clear();
      await failure(51, /sky\.4096/, "STATUS");
    });
    it("51 without the underlay, or the bridge", async () => {
      host.underlay = "address 172.30.0.11, which the tunnel sends from, is on no interface of this node";
      await failure(51, /no underlay: address 172\.30\.0\.11/, "STATUS");
      host.underlay = undefined;
      host.published = { ...(host.published as PublishedNetwork), bridge: { name: "br.1", prefixLengths: { 4: 24 } } };
      await failure(51, /bridge br\.1/, "STATUS");
    });
    it("51 where the network's namespace is gone", async () => {
      host.deviceUp = () => {
        throw new SysError(2, "open", "opening network namespace /run/netns/sky-default");
      };
      await failure(51, /ENOENT/, "STATUS");
    });
    it("50 where every pod would be refused: by the configuration, or by the disk", async () => {
      await failure(50, /"mtu" is refused/, "STATUS", { config: { mtu: 9000 } });
      await failure(50, /"dns\.nameservers/, "STATUS", { config: { dns: { nameservers: ["x"] } } });
      host.readOnly = true;
      await failure(50, /nothing can be written to .*read-only/, "STATUS");
    });
    it("50 where only the agent can serve pods, and it is not there", async () => {
      host.published = { ...(host.published as PublishedNetwork), needsAgent: true };
      await failure(50, /only skylane-agent knows/, "STATUS");
      await failure(11, /only skylane-agent knows/, "ADD");
      host.joinable = () => "joined";
      assert.equal((await call("STATUS")).exitCode, 0);
    });
    it("is the agent's word on networks beside the default one", async () => {
      const blue = { config: { network: "blue" } };
      host.published = undefined;
      host.joinable = () => "not joined";
      assert.equal((await call("STATUS", blue)).exitCode, 0, "the next pod makes it");
      host.joinable = () => "joined";
      await failure(50, /"blue" is not ready on this node/, "STATUS", blue);
      host.joinable = () => {
        throw new CniError(105, 'there is no PodNetwork "blue"');
      };
      await failure(50, /there is no PodNetwork/, "STATUS", blue);
      host.joinable = () => {
        throw new CniError(50, "the API server does not answer");
      };
      await failure(50, /does not answer/, "STATUS", blue);
    });
    it("51 when a family has no address left", async () => {
      for (let i = 0; i < 5; i++) await call("ADD", { env: { CNI_CONTAINERID: `p${i}` } });
      await failure(51, /no free IPv4 address in pod CIDR 10\.244\.1\.0\/29/, "STATUS");
    });
  });
});
