import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { VTEP_ANNOTATION } from "../../../src/peers/index.ts";
import { eventuallyHolds } from "../../support/eventually.ts";
import { lost, useLab } from "../lab/support.ts";
import { attack, type Entry, type HostileNode, hostileNode } from "./support.ts";

const HONEST = ["node1", "node2"];
/** A Node that changes more often is damped, each change later than the one before (nodes/damper.ts); that is flapping.test.ts's. */
const PACE_MS = 1_200;
const PATIENT = { timeoutMs: 60_000, intervalMs: 100 };

/** What is announced, and by which words node3 is refused; undefined where it is a peer all the same, by the MAC that it announces. */
type Case = [change: Entry | ((honest: Entry) => string), refused: RegExp | undefined];

/** An address at which no node is, beside one that is right. */
const at = (ip: string, refused: RegExp): Case => [{ ips: [ip, "fd30::13"] }, refused];
const NO_LIST = /BadAnnotation: .*podCidrs is not a list/;
const nested = (levels: number): string => "[".repeat(levels) + "]".repeat(levels);
const whole = (entry: Entry, more: string): string => `{"default":${JSON.stringify(entry).slice(0, -1)},${more}}}`;

const MACS: Case[] = [
  ...["01:00:5e:00:00:01", "33:33:00:00:00:01", "01:80:c2:00:00:00", "ff:ff:ff:ff:ff:ff"].map(
    (mac): Case => [{ mac }, new RegExp(`BadAnnotation: .*${mac}.*group`)],
  ),
  [{ mac: "00:00:00:00:00:00" }, /BadAnnotation: .*all-zero/],
  [{ mac: "00:00:5e:00:01:01" }, /BadAnnotation: .*00:00:5e:00:01:01/],
  [{ mac: "00:00:5e:00:02:fe" }, /BadAnnotation: .*00:00:5e:00:02:fe/],
  [{ mac: "02:00:00:00:00" }, /BadAnnotation: .*"02:00:00:00:00" is not a MAC/],
  [{ mac: ["02:00:00:00:00:01"] }, /BadAnnotation: .*mac is not a string/],
  // the MAC of the host end of every pod
  [{ mac: "ee:ee:ee:ee:ee:ee" }, undefined],
];

