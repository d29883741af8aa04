import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { servingHost } from "../../../src/cni-server/cni-host.ts";
import { Metrics } from "../../../src/observe/metrics.ts";
import { NetnsLinks } from "../../../src/host-ends/pod-links.ts";
import { type Host, ipamDir } from "../../../src/cni/index.ts";
import { loadAgentConfig } from "../../../src/config/index.ts";
import { Ipam } from "../../../src/ipam/local/index.ts";
import { DOOMED_LINK_GROUPS } from "../../../src/netlink/index.ts";
import { attachPodAsync } from "../../../src/dataplane/pod-link/index.ts";
import { closeFd, GoneFiles, openNetns } from "../../../src/sys/index.ts";
import { eventually, eventuallyHolds } from "../../support/eventually.ts";
import { recordingLogger } from "../overlay/cluster.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";

/** Attachments are left alone for this long, as they may be in the making: HostEnds' second, and some. */
const GROWN_UP_MS = 5_500;
/** How long repairs would have needed that are not to come: several times what one takes. */
const QUIET_MS = 500;

/** The namespace of a network on a node, with what the agent does for pods' links in it. */
class Place {
  readonly ns: TestNamespace;
  readonly log = recordingLogger();
  readonly metrics = new Metrics("test");
  readonly links: NetnsLinks;
  readonly #ipam: Ipam;
  readonly #fd: number;

