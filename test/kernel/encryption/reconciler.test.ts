/** What encryption keeps in the kernel, in a namespace of its own: device, key, peers, rules and routes, and what becomes of what somebody changes there. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { EncryptionReconciler } from "../../../src/dataplane/encryption/reconciler.ts";
import type { Keys } from "../../../src/dataplane/encryption/keys.ts";
import { NodeKey } from "../../../src/dataplane/encryption/key.ts";
import { Rtnl, Wireguard, type WireguardPeer } from "../../../src/netlink/index.ts";
import type { Peer } from "../../../src/peers/index.ts";
import { eventually } from "../../support/eventually.ts";
import { recordingLogger } from "../overlay/cluster.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { missingWireguard } from "../support/wireguard.ts";

const why = missingWireguard();
const DEVICE = "skylane-wg";

describe("encryption on a kernel without WireGuard", () => {
  if (why === undefined) {
    it("(skipped: this kernel has WireGuard)");
    return;
  }
  it("says what is missing and what to do, and touches nothing", async () => {
    const ns = testNamespace("nowg");
    const reconciler = new EncryptionReconciler({
      local: { underlayIp: "172.30.0.1", port: 4789, mtu: 1300, encryption: "strict" },
      keys: { slot: 0, key: NodeKey.make(), made: 0 },
      port: 51_871,
      netns: ns.path,
      logger: recordingLogger(),
    });
    try {
      await reconciler.start();
      assert.match(reconciler.error ?? "", /no WireGuard.*encryption: off/);
      assert.equal(reconciler.begun, false);
      assert.doesNotMatch(ns.exec("ip", "rule"), /51871/);
    } finally {
      await reconciler.stop();
    }
  });
});

for (const [family, own, others] of [
  [4, "172.30.0.1", ["172.30.0.2", "172.30.0.3"]],
  [6, "fd30::1", ["fd30::2", "fd30::3"]],
] as const)
  describe(`the kernel's part of encryption over IPv${family}`, () => {
    if (why !== undefined) {
      it(`(skipped: ${why})`);
      return;
    }
    const key = NodeKey.make();
    const keys: Keys = { slot: 0, key, made: 0 };
    const peers = others.map(
      (underlayIp, index): Peer => ({
        node: `node${index + 2}`,
        mac: `02:00:00:00:00:0${index + 2}`,
        underlayIp,
        podCidrs: [],
        wireguard: { key: NodeKey.make().publicKey, port: 51_871 + index },
      }),
    );
    const [second, third] = peers as [Peer, Peer];
    const repairs: string[] = [];
    let ns: TestNamespace;
    let rtnl: Rtnl;
    let wireguard: Wireguard;
    let reconciler: EncryptionReconciler;

    before(async () => {
      ns = testNamespace(`wg${family}`);
      const bits = family === 4 ? 24 : 64;
      ns.exec("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1");
      ns.exec("ip", "addr", "add", `${own}/${bits}`, "dev", "up0", ...(family === 6 ? ["nodad"] : []));
      for (const end of ["up0", "up1"]) ns.exec("ip", "link", "set", end, "up");
      rtnl = Rtnl.open({ netns: ns.path });
      wireguard = Wireguard.open(ns.path);
      reconciler = new EncryptionReconciler({
        local: { underlayIp: own, port: 4789, mtu: 1300, encryption: "wireguard" },
        keys,
        port: 51_871,
        netns: ns.path,
        logger: recordingLogger(),
        onRepair: (kind) => void repairs.push(kind),
      });
      reconciler.setPeers(peers);
      await reconciler.start();
    });
    after(async () => {
      await reconciler.stop();
      wireguard.close();
      rtnl.close();
    });

    const told = ({ publicKey, endpoint, allowedIps }: WireguardPeer) => ({
      publicKey,
      endpoint,
      allowedIps: [...allowedIps],
    });
    const wanted = (list: readonly Peer[]) =>
      list
        .map(({ underlayIp, wireguard: at }) => ({
          publicKey: at?.key,
          endpoint: { ip: underlayIp, port: at?.port },
          allowedIps: [`${underlayIp}/${family === 4 ? 32 : 128}`],
        }))
        .sort((a, b) => String(a.publicKey).localeCompare(String(b.publicKey)));
    const there = () =>
      (wireguard.device(DEVICE)?.peers ?? []).map(told).sort((a, b) => a.publicKey.localeCompare(b.publicKey));
    /** Where the kernel would send a packet of UDP. */
    const leadsTo = (ip: string, port: number): string => {
      try {
        return /dev (\S+)/.exec(ns.exec("ip", "route", "get", ip, "ipproto", "udp", "dport", String(port)))?.[1] ?? "";
      } catch (error) {
        return /unreachable|No route/i.test(String(error)) ? "nowhere" : String(error);
      }
    };
    const isRight = (list: readonly Peer[] = peers): Promise<unknown> =>
      eventually(() => {
        assert.deepEqual(there(), wanted(list));
        assert.equal(wireguard.device(DEVICE)?.publicKey, key.publicKey);
        for (const { underlayIp } of list) assert.equal(leadsTo(underlayIp, 4789), DEVICE);
        return true;
      });

    it("leads the tunnel's packets into the device, and all else as before", async () => {
      await isRight();
      assert.deepEqual(
        [leadsTo(second.underlayIp, 51_871), leadsTo(second.underlayIp, 53)],
        ["up0", "up0"],
        "other packets are led into the device",
      );
      const { listenPort, fwmark } = wireguard.device(DEVICE) ?? {};
      assert.deepEqual([listenPort, fwmark], [51_871, 0]);
      assert.equal(rtnl.link(DEVICE)?.mtu, family === 4 ? 1350 : 1370);
    });

    it("changes nothing of what is right", async () => {
      const before = repairs.length;
      reconciler.resync("a test");
      await reconciler.settled();
      await isRight();
      assert.equal(repairs.length, before);
    });

    it("takes a peer with another key, and one that has none any more", async () => {
      const moved = { ...second, wireguard: { key: NodeKey.make().publicKey, port: 40_000 } };
      reconciler.changePeers([["node2", moved]]);
      await isRight([moved, third]);
      const { wireguard: _, ...plain } = third;
      reconciler.changePeers([["node3", plain]]);
      await isRight([moved]);
      assert.equal(leadsTo(third.underlayIp, 4789), "up0");
      reconciler.changePeers([
        ["node2", second],
        ["node3", third],
      ]);
      await isRight();
    });

    it("takes another key of this node", async () => {
      const next = NodeKey.make();
      reconciler.setKeys({ ...keys, key: next });
      await eventually(() => wireguard.device(DEVICE)?.publicKey === next.publicKey);
      reconciler.setKeys(keys);
      await isRight();
    });

    const changing: Peer = {
      ...second,
      wireguard: { key: second.wireguard?.key ?? "", port: 51_871, slot: 0, next: NodeKey.make().publicKey },
    };
    const laneDevices = (): string[] =>
      rtnl
        .links()
        .map(({ name }) => name)
        .filter((name) => name.startsWith(DEVICE))
        .sort();

    it("has a second device for a peer that changes its key, with the way back by both, as long as it does", async () => {
      reconciler.changePeers([["node2", changing]]);
      await eventually(() => {
        const device = wireguard.device("skylane-wg01");
        assert.deepEqual([device?.publicKey, device?.listenPort], [key.publicKey, 51_872]);
        assert.deepEqual(device?.peers.map(told), [
          {
            ...wanted([second])[0],
            publicKey: changing.wireguard?.next,
            endpoint: { ip: second.underlayIp, port: 51_873 },
          },
        ]);
        assert.equal(leadsTo(second.underlayIp, 4789), DEVICE);
        const hops = [rtnl.link(DEVICE)?.index, rtnl.link("skylane-wg01")?.index];
        const back = [...rtnl.routes({ table: 51_872 })].map(({ hops: found }) => found);
        assert.deepEqual(back, family === 4 ? [hops] : []);
        return true;
      });
      const before = repairs.length;
      wireguard.change("skylane-wg01", [{ op: "remove", publicKey: changing.wireguard?.next ?? "" }]);
      await eventually(() => repairs.length > before && wireguard.device("skylane-wg01")?.peers.length === 1);
      reconciler.changePeers([["node2", second]]);
      await eventually(() => laneDevices().join() === DEVICE && [...rtnl.routes({ table: 51_872 })].length === 0);
      await isRight();
    });

    it("goes on by the first lane where the second one's port is taken, and says so", async () => {
      const script = "const s = require('dgram').createSocket('udp4'); s.bind(51872, () => console.log('bound'));";
      const taker = ns.spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
      try {
        await once(taker.stdout as NodeJS.ReadableStream, "data");
        reconciler.changePeers([["node2", changing]]);
        await eventually(() => /in use/.test(reconciler.errorOfLane(1) ?? ""));
        assert.equal(reconciler.error, undefined);
        assert.equal(leadsTo(second.underlayIp, 4789), DEVICE);
      } finally {
        const end = once(taker, "exit");
        taker.kill("SIGKILL");
        await end;
      }
      await eventually(
        () => reconciler.errorOfLane(1) === undefined && wireguard.device("skylane-wg01")?.peers.length === 1,
        {
          timeoutMs: 60_000,
        },
      );
      reconciler.changePeers([["node2", second]]);
      await eventually(() => laneDevices().join() === DEVICE);
      await isRight();
    });

    for (const [what, change] of [
      [
        "a peer removed",
        () => void wireguard.change(DEVICE, [{ op: "remove", publicKey: second.wireguard?.key ?? "" }]),
      ],
      [
        "a stranger that takes a peer's address",
        () =>
          void wireguard.change(DEVICE, [
            {
              op: "put",
              peer: {
                publicKey: NodeKey.make().publicKey,
                endpoint: { ip: third.underlayIp, port: 9 },
                allowedIps: [`${second.underlayIp}/${family === 4 ? 32 : 128}`],
              },
            },
          ]),
      ],
      [
        "another key and port",
        () => wireguard.configure(DEVICE, { privateKey: NodeKey.make().secret, listenPort: 1_025, fwmark: 7 }),
      ],
      ["the device down", () => void ns.exec("ip", "link", "set", DEVICE, "down")],
      ["the device deleted", () => void ns.exec("ip", "link", "del", DEVICE)],
      [
        "the device renamed",
        () => {
          ns.exec("ip", "link", "set", DEVICE, "down");
          ns.exec("ip", "link", "set", DEVICE, "name", "mine");
        },
      ],
      ["the rule deleted", () => void ns.exec("ip", `-${family}`, "rule", "del", "pref", "830")],
      [
        "a route changed",
        () => void ns.exec("ip", `-${family}`, "route", "change", second.underlayIp, "dev", "up0", "table", "51871"),
      ],
    ] as const)
      it(`puts right ${what}`, async () => {
        await isRight();
        const before = repairs.length;
        change();
        await eventually(() => repairs.length > before);
        await isRight();
      });

    it("lets nothing out in the clear while there is no device", async () => {
      await reconciler.stop();
      ns.exec("ip", "link", "del", DEVICE);
      assert.equal(leadsTo(second.underlayIp, 4789), "nowhere");
    });
  });