const IPS: Case[] = [
  at("255.255.255.255", /BadAnnotation: .*255\.255\.255\.255/),
  at("172.30.0.255", /ReservedVtepIp: .*broadcast address/),
  at("172.30.0.0", /ReservedVtepIp: .*network address/),
  at("127.0.0.1", /BadAnnotation: .*loopback/),
  at("224.0.0.1", /BadAnnotation: .*224\.0\.0\.1/),
  at("240.0.0.1", /(BadAnnotation|ReservedVtepIp): .*240\.0\.0\.1/),
  at("172.30.0.1", /ReservedVtepIp: .*API server's/),
  at("10.244.1.2", /ReservedVtepIp: .*10\.244\.1\.2 is an address of pods/),
  at("10.96.0.10", /ReservedVtepIp: .*10\.96\.0\.10 is an address of Services/),
  // Of no node, and of the cluster all the same.
  at("10.244.200.7", /ReservedVtepIp: .*10\.244\.200\.7 is an address of pods/),
  at("10.123.0.9", /ReservedVtepIp: .*10\.123\.0\.9 is an address of pods, of 10\.123/),
  [{ ips: ["172.30.0.13", "fd00:10:96::a"] }, /ReservedVtepIp: .*fd00:10:96::a is an address of Services/],
  [{ ips: ["ff02::1"] }, /BadAnnotation: .*ff02::1/],
  [{ ips: ["::ffff:172.30.0.12"] }, /BadAnnotation|NoUnderlayAddress|ReservedVtepIp/],
  [{ ips: ["172.30.0.13", "fd30::13", "172.30.0.13"] }, /BadAnnotation: .*ips is not a list/],
  [{ ips: ["172.30.0.13", "172.30.0.14"] }, /BadAnnotation: .*same address family/],
];

const NUMBERS: Case[] = [
  [{ port: 0 }, /BadAnnotation: .*port is not/],
  [{ vni: 0 }, /BadAnnotation: .*vni is not/],
  [{ port: 65_536 }, /BadAnnotation: .*port is not/],
  [{ vni: 2 ** 24 }, /BadAnnotation: .*vni is not/],
  [{ port: 53 }, /ServicePort: .*port 53,/],
  [{ vni: -1 }, /BadAnnotation: .*vni is not/],
  [{ port: "4789" }, /BadAnnotation: .*port is not/],
  [{ vni: 1e300 }, /BadAnnotation: .*vni is not/],
  [{ port: 51_820 }, /ServicePort: .*port 51820,/],
];

const CIDRS: Case[] = [
  [{ podCidrs: ["10.244.3.0/24", "fd30::1/128"] }, /ForeignPodCidr: .*fd30::1\/128/],
  [{ podCidrs: ["0.0.0.0/0"] }, /BadAnnotation: .*0\.0\.0\.0\/0, wider/],
  [{ podCidrs: ["10.244.3.0/24", "::/0"] }, /BadAnnotation: .*::\/0, wider/],
  [{ podCidrs: ["::ffff:10.244.3.0/120"] }, /(BadAnnotation|ForeignPodCidr): .*10\.244\.3\.0|ffff:af4:300/],
  [{ podCidrs: Array.from({ length: 256 }, (_, n) => `10.${n}.0.0/24`) }, NO_LIST],
  [{ podCidrs: ["10.244.3.0/24", "10.244.3.0/24"] }, /BadAnnotation: .*podCidrs has/],
  [{ podCidrs: [] }, NO_LIST],
  [{ podCidrs: ["10.244.3.1/24"] }, /BadAnnotation: .*host bits/],
  [{ podCidrs: "10.244.3.0/24" }, NO_LIST],
  [{ podCidrs: [null] }, /BadAnnotation: .*podCidrs\[0\] is not a string/],
  [{ podCidrs: ["10.244.3.0/33"] }, /BadAnnotation: .*10\.244\.3\.0\/33/],
  [{ podCidrs: ["10.244.3.0/32"] }, /ForeignPodCidr: .*10\.244\.3\.0\/32/],
  [{ podCidrs: ["127.0.0.0/8"] }, /BadAnnotation: .*loopback/],
  [{ podCidrs: ["ff00::/16"] }, /BadAnnotation: .*ff00::\/16/],
];

const SHAPES: Case[] = [
  [(entry) => `{"__proto__":{"vni":1},"default":${JSON.stringify(entry)}}`, /BadAnnotation: .*__proto__/],
  [
    (entry) => whole(entry, '"__proto__":{"ready":false,"podCidrs":["0.0.0.0/1"]},"constructor":{"prototype":{}}'),
    undefined,
  ],
  [(entry) => `{"constructor":7,"toString":null,"hasOwnProperty":{},"default":${JSON.stringify(entry)}}`, undefined],
  [() => '{"default":{"__proto__":{"vni":4096}}}', /BadAnnotation: .*ips is not a list/],
  [(entry) => whole(entry, `"later":${nested(50_000)}`), undefined],
  [() => nested(60_000), /BadAnnotation: .*is not a JSON object/],
  [(entry) => whole(entry, `"later":"${"x".repeat(128 * 1024 - 1_000)}"`), undefined],
  [(entry) => whole(entry, `"later":"${"x".repeat(128 * 1024)}"`), /BadAnnotation: .*longer than/],
];

describe("values at their bounds that a hostile node announces", function () {
  this.timeout(300_000);
  const the = useLab({ nodes: 3, agentConfig: { serviceCidrs: ["10.96.0.0/12", "fd00:10:96::/108"] } });
  let mallory: HostileNode;
  let honest: Entry;

  before("a pod on each node, of which one is taken over", async () => {
    await the().addNetwork("far", { cidrs: ["10.123.0.0/16"] });
    for (const node of [1, 2, 3]) await the().addPod(`node${node}`, `pod${node}`);
    const { metadata } = await the().api.call("GET", "/api/v1/nodes/node3");
    honest = (JSON.parse(metadata.annotations?.[VTEP_ANNOTATION] ?? "{}") as { default: Entry }).default;
    mallory = await hostileNode(the(), "node3");
  });

  /** Both other nodes know of this announcement, stay ready, and have each other. */
  async function unharmed(mac: unknown, refused: RegExp | undefined): Promise<void> {
    for (const node of HONEST) {
      await eventuallyHolds(async () => {
        const { networks, ready } = await the().status(the().node(node), 10_000);
        const [network] = networks;
        const said = network?.refused.map(({ node: who, reason, message }) => `${who} ${reason}: ${message}`) ?? [];
        assert.equal(said.length, refused ? 1 : 0, said.join("\n"));
        if (refused) assert.match(said[0] ?? "", refused);
        const peers = network?.peers.map((peer) =>
          peer.node === "node3" ? `node3 ${peer.mac}` : `${peer.node} ${peer.state}`,
        );
        const other = HONEST.filter((one) => one !== node).map((one) => `${one} programmed`);
        assert.deepEqual(peers?.toSorted(), [...other, ...(refused ? [] : [`node3 ${String(mac)}`])]);
        assert.ok(ready.ready, JSON.stringify(ready));
      }, PATIENT);
    }
    const pods = the()
      .pods()
      .filter(({ node }) => node !== "node3");
    assert.deepEqual(
      (await the().ping(pods, 10_000)).filter(({ rttMs }) => rttMs === undefined),
      [],
    );
  }

  async function each(cases: readonly Case[]): Promise<string> {
    for (const [n, [change, refused]] of cases.entries()) {
      // Otherwise what was said of the case before would do.
      assert.notEqual(String(refused), String(cases[n + 1]?.[1] ?? n), `cases ${n} and ${n + 1} are told by one word`);
      // Where it is not refused, an announcement is known by its MAC.
      const mac = `02:00:00:00:ab:${n + 10}`;
      const entry = { ...honest, mac, ...(typeof change === "object" && change) };
      const paced = delay(PACE_MS);
      try {
        await mallory.announce(typeof change === "function" ? change(entry) : JSON.stringify({ default: entry }));
        await unharmed(entry.mac, refused);
        await paced;
      } catch (cause) {
        throw new Error(`case ${n}: ${JSON.stringify(change) ?? "a text"}`, { cause });
      }
    }
    return `${cases.length} of them, each refused by name or passed over; the others stayed ready and reached each other`;
  }

  attack("node", "announces MAC addresses that no VTEP has", () => each(MACS));
  attack("node", "announces another node's own VTEP MAC", async () => {
    const { metadata } = await the().api.call("GET", "/api/v1/nodes/node1");
    const victim = JSON.parse(metadata.annotations?.[VTEP_ANNOTATION] ?? "{}") as { default: Entry };
    return each([[{ mac: victim.default["mac"] }, /CollidesWithSelf|DuplicateVtepMac/]]);
  });
  attack("node", "announces addresses at which no node can be", () => each(IPS));
  attack("node", "announces ports and VNIs that there are not", () => each(NUMBERS));
  attack("node", "announces pod CIDRs of an odd shape", () => each(CIDRS));
  attack("node", "announces names out of the prototype, deep nesting and 128 KiB of text", () => each(SHAPES));

  it("is a peer again once it says what is so", async () => {
    await mallory.repent();
    await eventuallyHolds(async () => assert.deepEqual(await lost(the()), []), PATIENT);
  });
});
