import assert from "node:assert/strict";
import type { AgentStatus } from "../../../src/observe/index.ts";
import type { Facts } from "../../../src/cli/doctor/facts.ts";
import { type Finding, type Level, render } from "../../../src/cli/doctor/finding.ts";
import { judge } from "../../../src/cli/doctor/judge/judge.ts";
import { POD_LINK_GROUP } from "../../../src/netlink/index.ts";
import { linkOf } from "../../support/link.ts";
import { healthy, probe } from "./doctor-facts.ts";

/** The findings that are not ok. */
const troubles = (facts: Facts): Finding[] => judge(facts).filter(({ level }) => level !== "ok");

/** The only trouble of these facts, as its check and level. */
function only(more: Partial<Facts>, check: string, level: Level): Finding {
  const found = troubles(healthy(more));
  assert.deepEqual(
    found.map((finding) => `${finding.check} ${finding.level}`),
    [`${check} ${level}`],
  );
  return found[0] as Finding;
}

const noAgent: Partial<Facts> = { agent: { error: "no agent listens" }, peers: [] };

describe("doctor: a healthy node", () => {
  it("has no trouble", () => assert.deepEqual(troubles(healthy()), []));

  it("names each check once, and says meaning and cure of every trouble and of nothing else", () => {
    const all = [
      ...judge(healthy()),
      ...judge(
        healthy({ ...noAgent, release: "4.9.0", chains: { error: "x" }, peers: [probe("a", { tunnel: false })] }),
      ),
    ];
    for (const { check, level, meaning, cure } of all) {
      assert.match(check, /^[a-z]+(\.[a-z_-]+)*$/);
      const trouble = level === "warn" || level === "fail";
      assert.equal(meaning !== undefined && cure !== undefined, trouble, check);
    }
    const names = judge(healthy()).map(({ check }) => check);
    assert.equal(new Set(names).size, names.length);
  });
});

describe("doctor: the kernel", () => {
  it("is too old before 5.2", () => {
    only({ release: "5.1.21" }, "kernel.version", "fail");
    only({ release: "4.19.0-27-amd64" }, "kernel.version", "fail");
    assert.deepEqual(troubles(healthy({ release: "5.2.0" })), []);
    assert.deepEqual(troubles(healthy({ release: "strange" })), []);
  });

  const kernel = { vxlan: { works: true }, veth: { works: true }, nftables: { works: true } } as const;
  const lacking = { works: false, error: "EOPNOTSUPP adding device" } as const;

  it("lacks VXLAN, veth or nf_tables", () => {
    const rest = { fib: true, fullyRandom: true };
    const found = only({ kernel: { value: { ...kernel, ...rest, vxlan: lacking } } }, "kernel.vxlan", "fail");
    assert.match(found.found, /EOPNOTSUPP/);
    assert.match(found.cure ?? "", /modprobe vxlan/);
    only({ kernel: { value: { ...kernel, ...rest, veth: lacking } } }, "kernel.veth", "fail");
    only({ kernel: { value: { ...kernel, ...rest, nftables: lacking } } }, "kernel.nftables", "fail");
  });

  it("has nf_tables without fib or fully random masquerading", () => {
    const without = (fib: boolean, fullyRandom: boolean): Finding =>
      only({ kernel: { value: { ...kernel, fib, fullyRandom } } }, "kernel.nftables.features", "warn");
    assert.match(without(false, true).meaning ?? "", /not theirs/);
    assert.match(without(true, false).meaning ?? "", /first packet/);
  });

  it("cannot be tried without the right to make a namespace", () => {
    const levels = troubles(healthy({ kernel: { error: "EPERM" } }));
    assert.deepEqual(
      levels.map(({ check, level }) => `${check} ${level}`),
      ["kernel.veth skip", "kernel.nftables skip"],
      "our device shows that VXLAN works",
    );
  });
});

