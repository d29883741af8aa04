import assert from "node:assert/strict";
import { eventually } from "../../support/eventually.ts";
import { Fabric } from "./harness.ts";

/**
 * Sends a router advertisement out of br0: router lifetime 1800 s, and a prefix for addresses. ICMPv6 type 134 with a
 * prefix information option (RFC 4861, sections 4.2 and 4.6.2); the kernel fills in source and checksum.
 */
const ADVERTISE = `
use Socket qw(:DEFAULT inet_pton);
my ($ifindex, $prefix) = @ARGV;
socket(my $s, 10, SOCK_RAW, 58) or die "socket: $!";
setsockopt($s, 41, 17, pack("i", $ifindex)) or die "IPV6_MULTICAST_IF: $!";
setsockopt($s, 41, 18, pack("i", 255)) or die "IPV6_MULTICAST_HOPS: $!";
my $ra = pack("CCnCCnNN", 134, 0, 0, 64, 0, 1800, 0, 0);
$ra .= pack("CCCCNNN", 3, 4, 64, 0xc0, 86400, 14400, 0) . inet_pton(10, $prefix);
my $to = pack("SnNa16L", 10, 0, 0, inet_pton(10, "ff02::1"), $ifindex);
send($s, $ra, 0, $to) or die "send: $!";
`;

describe("an uplink that learns its default route from router advertisements", function () {
  this.timeout(60_000);
  let fabric: Fabric;
  before(async () => {
    fabric = await Fabric.started();
  });
  after(() => fabric.stop());

  it("still does once the agent has switched forwarding on", async () => {
    const n1 = fabric.node(1);
    const ifindex = String(fabric.ns.json("ip", "-j", "link", "show", "br0")[0]?.["ifindex"]);
    await eventually(() => !fabric.ns.exec("ip", "-6", "addr", "show", "dev", "br0").includes("tentative"));
    const routes = (): string => n1.ns.exec("ip", "-6", "route", "show", "default");
    const advertise = (prefix: string, what: () => boolean) =>
      eventually(
        () => {
          fabric.ns.exec("perl", "-e", ADVERTISE, ifindex, prefix);
          return what();
        },
        { timeoutMs: 20_000, intervalMs: 300, message: `the advertisement of ${prefix} was not heard` },
      );
    await advertise("fd77::", () => routes().includes("proto ra"));

    await n1.register();
    n1.start();
    await n1.ready([]);
    assert.equal(n1.ns.exec("sysctl", "-n", "net.ipv6.conf.all.forwarding").trim(), "1");
    assert.equal(n1.ns.exec("sysctl", "-n", "net.ipv6.conf.eth0.accept_ra").trim(), "2");
    assert.match(routes(), /proto ra/);
    await advertise("fd78::", () => n1.ns.exec("ip", "-6", "addr", "show", "dev", "eth0").includes("fd78:"));
    assert.match(routes(), /proto ra/);
    await n1.stop();
  });
});
