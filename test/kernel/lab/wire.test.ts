import assert from "node:assert/strict";
import { familyOf } from "../../../src/addr/index.ts";
import { capture } from "../../../lab/pods/capture.ts";
import { SWITCH } from "../../../lab/cluster/fabric.ts";
import type { LabOptions } from "../../../lab/index.ts";
import { lost, useLab } from "./support.ts";
import { assertUnderASecond } from "../../support/pace.ts";

const UNDERLAYS: Record<string, LabOptions> = {
  "an IPv4 underlay": {},
  "an IPv6 underlay": { addressing: "ipv6-underlay" },
  "IPv4 only": { addressing: "ipv4-only" },
  "flannel's port 8472 and another VNI": { port: 8472, vni: 77 },
};

for (const [name, options] of Object.entries(UNDERLAYS)) {
  describe(`packets on the wire: ${name}`, () => {
    const { port = 4789, vni = 4096 } = options;
    const the = useLab({ nodes: 3, ...options });
    let packets: string[] = [];

    before("everyone pings everyone", async () => {
      for (const node of the().nodes()) await the().addPod(node.name);
      const wire = await capture(the(), SWITCH, ["udp", "and", "port", String(port)], ["-e", "-T", "vxlan"]);
      assert.deepEqual(await lost(the()), []);
      // Addresses that nobody has: on another node, and outside of every pod CIDR.
      const pod = the().pod("n1-a");
      for (const ip of ["10.244.2.250", "10.244.99.9"]) await the().pingFrom(pod, ip, 300);
      if (options.addressing !== "ipv4-only") await the().pingFrom(pod, "fd00:10:244:2::fafa", 300);
      packets = await wire.stop();
    });

    it("are VXLAN on the configured port with the right VNI", () => {
      const families = new Set(
        the()
          .pods()
          .flatMap(({ ips }) => ips.map(familyOf)),
      );
      assert.ok(packets.length >= 3 * 2 * 2 * families.size, `${packets.length} packets`);
      for (const packet of packets)
        assert.match(packet, new RegExp(`\\.${port}: VXLAN, flags \\[I\\] \\(0x08\\), vni ${vni}\\b`));
    });

    it("carry no ARP, no neighbour discovery, no broadcast, no multicast", () => {
      for (const packet of packets) {
        assert.doesNotMatch(packet, /ARP|neighbor (solicitation|advertisement)|router (solicitation|advertisement)/);
        const inner = packet.split("\n").slice(1).join("\n");
        assert.doesNotMatch(inner, /> (ff:ff:ff:ff:ff:ff|33:33:|01:00:5e:)/, packet);
      }
    });

    it("go to the one node whose VTEP the inner frame is for", async () => {
      const owners = new Map<string, string>();
      for (const node of the().nodes()) {
        const [network] = (await the().status(node)).networks;
        owners.set(network?.mac ?? "", network?.underlayIp ?? "");
      }
      for (const packet of packets) {
        const [outer = "", ...inner] = packet.split("\n");
        const to = / > (\S+)\.\d+: VXLAN/.exec(outer)?.[1];
        const mac = / > ([0-9a-f:]{17}),/.exec(inner.join("\n"))?.[1];
        assert.equal(owners.get(mac ?? ""), to, packet);
      }
    });

    it("repairs drift there too", async () => {
      for (const kind of ["fdb", "device"] as const) {
        const { repairedMs } = await the().drift("node1", { kind });
        assertUnderASecond(repairedMs, `the repair of ${kind}`);
      }
      assert.deepEqual(await lost(the()), []);
    });
  });
}