  constructor(network: string, dataDir: string, routed = true) {
    this.ns = testNamespace(network);
    this.#fd = openNetns(this.ns.path);
    const defaults = loadAgentConfig({ argv: ["--node-name", "n1"], env: {} });
    const config = { ...defaults, network, dataDir };
    this.#ipam = new Ipam({ dir: ipamDir(config) });
    const { log, metrics } = this;
    this.links = new NetnsLinks({ config, log, metrics, netns: this.#fd, routed });
  }

  /** A pod's link to here; returns its host end's name. */
  async pod(sandbox: TestNamespace, ip: string, ifname = "net1"): Promise<string> {
    const owner = { containerId: "c", ifname, netns: sandbox.path };
    const addresses = this.#ipam.reserve(owner, { podCidrs: ["10.50.0.0/24"], ips: [ip] });
    const spec = { ...owner, addresses, alias: `test/${ifname}`, mtu: 1450, hostNetns: this.ns.path, destinations: [] };
    const { hostIfname } = await attachPodAsync(spec, this.links.rtnl);
    return hostIfname;
  }

  /** Takes one back, as the agent does that serves a DEL. */
  async leave(host: Host, sandbox: TestNamespace, ifname: string): Promise<void> {
    await host.detachPod({ containerId: "c", ifname, netns: sandbox.path, hostNetns: this.ns.path });
    this.#ipam.release({ containerId: "c", ifname });
  }

  /** Groups of the links that went, from now on. */
  groupsOfGone(): number[] {
    const groups: number[] = [];
    this.links.watch.also({
      onEvents: (events) => {
        for (const event of events)
          if (event.kind === "link" && event.event === "del") groups.push(event.link.group ?? 0);
      },
      onResync: () => undefined,
    });
    return groups;
  }

  route(ip: string): unknown {
    return this.ns.json("ip", "-j", "route", "show", ip)[0]?.["dev"];
  }

  repairs(): string[] {
    return this.log.lines
      .filter(({ message }) => message.startsWith("put a pod's link right"))
      .map(({ fields }) => String(fields?.["operation"]));
  }

  async stop(): Promise<void> {
    await this.links.stop();
    closeFd(this.#fd);
  }
}

describe("the agent and pods' links in the namespaces of pod networks", function () {
  this.timeout(60_000);
  const IP = "10.50.0.2";
  const MANY = 60;
  const dataDir = mkdtempSync(join(tmpdir(), "skylane-links-"));
  let blue: Place;
  let green: Place;
  let bridged: Place;
  let crowd: TestNamespace;
  /** Host ends of the pods with one address, by network. */
  let ends: Record<"blue" | "green" | "bridged", string>;

  before("pods that have been there for a while", async () => {
    blue = new Place("blue", dataDir);
    green = new Place("green", dataDir);
    bridged = new Place("bridged", dataDir, false);
    ends = {
      blue: await blue.pod(testNamespace("b"), IP),
      green: await green.pod(testNamespace("g"), IP),
      bridged: await bridged.pod(testNamespace("r"), IP),
    };
    crowd = testNamespace("crowd");
    for (let n = 0; n < MANY; n++) await blue.pod(crowd, `10.50.0.${100 + n}`, `x${n}`);
    await delay(GROWN_UP_MS);
  });
  after(async () => {
    for (const place of [blue, green, bridged]) await place.stop();
    rmSync(dataDir, { recursive: true, force: true });
  });

  it("find them in order", async () => {
    for (const place of [blue, green, bridged]) place.links.look();
    await delay(QUIET_MS);
    for (const place of [blue, green, bridged]) assert.deepEqual(place.log.lines, []);
  });

  for (const [what, change] of [
    ["deletes a pod's route", () => ["ip", "route", "del", IP]],
    ["leads its address elsewhere", () => ["ip", "route", "replace", IP, "dev", "lo"]],
    ["takes the gateway's address away", (end) => ["ip", "addr", "del", "169.254.1.1/32", "dev", end]],
    ["sets the host end down", (end) => ["ip", "link", "set", end, "down"]],
  ] as [string, (end: string) => [string, ...string[]]][]) {
    it(`put it right there, and touch nobody who has the address elsewhere, when somebody ${what}`, async () => {
      const before = blue.repairs().length;
      for (const place of [blue, bridged]) place.ns.exec(...change(place === blue ? ends.blue : ends.bridged));
      await eventuallyHolds(() => {
        assert.equal(blue.route(IP), ends.blue);
        assert.match(blue.ns.exec("ip", "addr", "show", ends.blue), /[<,]UP[,>][^]*169\.254\.1\.1\/32/);
      });
      await eventually(() => blue.repairs().length > before);
      assert.match(
        await blue.metrics.registry.metrics(),
        /skylane_repairs_total\{network="blue",kind="pod-\w+"\} [1-9]/,
      );
      await delay(QUIET_MS);
      assert.deepEqual([green.repairs(), bridged.repairs()], [[], []]);
      assert.equal(green.route(IP), ends.green);
    });
  }

  it("remove many at once, and put nothing right of a pod that is going, however often they look", async () => {
    const said = blue.log.lines.length;
    const gone = blue.groupsOfGone();
    // The machine as the agent's verbs have it.
    const host = servingHost({
      config: { dataDir, network: "default" },
      own: green.links,
      networks: {
        linksAt: (path) => (path === blue.ns.path ? blue.links : undefined),
        owns: () => false,
        uses: () => false,
        prepare: async () => ({ additional: [] }),
        joinable: () => "joined",
        linked: async () => undefined,
        leaveIfEmpty: async () => undefined,
      },
      networkStatus: { write: () => undefined },
      hostPorts: {
        map: async () => undefined,
        unmap: async () => undefined,
        differences: () => [],
        require: () => undefined,
      },
      bandwidth: { limit: async () => undefined, unlimit: async () => undefined, differences: () => [] },
      policies: {
        ready: async () => undefined,
        require: () => undefined,
        admit: async () => undefined,
        released: () => undefined,
      },
      egress: { admit: async () => undefined, released: () => undefined },
      gone: new GoneFiles(join(dataDir, "gone"), (error) => assert.fail(String(error))),
      log: recordingLogger(),
      observe: () => undefined,
    })({ hold: async () => undefined, release: async () => undefined });
    const leaving = Array.from({ length: MANY }, (_, n) => blue.leave(host, crowd, `x${n}`));
    const left: unknown[] = [];
    for (const one of leaving) void one.finally(() => left.push(one));
    let rounds = 0;
    do {
      blue.ns.exec("ip", "route", "del", IP);
      blue.links.look();
      await eventually(() => blue.route(IP) === ends.blue, { intervalMs: 1 });
      rounds++;
    } while (left.length < MANY);
    await Promise.all(leaving);
    assert.deepEqual(crowd.json("ip", "-j", "link", "show", "type", "veth"), []);
    assert.deepEqual(
      blue.ns.json("ip", "-j", "link", "show", "type", "veth").map(({ ifname }) => ifname),
      [ends.blue],
    );
    await delay(QUIET_MS);
    // Each was removed with others, as a group; none by a call of its own.
    assert.equal(gone.length, MANY);
    for (const group of gone) assert.equal(group >>> 16, DOOMED_LINK_GROUPS);
    const since = blue.log.lines.slice(said);
    assert.ok(since.length >= rounds, "looks found nothing to do");
    for (const { level, message, fields } of since) {
      assert.equal(`${level} ${message}`, "warn put a pod's link right that somebody had changed");
      assert.match(String(fields?.["operation"]), new RegExp(` ${ends.blue}( |$)`));
    }
  });
});