describe("doctor: parameters", () => {
  const sysctls = healthy().sysctls;
  const pending = [{ key: "net.ipv4.ip_forward", value: "1" }];

  it("forwarding is off: fails with an agent, waits for one without", () => {
    only({ sysctls: { ...sysctls, pending } }, "sysctl.forwarding", "fail");
    const found = troubles(healthy({ ...noAgent, sysctls: { ...sysctls, pending } }));
    assert.ok(found.some(({ check, level }) => check === "sysctl.forwarding" && level === "warn"));
    const before = judge(healthy({ ...noAgent, installed: false, sysctls: { ...sysctls, pending } }));
    assert.equal(before.find(({ check }) => check === "sysctl.forwarding")?.level, "ok");
  });

  it("rp_filter is strict: matters only where peers are reached by several devices or another one", () => {
    const strict = { ...sysctls, rpFilter: { eth0: "1", eth1: "0" } };
    assert.deepEqual(troubles(healthy({ sysctls: strict })), []);
    only({ sysctls: strict, peers: [probe("a"), probe("b", { device: "eth1" })] }, "sysctl.rp_filter", "warn");
    only({ sysctls: strict, peers: [probe("b", { device: "eth1" })] }, "sysctl.rp_filter", "warn");
  });

  it("connection tracking and the neighbour table are nearly full", () => {
    const at = (conntrackCount: string): Partial<Facts> => ({ sysctls: { ...sysctls, conntrackCount } });
    assert.deepEqual(troubles(healthy(at("200000"))), []);
    only(at("220000"), "sysctl.conntrack", "warn");
    const { cure } = only({ neighbours: { 4: 900, 6: 0 } }, "sysctl.neighbours", "warn");
    assert.match(cure ?? "", /net\.ipv4\.neigh\.default\.gc_thresh3=3600/);
    const many = Array.from({ length: 1000 }, (_, i) => probe(`n${i}`));
    only({ peers: many }, "sysctl.neighbours", "warn");
    assert.deepEqual(troubles(healthy({ peers: many.map((peer) => ({ ...peer, onLink: false })) })), []);
  });

  it("limits that this namespace does not show are skipped", () => {
    only({ sysctls: { ...sysctls, gcThresh3: { 4: undefined, 6: undefined } } }, "sysctl.neighbours", "skip");
    only({ sysctls: { ...sysctls, conntrackMax: undefined } }, "sysctl.conntrack", "skip");
  });
});

