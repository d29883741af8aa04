import assert from "node:assert/strict";
import { Rtnl } from "../../../src/netlink/index.ts";
import {
  attachPod,
  checkPod,
  detachPod,
  hostIfname,
  listPodLinks,
  type PodLinkExpectation,
} from "../../../src/dataplane/pod-link/index.ts";
import { withNetns } from "../../../src/sys/index.ts";
import { attach, testNode, testPod } from "./support.ts";

describe("the check of a pod's link", () => {
  const node = testNode();
  const pod = testPod();
  const [four, six] = pod.addresses as [string, string];
  const name = hostIfname(pod.containerId, "eth0");
  const check = (change: Partial<PodLinkExpectation> = {}): string[] =>
    withNetns(node.path, () => checkPod({ ...pod, ...change }));
  const host = (command: string) => node.exec("ip", ...command.split(" "));
  const inside = (command: string) => pod.sandbox.exec("ip", ...command.split(" "));

  beforeEach(() => attach(node, pod));
  afterEach(() => {
    for (const where of [node, pod.sandbox]) {
      for (const { ifname } of where.json("ip", "-j", "link")) {
        if (ifname !== "lo" && where.json("ip", "-j", "link").some((link) => link["ifname"] === ifname)) {
          where.exec("ip", "link", "del", String(ifname));
        }
      }
    }
    node.exec("ip", "route", "flush", "table", "main", four);
  });

  it("finds nothing on a fresh link, nor on one that others added something to", () => {
    assert.deepEqual(check(), []);
    inside("address add 192.0.2.7/32 dev eth0");
    inside("route add 192.0.2.0/24 via 169.254.1.1 dev eth0");
    inside("link add extra0 type bridge");
    inside("link set eth0 address 02:aa:aa:aa:aa:01");
    assert.deepEqual(check({ mac: "02:aa:aa:aa:aa:01", neighboursForgotten: true }), []);
  });

  const cases: [string, () => unknown, RegExp][] = [
    ["the pod's end down", () => inside("link set eth0 down"), /eth0 in the sandbox is down/],
    ["the host end down", () => host(`link set ${name} down`), /host interface sky\w+ is down/],
    [
      "another MTU in the pod",
      () => inside("link set eth0 mtu 1400"),
      /eth0 in the sandbox has MTU 1400, expected 1450/,
    ],
    [
      "another MTU on the host",
      () => host(`link set ${name} mtu 1400`),
      /host interface sky\w+ has MTU 1400, expected 1450/,
    ],
    [
      "another MAC address on the host",
      () => host(`link set ${name} address 02:00:00:00:00:09`),
      /host interface sky\w+ has MAC address 02:00:00:00:00:09, expected ee:ee:ee:ee:ee:ee/,
    ],
    [
      "the pod's IPv4 address",
      () => inside(`address del ${four}/32 dev eth0`),
      new RegExp(`eth0 in the sandbox lacks address ${four}/32`),
    ],
    [
      "the pod's IPv6 address",
      () => inside(`address del ${six}/128 dev eth0`),
      new RegExp(`eth0 in the sandbox lacks address ${six}/128`),
    ],
    [
      "the pod's address with another prefix",
      () => [inside(`address del ${four}/32 dev eth0`), inside(`address add ${four}/24 dev eth0`)],
      new RegExp(`has address ${four}/24, expected /32`),
    ],
    [
      "the gateway's IPv6 address on the host",
      () => host(`address del fe80::1/64 dev ${name}`),
      /host interface sky\w+ lacks address fe80::1\/64/,
    ],
    [
      "the gateway's IPv4 address on the host",
      () => host(`address del 169.254.1.1/32 dev ${name}`),
      /host interface sky\w+ lacks address 169\.254\.1\.1\/32/,
    ],
    ["the IPv4 default route", () => inside("route del default"), /no default IPv4 route via 169\.254\.1\.1 on eth0$/],
    ["the IPv6 default route", () => inside("-6 route del default"), /no default IPv6 route via fe80::1 on eth0$/],
    [
      "the default route elsewhere",
      () => [inside("route del default"), inside("route add default via 169.254.1.9 dev eth0 onlink")],
      /no default IPv4 route via 169\.254\.1\.1 on eth0 \(it goes via 169\.254\.1\.9\)/,
    ],
    [
      "the route to the gateway",
      () => [
        inside("route del default"),
        inside("route del 169.254.1.1"),
        inside("route add default via 169.254.1.1 dev eth0 onlink"),
      ],
      /no route to its gateway 169\.254\.1\.1/,
    ],
    [
      "the IPv4 neighbour",
      () => inside("neigh del 169.254.1.1 dev eth0"),
      /no neighbour entry for its gateway 169\.254\.1\.1/,
    ],
    [
      "the IPv6 neighbour's MAC",
      () => inside("neigh replace fe80::1 lladdr 02:00:00:00:00:09 dev eth0 nud permanent"),
      /neighbour entry for fe80::1 has MAC address 02:00:00:00:00:09, expected ee:/,
    ],
    [
      "a neighbour that ages",
      () => inside("neigh replace 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0 nud reachable"),
      /neighbour entry for 169\.254\.1\.1 is not permanent/,
    ],
    [
      "the host's IPv4 route",
      () => host(`route del ${four}/32`),
      new RegExp(`the host has no route ${four}/32 to sky`),
    ],
    [
      "the host's IPv6 route",
      () => host(`-6 route del ${six}/128`),
      new RegExp(`the host has no route ${six}/128 to sky`),
    ],
    [
      "the host's route elsewhere",
      () => [host(`route del ${four}/32`), host(`route add ${four}/32 dev lo`)],
      new RegExp(`the host's route ${four}/32 leads to lo, expected sky`),
    ],
    [
      "the host's route by somebody else",
      () => host(`route replace ${four}/32 dev ${name} proto static`),
      new RegExp(`the host's route ${four}/32 has protocol 4, expected 83`),
    ],
    [
      "router advertisements on the host end",
      () => node.exec("sysctl", "-qw", `net.ipv6.conf.${name}.accept_ra=1`),
      /sky\w+ accepts router advertisements \(.* is 1, expected 0\)/,
    ],
    [
      "router advertisements in the pod",
      () => pod.sandbox.exec("sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=2"),
      /eth0 in the sandbox accepts router advertisements/,
    ],
    [
      "IPv6 switched off in the pod",
      () => pod.sandbox.exec("sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1"),
      /IPv6 is off on eth0 in the sandbox/,
    ],
    [
      "IPv4 forwarding of the link",
      () => node.exec("sysctl", "-qw", `net.ipv4.conf.${name}.forwarding=0`),
      /the host forwards no IPv4 from sky/,
    ],
    ["the pod's end missing", () => inside("link set eth0 name gone0"), /interface eth0 is missing in sandbox/],
    ["the host end missing", () => host(`link set ${name} name gone0`), /host interface sky\w+ is missing/],
  ];
  for (const [what, change, message] of cases) {
    it(`names what was changed: ${what}`, () => {
      change();
      const differences = check();
      assert.ok(
        differences.some((text) => message.test(text)),
        `${message} is not among ${JSON.stringify(differences)}`,
      );
    });
  }

  it("names IPv6 forwarding that is off", () => {
    node.exec("sysctl", "-qw", "net.ipv6.conf.all.forwarding=0");
    assert.match(check().join(), /the host forwards no IPv6 \(net\.ipv6\.conf\.all\.forwarding is 0, expected 1\)/);
    node.exec("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1", `net.ipv4.ip_forward=1`);
  });

  it("names another MAC address than the chain's last plugin left", () => {
    assert.match(
      check({ mac: "02:00:00:00:00:01" }).join(),
      /eth0 in the sandbox has MAC address .*, expected 02:00:00:00:00:01/,
    );
  });

  it("names two ends that are not one pair", () => {
    inside("link del eth0");
    inside("link add eth0 type bridge");
    host(`link add ${name} type bridge`);
    assert.match(check().join(), /are not one veth pair/);
  });

  it("names a sandbox that is gone", () => {
    assert.deepEqual(check({ netns: "/run/netns/there-is-none" }), ["sandbox /run/netns/there-is-none is gone"]);
  });
});

describe("the host ends of all pods", () => {
  it("are listed with what they are called, and nothing else", () => {
    const node = testNode();
    node.exec("ip", "link", "add", "sky0123456789a", "type", "bridge");
    node.exec("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1");
    const pods = [testPod(), testPod(), testPod()];
    withNetns(node.path, () => {
      for (const pod of pods) attachPod(pod);
      using rtnl = Rtnl.open();
      assert.deepEqual(
        listPodLinks(rtnl)
          .map(({ alias }) => alias ?? "")
          .sort(),
        pods.map(({ alias }) => alias).sort(),
      );
      for (const pod of pods) detachPod(pod);
      assert.deepEqual(listPodLinks(rtnl), []);
    });
  });
});
