import assert from "node:assert/strict";
import { once } from "node:events";
import { Rtnl } from "../../../src/netlink/index.ts";
import { hostIfname, type PodLink, podMacOf } from "../../../src/dataplane/pod-link/index.ts";
import { addrGenMode, type TestNamespace } from "../support/netns.ts";
import { attach, detach, NODE_IPS, pingOnce, testNode, testPod } from "./support.ts";

type Json = Record<string, unknown>;
const pick = (object: Json | undefined, ...keys: string[]): Json =>
  Object.fromEntries(keys.flatMap((key) => (object?.[key] === undefined ? [] : [[key, object[key]]])));

const linkOf = (namespace: TestNamespace, name: string): Json =>
  namespace.json("ip", "-j", "-d", "link", "show", "dev", name)[0] as Json;

describe("a pod's link", () => {
  const node = testNode();

  describe("with both families", () => {
    const pod = testPod();
    const [four, six] = pod.addresses as [string, string];
    const name = hostIfname(pod.containerId, "eth0");
    const mac = podMacOf(pod.containerId, "eth0");
    let link: PodLink;
    before(() => {
      link = attach(node, pod);
    });
    after(() => detach(node, pod));

    it("answers the very first packet of either family, both ways", () => {
      for (const [from, to] of [
        [node, four],
        [node, six],
        [pod.sandbox, NODE_IPS[4]],
        [pod.sandbox, NODE_IPS[6]],
      ] as const) {
        detach(node, pod);
        attach(node, pod);
        pingOnce(from, to);
      }
    });

    it("is reached from the address that the host has for it, and without one while the host has lost it", () => {
      const sourceOf = (ip: string): unknown =>
        node.json("ip", "-j", ip.includes(":") ? "-6" : "-4", "route", "show", ip)[0]?.["prefsrc"];
      detach(node, pod);
      attach(node, { ...pod, hostSources: [NODE_IPS[4], NODE_IPS[6]] });
      assert.deepEqual([sourceOf(four), sourceOf(six)], [NODE_IPS[4], NODE_IPS[6]]);
      detach(node, pod);
      attach(node, { ...pod, hostSources: ["192.0.2.7", "2001:db8::7"] });
      assert.deepEqual([sourceOf(four), sourceOf(six)], [undefined, undefined]);
      pingOnce(node, four);
      pingOnce(node, six);
      detach(node, pod);
      attach(node, pod);
    });

    it("says what was made", () => {
      assert.deepEqual(link, {
        hostIfname: name,
        hostMac: "ee:ee:ee:ee:ee:ee",
        ifname: "eth0",
        podMac: mac,
        addresses: [four, six],
        gateways: ["169.254.1.1", "fe80::1"],
      });
    });

    it("is what the kernel shows on the host", () => {
      const [device] = node.json("ip", "-j", "-d", "address", "show", "dev", name);
      assert.deepEqual(pick({ ...device, ...linkOf(node, name) }, "address", "mtu", "operstate", "group", "ifalias"), {
        address: "ee:ee:ee:ee:ee:ee",
        mtu: 1450,
        operstate: "UP",
        group: String(0x534b),
        ifalias: pod.alias,
      });
      assert.equal(addrGenMode(node, name), "none");
      const addresses = device?.["addr_info"] as Json[];
      assert.deepEqual(
        addresses.map((address) => pick(address, "local", "prefixlen", "nodad", "tentative")),
        [
          { local: "169.254.1.1", prefixlen: 32 },
          { local: "fe80::1", prefixlen: 64, nodad: true },
        ],
      );
      const keys = ["dst", "protocol", "scope", "gateway"];
      assert.deepEqual(
        node.json("ip", "-j", "-4", "route", "show", "dev", name).map((route) => pick(route, ...keys)),
        [{ dst: four, protocol: "83", scope: "link" }],
      );
      assert.deepEqual(
        node
          .json("ip", "-j", "-6", "route", "show", "dev", name)
          .map((route) => pick(route, ...keys))
          .filter(({ dst }) => dst === six),
        [{ dst: six, protocol: "83" }],
      );
      assert.equal(node.exec("sysctl", "-n", `net.ipv6.conf.${name}.accept_ra`).trim(), "0");
    });

    it("is what the kernel shows in the sandbox", () => {
      const [device] = pod.sandbox.json("ip", "-j", "-d", "address", "show", "dev", "eth0");
      assert.deepEqual(pick(linkOf(pod.sandbox, "eth0"), "address", "mtu", "operstate"), {
        address: mac,
        mtu: 1450,
        operstate: "UP",
      });
      assert.equal(addrGenMode(pod.sandbox, "eth0"), "none");
      const addresses = ((device?.["addr_info"] ?? []) as Json[]).map((address) =>
        pick(address, "local", "prefixlen", "scope", "nodad", "tentative"),
      );
      assert.deepEqual(addresses.slice(0, 2), [
        { local: four, prefixlen: 32, scope: "global" },
        { local: six, prefixlen: 128, scope: "global", nodad: true },
      ]);
      assert.match(String(addresses[2]?.["local"]), /^fe80::/);
      assert.deepEqual(pick(addresses[2], "nodad", "scope", "tentative"), { nodad: true, scope: "link" });
      const routes = (family: string) =>
        pod.sandbox
          .json("ip", "-j", family, "route")
          .map((route) => pick(route, "dst", "gateway", "dev", "scope"))
          .filter(({ dst }) => dst === "default" || dst === "169.254.1.1");
      assert.deepEqual(routes("-4"), [
        { dst: "default", gateway: "169.254.1.1", dev: "eth0" },
        { dst: "169.254.1.1", dev: "eth0", scope: "link" },
      ]);
      assert.deepEqual(routes("-6"), [{ dst: "default", gateway: "fe80::1", dev: "eth0" }]);
      assert.deepEqual(
        pod.sandbox
          .json("ip", "-j", "neigh", "show", "dev", "eth0", "nud", "permanent")
          .map((entry) => `${String(entry["dst"])} ${String(entry["lladdr"])}`)
          .sort(),
        ["169.254.1.1 ee:ee:ee:ee:ee:ee", "fe80::1 ee:ee:ee:ee:ee:ee"],
      );
      assert.equal(pod.sandbox.exec("sysctl", "-n", "net.ipv6.conf.eth0.accept_ra").trim(), "0");
    });
  });

  it("is usable the moment that it is given out, although the kernel makes IPv6 addresses usable later", () => {
    const pod = testPod();
    using host = Rtnl.open({ netns: node.path });
    using inside = Rtnl.open({ netns: pod.netns });
    const local = (rtnl: Rtnl) =>
      rtnl.routes({ family: 6, table: 255 }).flatMap(({ dst, type }) => (type === 2 ? [dst] : []));
    for (let round = 0; round < 25; round++) {
      const { hostIfname } = attach(node, pod);
      assert.ok(local(inside).includes(`${pod.addresses[1]}/128`), "the pod's address");
      assert.ok(local(host).includes("fe80::1/128"), "the gateway's address");
      assert.equal(host.link(hostIfname)?.lowerUp, true);
      detach(node, pod);
    }
  });

  it("lets the pod send without asking for anybody's MAC, from the first packet on", async () => {
    const pod = testPod();
    const dump = pod.sandbox.spawn(
      "tcpdump",
      ["-i", "any", "-n", "-l", "--immediate-mode", "arp[6:2] = 1 or (icmp6 and (ip6[40] = 133 or ip6[40] = 135))"],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    let seen = "";
    dump.stdout?.setEncoding("utf8").on("data", (text: string) => (seen += text));
    await new Promise<void>((resolve, reject) => {
      dump.once("error", reject);
      dump.stderr?.setEncoding("utf8").on("data", (text: string) => text.includes("listening on") && resolve());
    });
    attach(node, pod);
    pingOnce(pod.sandbox, NODE_IPS[4]);
    pingOnce(pod.sandbox, NODE_IPS[6]);
    dump.kill("SIGINT");
    await once(dump, "close");
    const sent = seen.split("\n").filter((line) => / Out /.test(line));
    assert.deepEqual(sent, []);
    assert.match(seen, / (In|B|M) /, "the capture saw the host ask for the pod, as it may");
    detach(node, pod);
  });

  it("lets two pods of a node reach each other, through the node", () => {
    const [a, b] = [testPod(), testPod()];
    attach(node, a);
    attach(node, b);
    for (const ip of b.addresses) pingOnce(a.sandbox, ip);
    assert.equal(a.sandbox.json("ip", "-j", "neigh", "show", "nud", "permanent").length, 2);
    detach(node, a);
    detach(node, b);
  });

  it("works with strict reverse path filtering", () => {
    const strict = testNode("strict");
    strict.exec("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1");
    const [a, b] = [testPod(), testPod()];
    attach(strict, a);
    attach(strict, b);
    pingOnce(a.sandbox, NODE_IPS[4]);
    pingOnce(a.sandbox, b.addresses[0] as string);
    pingOnce(strict, a.addresses[0] as string);
  });

  for (const family of [4, 6] as const) {
    it(`has IPv${family} alone`, () => {
      const whole = testPod();
      const pod = { ...whole, addresses: whole.addresses.filter((ip) => ip.includes(":") === (family === 6)) };
      const link = attach(node, pod);
      assert.deepEqual(link.gateways, [family === 4 ? "169.254.1.1" : "fe80::1"]);
      pingOnce(node, pod.addresses[0] as string);
      pingOnce(pod.sandbox, NODE_IPS[family]);
      const other = family === 4 ? "-6" : "-4";
      assert.deepEqual(
        pod.sandbox.json("ip", "-j", other, "address", "show", "dev", "eth0").flatMap(({ addr_info }) => addr_info),
        [],
      );
      assert.deepEqual(node.json("ip", "-j", other, "route", "show", "dev", link.hostIfname), []);
      detach(node, pod);
    });
  }

  it("gives IPv4 on nodes that switched IPv6 off, and IPv6 where only its own devices have it", () => {
    const off = testNode("no6");
    off.exec("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1");
    const whole = testPod();
    whole.sandbox.exec("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1");
    const four = { ...whole, addresses: whole.addresses.slice(0, 1) };
    attach(off, four);
    pingOnce(off, whole.addresses[0] as string);
    detach(off, four);
    attach(off, whole);
    pingOnce(off, whole.addresses[1] as string);
    detach(off, whole);
  });

  it("takes the MAC address and interface name that were asked for", () => {
    const pod = testPod({ mac: "02:11:22:33:44:55", ifname: "net1.5" });
    const link = attach(node, pod);
    assert.equal(link.podMac, "02:11:22:33:44:55");
    assert.equal(pod.sandbox.json("ip", "-j", "link", "show", "dev", "net1.5")[0]?.["address"], "02:11:22:33:44:55");
    pingOnce(node, pod.addresses[1] as string);
    detach(node, pod);
  });

  it("keeps working when another plugin of the chain changes the pod's MAC address afterwards", () => {
    node.exec("sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2");
    const [pod, leaving] = [testPod(), testPod()];
    attach(node, pod);
    attach(node, leaving);
    detach(node, leaving);
    pod.sandbox.exec("ip", "link", "set", "eth0", "address", "02:aa:aa:aa:aa:01");
    pingOnce(node, pod.addresses[0] as string);
    pingOnce(node, pod.addresses[1] as string);
    detach(node, pod);
  });

  it("never lets the host speak to a pod from the gateway's address", () => {
    const pod = testPod();
    attach(node, pod);
    const source = (ip: string) => node.json("ip", "-j", "route", "get", ip)[0]?.["prefsrc"];
    assert.deepEqual(pod.addresses.map(source), [NODE_IPS[4], NODE_IPS[6]]);
    detach(node, pod);
  });

  it("takes no address or route from router advertisements", () => {
    const pod = testPod();
    attach(node, pod);
    for (const [where, device] of [
      [pod.sandbox, "eth0"],
      [node, hostIfname(pod.containerId, "eth0")],
    ] as const) {
      assert.equal(where.exec("sysctl", "-n", `net.ipv6.conf.${device}.accept_ra`).trim(), "0");
    }
    detach(node, pod);
  });
});