describe("doctor: the agent", () => {
  it("does not run: fails where Skylane is installed, says so where it is not", () => {
    const found = troubles(healthy({ ...noAgent, listen: "nobody" }));
    assert.deepEqual(
      found.map(({ check, level }) => `${check} ${level}`),
      ["agent fail", "peers skip"],
    );
    const fresh = healthy({
      ...noAgent,
      installed: false,
      listen: "nobody",
      confFiles: { value: [] },
      executable: false,
    });
    assert.deepEqual(
      troubles(fresh).map(({ check, level }) => `${check} ${level}`),
      ["agent skip", "peers skip"],
    );
  });

  it("is not ready, has refused a Node, cannot program a peer, is cut off from the API server", () => {
    const { agent } = healthy();
    assert.ok("value" in agent);
    const { value } = agent;
    const [network] = value.networks;
    assert.ok(network);
    only(
      {
        agent: { value: { ...value, ready: { ready: false, checks: [{ name: "files", ok: false, message: "no" }] } } },
      },
      "agent",
      "fail",
    );
    only({ agent: { value: { ...value, api: { state: "away", lastSync: null } } } }, "agent.api", "warn");
    const refused = [{ node: "evil", reason: "BadAnnotation" as const, message: "no JSON" }];
    only({ agent: { value: { ...value, networks: [{ ...network, refused }] } } }, "agent.refused", "warn");
    const peers = network.peers.map((peer) => ({ ...peer, state: "error" as const, error: "EEXIST" }));
    only({ agent: { value: { ...value, networks: [{ ...network, peers }] } } }, "agent.peers", "fail");
  });

  it("has lost its device, or a device of a wrong MTU", () => {
    const { links } = healthy();
    const without = links.filter(({ name }) => name !== "sky.4096");
    only({ links: without, udpHolders: [] }, "device", "fail");
    const wide = links.map((one) => (one.name === "sky.4096" ? { ...one, mtu: 1500 } : one));
    assert.match(only({ links: wide }, "device", "warn").cure ?? "", /1450/);
  });

  it("has lost what another Node has as well, in any network", () => {
    const { value } = healthy().agent as { value: AgentStatus };
    const [network] = value.networks;
    assert.ok(network);
    const losses = [{ node: "twin", message: "VTEP address 172.30.0.11 of the older node twin" }];
    for (const networks of [[{ ...network, losses }], [network, { ...network, network: "blue", losses }]]) {
      const found = only({ agent: { value: { ...value, networks } } }, "agent.preferred", "fail");
      assert.match(found.found, /prefer twin to this node: VTEP address 172\.30\.0\.11 of the older node twin/);
      assert.match(found.found, new RegExp(`network ${networks.at(-1)?.network}`));
      assert.match(found.cure ?? "", /kubectl delete node twin/);
    }
  });

  it("has a fast path that is off, or not for everybody", () => {
    const { value } = healthy().agent as { value: AgentStatus };
    const fast = { on: true, message: "by the program", pods: 3, prefixes: 4, ordinary: [], packets: [] };
    const agent = (fastPath: AgentStatus["fastPath"]) => ({ value: { ...value, ...(fastPath && { fastPath }) } });
    const judged = judge({ ...healthy(), agent: agent(fast) });
    assert.deepEqual(
      judged.filter(({ check }) => check.startsWith("fastpath")).map(({ level, found }) => [level, found]),
      [["ok", "on, 3 links of pods, 4 prefixes of peers (by the program)"]],
    );
    const said = (facts: Partial<Facts>, check: string): string | undefined => {
      assert.deepEqual(troubles(healthy(facts)), [], "none of it is a trouble");
      return judge(healthy(facts)).find((one) => one.check === check)?.found;
    };
    const off = { ...fast, on: false, message: "no tcx" };
    assert.match(said({ agent: agent(off) }, "fastpath") ?? "", /^off, .*: no tcx$/);
    const some = { ...fast, ordinary: [{ what: "sky01", why: "it has queueing discipline tbf" }] };
    assert.match(said({ agent: agent(some) }, "fastpath.ordinary") ?? "", /: sky01: it has .* tbf$/);
    assert.ok(!judge(healthy()).some(({ check }) => check.startsWith("fastpath")));
    const [network] = value.networks as [AgentStatus["networks"][0]];
    const blue = { ...network, network: "blue", fastPath: off };
    const further = { agent: { value: { ...value, networks: [network, blue] } } };
    assert.match(said(further, "fastpath") ?? "", /^pod network blue: off, .*: no tcx$/);
  });

  it("names pods that no egress gateway leads out, and what of gateways is not in place", () => {
    const { value } = healthy().agent as { value: AgentStatus };
    const pod = { pod: "shop/web", ip: "10.244.1.5", address: "192.0.2.1", node: "n2" };
    const whole = { gateway: "out", addresses: [{ address: "192.0.2.1", node: "n2", pods: 1 }], pods: [pod] };
    const agent = (gateway: object, more: object = {}) => ({
      agent: {
        value: { ...value, egress: { gateways: [{ ...whole, ...gateway }], addresses: [], faults: [], ...more } },
      },
    });
    const fine = judge({ ...healthy(), ...agent({}) }).find(({ check }) => check === "egress");
    assert.deepEqual([fine?.level, fine?.found], ["ok", "1 egress gateways, by which 1 pods of this node leave"]);
    const { node: _node, ...alone } = pod;
    assert.equal(only(agent({ pods: [alone] }), "egress", "fail").found, "shop/web: nobody has 192.0.2.1");
    const { address: _address, ...without } = alone;
    assert.match(only(agent({ pods: [without] }), "egress", "fail").found, /EgressGateway out has no address for it/);
    const wayless = only(agent({ network: "blue", noWayOut: "PodNetwork blue leads nowhere" }), "egress", "warn");
    assert.equal(wayless.found, "EgressGateway out: PodNetwork blue leads nowhere");
    assert.equal(
      only(agent({ why: "192.0.2.1 cannot be used" }), "egress", "warn").found,
      "EgressGateway out: 192.0.2.1 cannot be used",
    );
    assert.equal(
      only(agent({}, { faults: [{ entry: "table", why: "refused" }] }), "egress", "fail").found,
      "table: refused",
    );
    assert.equal(only(agent({}, { message: "not said" }), "egress", "warn").found, "not said");
    assert.ok(!judge(healthy()).some(({ check }) => check === "egress"));
  });

  it("encrypts what goes to other nodes where it is to, and says what is not and why", () => {
    const { value } = healthy().agent as { value: AgentStatus };
    const encryption = (more: Partial<NonNullable<AgentStatus["encryption"]>>) => ({
      agent: {
        value: {
          ...value,
          encryption: {
            mode: "wireguard" as const,
            ready: true,
            message: "0 of 0 nodes",
            device: "skylane-wg",
            keyDays: 0,
            port: 51_871,
            repairs: 0,
            peers: [],
            ...more,
          },
        },
      },
    });
    const said = (more: Parameters<typeof encryption>[0]): string[] =>
      judge({ ...healthy(), ...encryption(more) })
        .filter(({ check }) => check.startsWith("encryption"))
        .map(({ level, check, found }) => `${level} ${check}: ${found}`);
    assert.ok(!judge(healthy()).some(({ check }) => check.startsWith("encryption")));
    assert.deepEqual(said({}), ["ok encryption: wireguard, 0 of 0 nodes"]);
    assert.deepEqual(said({ ready: false, message: "no WireGuard" }), ["fail encryption: not in force: no WireGuard"]);
    const rotation = {
      publicKey: "NEXT=",
      seconds: 400,
      keySeconds: 400,
      awaited: [{ node: "n1", why: "no handshake" }],
    };
    assert.deepEqual(said({ rotation: { ...rotation, standsStill: true } }), [
      "warn encryption.rotation: n1: no handshake",
      "ok encryption: wireguard, 0 of 0 nodes",
    ]);
    assert.deepEqual(said({ rotation: { ...rotation, standsStill: false } }), said({}));
    const peers = (["encrypted", "waiting", "plaintext", "blocked"] as const).map((state, n) => ({
      node: `n${n}`,
      state,
      why: "so",
    }));
    assert.deepEqual(said({ peers }), [
      "fail encryption.handshake: n1: so",
      "fail encryption.blocked: n3: so",
      "warn encryption.plaintext: n2: so",
    ]);
  });

  it("records flows where it is to, and says why it does not", () => {
    const { value } = healthy().agent as { value: AgentStatus };
    const flows = { on: true, flows: 7, sampled: 4, leftOut: { sampled: 20, dropped: 0, table: 0 } };
    const agent = (more: object) => ({ agent: { value: { ...value, flows: { ...flows, ...more } } } });
    const fine = judge({ ...healthy(), ...agent({}) }).find(({ check }) => check === "flows");
    assert.deepEqual([fine?.level, fine?.found], ["ok", "7 flows remembered, of one in 4 connections by now"]);
    assert.equal(only(agent({ on: false, error: "EPERM" }), "flows", "warn").found, "not recorded: EPERM");
    assert.ok(!judge(healthy()).some(({ check }) => check === "flows"));
  });

  it("has measured its peers, and knows what is wrong between nodes", () => {
    const { value } = healthy().agent as { value: AgentStatus };
    const verdict = { scope: "pair" as const, nodes: ["a"], others: ["b"], meaning: "m", cure: "c", since: "s" };
    const probes = { on: true, message: "m", roundSeconds: 1, peers: { all: 2, measured: 2, faulty: 0 }, verdicts: [] };
    const agent = (more: Partial<NonNullable<AgentStatus["probes"]>>) => ({
      value: { ...value, probes: { ...probes, ...more } },
    });
    const levels = (facts: object): string[] =>
      judge({ ...healthy(), ...facts })
        .filter(({ check }) => check.startsWith("probes"))
        .map(({ check, level, found }) => `${level} ${check}: ${found}`);
    assert.deepEqual(levels({}), []);
    assert.deepEqual(levels({ agent: agent({}) }), ["ok probes: 2 of 2 peers measured, none at fault"]);
    assert.deepEqual(levels({ agent: agent({ on: false, message: "no socket" }) }), ["warn probes: off: no socket"]);
    const verdicts = [
      { ...verdict, fault: "tunnel" as const, found: "no VXLAN" },
      { ...verdict, fault: "loss" as const, found: "lost" },
    ];
    assert.deepEqual(levels({ agent: agent({ verdicts }) }), [
      "fail probes.tunnel: no VXLAN",
      "warn probes.loss: lost",
    ]);
  });

  it("has pods with addresses outside of its pod CIDRs", () => {
    const { value } = healthy().agent as { value: AgentStatus };
    const [network] = value.networks;
    assert.ok(network);
    const why = "outside of the node's pod CIDR 10.244.1.0/24";
    const outside = ["a", "b"].map((name) => ({ pod: `shop/${name}`, ip: "10.244.9.7", why }));
    const found = only(
      { agent: { value: { ...value, networks: [{ ...network, outside }] } } },
      "agent.outside",
      "fail",
    );
    assert.match(found.found, /shop\/a has 10\.244\.9\.7, outside of .*, shop\/b has/);
    assert.match(found.cure ?? "", /Delete these pods/);
  });

  it("names the link where IPv6 does not fit, not the configuration that waits for it", () => {
    const { value } = healthy().agent as { value: AgentStatus };
    const [network] = value.networks;
    assert.ok(network);
    const narrow = healthy().links.map((one) =>
      one.name === "eth0" ? { ...one, mtu: 1300 } : one.name === "sky.4096" ? { ...one, mtu: 1250 } : one,
    );
    const said =
      "an MTU of 1250 is under the 1280 bytes that IPv6 needs: eth0 has an MTU of 1300; it must be 1330 at least";
    const ready = { ready: false, checks: [{ name: "device", ok: false, message: said }] };
    const peers = network.peers.map((peer) => ({ ...peer, state: "error" as const, error: "EINVAL" }));
    const networks = [{ ...network, podCidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"], error: said, peers }];
    const found = troubles(
      healthy({ links: narrow, agent: { value: { ...value, ready, networks } }, confFiles: { value: [] } }),
    );
    assert.deepEqual(
      found.map(({ check, level }) => `${check} ${level}`),
      ["agent fail", "device fail", "cni.configuration skip"],
    );
    assert.match(found[0]?.found ?? "", /eth0 has an MTU of 1300/);
    assert.match(found[1]?.cure ?? "", /Raise the MTU of eth0 to 1330/);
    const wide = narrow.map((one) => (one.name === "eth0" ? { ...one, mtu: 1500 } : one));
    const configured = troubles(healthy({ links: wide, agent: { value: { ...value, networks } } }));
    assert.match(configured.find(({ check }) => check === "device")?.cure ?? "", /Set mtu to auto/);
  });

  it("finds its VXLAN port with devices in other namespaces, and with sockets of the kernel", () => {
    const device = { name: "vx-001001-abcde", netns: "/run/docker/netns/1-abcdef" };
    const there = only({ vxlanElsewhere: [{ ...device, vni: 4097 }] }, "port.vxlan", "warn");
    assert.match(
      there.found,
      /vx-001001-abcde in the network namespace \/run\/docker\S+ \(Docker Swarm\) \(VNI 4097\)/,
    );
    const twin = only({ vxlanElsewhere: [{ ...device, vni: 4096 }] }, "port.vxlan", "fail");
    assert.match(twin.cure ?? "", /nsenter --net=\/run\/docker\/netns\/1-abcdef ip link delete vx-001001-abcde/);
    const own = [{ name: "sky.5001", vni: 5001, netns: "/run/netns/skylane-blue", alias: "skylane network blue" }];
    assert.deepEqual(troubles(healthy({ vxlanElsewhere: own })), []);

    const links = [linkOf(1, "lo", { loopback: true }), linkOf(2, "eth0"), linkOf(7, "gnv0", { kind: "geneve" })];
    const alone = { ...noAgent, installed: false, listen: "nobody" as const, udpHolders: [{ family: 4 as const }] };
    const portOf = (more: Partial<Facts>): Finding | undefined =>
      troubles(healthy({ ...alone, links, ...more })).find(({ check }) => check === "port.vxlan");
    assert.match(portOf({})?.found ?? "", /one of the kernel's.*gnv0 \(geneve\)/);
    const external = linkOf(8, "vxlan_sys_4789", { kind: "vxlan", vxlan: { vni: 0, port: 4789, learning: false } });
    assert.match(portOf({ links: [...links, external] })?.found ?? "", /the kernel's socket of vxlan_sys_4789/);
    assert.match(portOf({ vxlanElsewhere: [{ ...device, vni: 4097 }] })?.found ?? "", /socket of vx-001001-abcde/);
  });

  it("finds its VXLAN port with others", () => {
    const { links } = healthy();
    const vxlan = (vni: number) => ({ kind: "vxlan", vxlan: { vni, port: 4789, learning: true } });
    only({ links: [...links, linkOf(9, "vx9", vxlan(7))] }, "port.vxlan", "warn");
    assert.match(only({ links: [...links, linkOf(9, "vx9", vxlan(4096))] }, "port.vxlan", "fail").found, /vx9/);
    const before = healthy({
      ...noAgent,
      installed: false,
      links: [linkOf(1, "lo", { loopback: true })],
      udpHolders: [{ family: 4, process: "dnsd (pid 7)" }],
      listen: "nobody",
    });
    const found = troubles(before).find(({ check }) => check === "port.vxlan");
    assert.match(found?.found ?? "", /taken by dnsd \(pid 7\)/);
  });

  it("finds another process on its TCP port", () => {
    only({ listen: "other" }, "port.listen", "fail");
    only({ listen: "nobody" }, "port.listen", "fail");
    only({ listen: undefined }, "port.listen", "skip");
  });

  it("finds another plugin's configuration before or after its own, or none", () => {
    const files = (...value: string[]): Partial<Facts> => ({ confFiles: { value } });
    const { found, cure } = only(files("05-cilium.conflist", "10-skylane.conflist"), "cni.configuration", "fail");
    assert.match(found, /05-cilium\.conflist/);
    assert.match(cure ?? "", /mv /);
    only(files("10-skylane.conflist", "10-zzz.conflist"), "cni.configuration", "warn");
    only(files(), "cni.configuration", "fail");
    only(files("10-flannel.conflist"), "cni.configuration", "fail");
    only({ confFiles: { error: "EACCES" } }, "cni.configuration", "skip");
    only({ executable: false }, "cni.executable", "warn");
  });
});

describe("doctor: others on the node", () => {
  it("knows other plugins' devices and chains by name, and takes nobody else's for them", () => {
    const { links } = healthy();
    for (const [name, plugin] of [
      ["flannel.1", "flannel"],
      ["flannel-v6.1", "flannel"],
      ["cni0", "bridge"],
      ["vxlan.calico", "Calico"],
      ["cali0123456789a", "Calico"],
      ["cilium_host", "Cilium"],
      ["weave", "Weave Net"],
      ["kube-bridge", "kube-router"],
      ["antrea-gw0", "Antrea"],
    ] as const) {
      const { found } = only({ links: [...links, linkOf(9, name)] }, "others.devices", "warn");
      assert.ok(found.includes(plugin) && found.includes(name), found);
    }
    for (const name of ["docker0", "lxcbr0", "kube-ipvs0", "veth1234", "sky0123456789a", "calibration"])
      assert.deepEqual(troubles(healthy({ links: [...links, linkOf(9, name)] })), [], name);
    const chains = (name: string): Partial<Facts> => ({ chains: { value: [{ table: "ip filter", name }] } });
    for (const name of ["FLANNEL-FWD", "cali-FORWARD", "CILIUM_FORWARD", "WEAVE-NPC", "KUBE-ROUTER-FORWARD"])
      only(chains(name), "others.chains", "warn");
    for (const name of ["KUBE-SERVICES", "SKYLANE-FORWARD", "CNI-HOSTPORT-DNAT", "DOCKER-USER"])
      assert.deepEqual(troubles(healthy(chains(name))), [], name);
  });

  it("finds routes of others to pods, and leaves wider ones, pods' own and the kernel's alone", () => {
    const route = (dst: string, ifindex: number, protocol: number): Partial<Facts> => ({
      routes: [...healthy().routes, { family: dst.includes(":") ? 6 : 4, dst, ifindex, protocol }],
    });
    only(route("10.244.1.0/24", 2, 2), "others.routes", "warn");
    only(route("10.244.2.128/25", 2, 3), "others.routes", "fail");
    assert.deepEqual(troubles(healthy(route("10.244.0.0/16", 2, 3))), []);
    assert.deepEqual(troubles(healthy(route("fd00:10:244:1::/128", 3, 2))), []);
    assert.deepEqual(troubles(healthy(route("192.168.0.0/24", 2, 2))), []);
  });

  it("finds rules that take pods' packets elsewhere, and leaves those of several uplinks alone", () => {
    const rule = (more: object): Partial<Facts> => ({
      rules: [...healthy().rules, { family: 4, priority: 100, table: 100, ...more }],
    });
    only(rule({ table: 2004, fwmark: 0x200 }), "others.rules", "warn");
    only(rule({}), "others.rules", "warn");
    only(rule({ src: "10.244.1.7/32" }), "others.rules", "warn");
    assert.deepEqual(troubles(healthy(rule({ src: "172.31.0.11/32" }))), []);
    assert.deepEqual(troubles(healthy(rule({ table: 51_820, fwmark: 0xca6c, invert: true }))), []);
    assert.deepEqual(troubles(healthy(rule({ table: 51_871, ipProto: 17, dport: 4789 }))), []);
    assert.deepEqual(troubles(healthy(rule({ table: 51_871, ipProto: 17, sport: 4789 }))), []);
  });

  it("finds rules by source that lead the host's answers to pods astray, and says whose they are", () => {
    const rule = { family: 4 as const, priority: 30_200, table: 30_200, src: "172.30.0.11/32" };
    const astray = [{ from: "172.30.0.11", to: "10.244.1.2", device: "eth0", table: 30_200 }];
    const cloud = only({ astray, rules: [...healthy().rules, rule] }, "routes.source", "fail");
    assert.match(
      cloud.found,
      /172\.30\.0\.11 → 10\.244\.1\.2 leaves by eth0 because of rule 30200: from 172\.30\.0\.11/,
    );
    assert.match(cloud.cure ?? "", /nm-cloud-setup/);
    const other = [{ ...astray[0], from: "192.168.7.1" }] as Facts["astray"];
    const second = { ...rule, src: "192.168.7.0/24", priority: 100, table: 7 };
    const found = only({ astray: other, rules: [...healthy().rules, second] }, "routes.source", "warn");
    assert.match(found.cure ?? "", /ip rule add priority 100 to POD-CIDR lookup main/);
  });

  it("finds others' routes over our devices", () => {
    const links = [...healthy().links, linkOf(9, "sky0123456789a", { kind: "veth", group: POD_LINK_GROUP })];
    const route = (dst: string, protocol: number): Partial<Facts> => ({
      links,
      routes: [...healthy().routes, { family: dst.includes(":") ? 6 : 4, dst, ifindex: 9, protocol, metric: 1009 }],
    });
    assert.match(only(route("default", 16), "routes.devices", "fail").cure ?? "", /denyinterfaces sky\*/);
    assert.match(
      only(route("169.254.0.0/16", 2), "routes.devices", "warn").found,
      /169\.254\.0\.0\/16 dev sky0123456789a/,
    );
    for (const [dst, protocol] of [
      ["10.244.1.2/32", 83],
      ["fe80::/64", 2],
      ["ff00::/8", 2],
    ] as const)
      assert.deepEqual(troubles(healthy(route(dst, protocol))), [], dst);
  });

  it("finds host ports whose rules are gone", () => {
    assert.deepEqual(troubles(healthy({ lostHostPorts: { value: { all: 3, lost: [] } } })), []);
    const lost = [{ port: "8080/tcp", containerId: "0123456789abcdef" }];
    const found = only({ lostHostPorts: { value: { all: 3, lost } } }, "hostports", "fail");
    assert.match(found.found, /^8080\/tcp of container 0123456789abc: the rules are gone/);
    only({ lostHostPorts: { error: "ENOENT" } }, "hostports", "skip");
    const ours = only({ ownHostPorts: { value: { all: 3, lost } } }, "hostports", "fail");
    assert.match(ours.found, /^8080\/tcp of container 0123456789abc: the packet filter does not have them/);
    only({ ownHostPorts: { error: "EACCES" } }, "hostports", "skip");
    const whole = { lostHostPorts: { error: "ENOENT" }, ownHostPorts: { value: { all: 3, lost: [] } } };
    assert.deepEqual(troubles(healthy(whole)), []);
  });

  it("finds bandwidth limits that are not in force", () => {
    assert.deepEqual(troubles(healthy({ limits: { value: { all: 2, lost: [] } } })), []);
    const lost = [{ pod: "shop/web-0", why: "the filter of its bandwidth limit is missing or different" }];
    const found = only({ limits: { value: { all: 2, lost } } }, "bandwidth", "fail");
    assert.match(found.found, /^shop\/web-0: the filter/);
    only({ limits: { error: "EACCES" } }, "bandwidth", "skip");
  });

  it("finds packet filters that drop what is forwarded", () => {
    const dropping = { backend: "nft" as const, family: 4 as const, policyDrop: true, touched: false, jumps: [] };
    only({ forward: { value: [{ ...dropping, accepts: false }] } }, "forward.policy", "fail");
    assert.deepEqual(troubles(healthy({ forward: { value: [{ ...dropping, accepts: true }] } })), []);
    const own = { table: "inet own", name: "fwd", hook: "forward", policy: "drop" as const };
    only({ chains: { value: [own] } }, "others.forward", "warn");
    only({ chains: { value: [{ table: "inet firewalld", name: "filter_FORWARD" }] } }, "others.firewalld", "warn");
    only({ chains: { error: "nft is not installed" } }, "others.chains", "skip");
  });

  it("finds our devices managed by others", () => {
    const managers = healthy().managers;
    const managed = [{ manager: "NetworkManager" as const, device: "sky.4096", detail: "managed=true" }];
    assert.match(only({ managers: { ...managers, managed } }, "managers", "warn").cure ?? "", /unmanaged-devices/);
    only({ managers: { ...managers, networkd: false, visible: false } }, "managers", "skip");
  });
});

describe("doctor: peers", () => {
  const unknown = { inside: { wanted: 1450 } };

  it("tells a blocked port from a dead node", () => {
    const silent = { tunnel: false, ...unknown };
    const blocked = troubles(
      healthy({ peers: [probe("a", silent), probe("b", { ...silent, beside: "tcp" }), probe("c")] }),
    );
    assert.deepEqual(
      blocked.map(({ check, level }) => `${check} ${level}`),
      ["peers.udp fail"],
    );
    assert.match(blocked[0]?.found ?? "", /^a, b:/);
    assert.match(blocked[0]?.cure ?? "", /UDP 4789/);
    const down = troubles(healthy({ peers: [probe("a", { ...silent, beside: "no" }), probe("c")] }));
    assert.deepEqual(
      down.map(({ check }) => check),
      ["peers.down"],
    );
    const local = troubles(healthy({ peers: [probe("a", { ...silent, tunnelError: "ENETUNREACH" }), probe("c")] }));
    assert.deepEqual(
      local.map(({ check }) => check),
      ["peers.local"],
    );
  });

  it("minds no filtered echo where the tunnel answers", () => {
    assert.deepEqual(troubles(healthy({ peers: [probe("a", { beside: "no", outside: { wanted: 1500 } })] })), []);
  });

  it("tells a narrow path from a fragmenting one, and names what passes", () => {
    const inside = { wanted: 1450, passes: false, largest: 1353 };
    assert.match(only({ peers: [probe("a", { inside })] }, "peers.mtu", "fail").cure ?? "", /mtu: 1350/);
    const outside = { wanted: 1500, passes: false, largest: 1404 };
    assert.match(only({ peers: [probe("a", { outside })] }, "peers.mtu", "warn").cure ?? "", /mtu: 1350/);
    only({ peers: [probe("a", unknown)] }, "peers.mtu", "skip");
  });
});

describe("doctor: its report", () => {
  it("shows every check, the failures first below, and what comes from outside without control characters", () => {
    const text = render([
      { check: "a", level: "ok", found: "fine" },
      { check: "b", level: "warn", found: "so so", meaning: "slow", cure: "hurry" },
      { check: "c", level: "fail", found: "evil\u001b[2J", meaning: "bad", cure: "good" },
      { check: "d", level: "skip", found: "unseen" },
    ]);
    assert.match(text, /^CHECK {2}RESULT {2}FOUND\na {6}ok {6}fine\n/);
    assert.ok(text.indexOf("FAIL c:") < text.indexOf("warn b:"));
    assert.match(text, / {2}means: bad\n {2}cure: {2}good\n/);
    assert.ok(!text.includes("\u001b"));
    assert.match(text, /1 ok, 1 warnings, 1 failures, 1 not looked at\n$/);
  });
});
