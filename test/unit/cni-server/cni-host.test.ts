/** The machine as requests see it that the agent serves: who is asked for what, and whose sandbox is whose. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Attachment, type AttachmentRecord, CniError, type Host, realHost } from "../../../src/cni/index.ts";
import { GONE, servingHost, type ServingHostOptions } from "../../../src/cni-server/index.ts";
import { hostIfname } from "../../../src/dataplane/pod-link/index.ts";
import { bootId, GoneFiles, netnsIdentity } from "../../../src/sys/index.ts";
import { linkOf } from "../../support/link.ts";
import { FakeHost, keptLog } from "../network/harness.ts";

const OWN = "/proc/thread-self/ns/net";
const POD = { namespace: "shop", name: "web", uid: "u1" };

describe("the machine as served requests see it", () => {
  const dir = mkdtempSync(join(tmpdir(), "skylane-host-"));
  const config = { dataDir: dir, network: "default" };
  const calls: string[] = [];
  /** Thrown by the next call of that name. */
  const faults: Partial<Record<"attach" | "linked", Error>> = {};
  const node = new FakeHost();
  const inBlue = new FakeHost();
  let host: Host;

  const failing = (name: keyof typeof faults): void => {
    const error = faults[name];
    delete faults[name];
    if (error) throw error;
  };
  const links = (name: string, { rtnl }: FakeHost): ServingHostOptions["own"] => ({
    rtnl,
    attach: (spec) => {
      calls.push(`${name}: attach ${spec.containerId}`);
      failing("attach");
      return Promise.resolve({} as never);
    },
    queue: {
      detach: ({ containerId }: Attachment) => {
        calls.push(`${name}: detach ${containerId}`);
        return Promise.resolve();
      },
    } as unknown as ServingHostOptions["own"]["queue"],
  });
  const mounter = { hold: () => Promise.resolve(), release: () => Promise.resolve() };
  const request = (containerId: string, more: Partial<Parameters<NonNullable<Host["prepare"]>>[0]> = {}) => ({
    network: "default",
    pod: POD,
    attachment: { containerId, ifname: "eth0" },
    netns: "/nowhere",
    ...more,
  });
  const spec = (containerId: string, hostNetns?: string) =>
    ({
      containerId,
      ifname: "eth0",
      addresses: ["10.244.1.2"],
      ...(hostNetns && { hostNetns }),
    }) as unknown as Parameters<Host["attachPod"]>[0];

  before(() => {
    const gone = new GoneFiles(join(dir, GONE), (error) => assert.fail(String(error)));
    const serving = servingHost({
      config,
      own: links("node", node),
      networks: {
        linksAt: (path) => (path === "/netns/blue" ? links("blue", inBlue) : undefined),
        uses: (network, ip) => network === "blue" && ip === "10.80.0.9",
        owns: ({ ino }) => ino === 0,
        joinable: (network) => (calls.push(`joinable ${network}`), "joined"),
        prepare: ({ pod }) => {
          calls.push("networks: prepare");
          const additional = pod ? [{ network: "blue", ifname: "net1" }] : [];
          return Promise.resolve({ additional, ...(pod && { uid: "real" }) });
        },
        linked: ({ network }) => {
          calls.push(`linked ${network}`);
          return Promise.resolve();
        },
        leaveIfEmpty: (network, names) => {
          calls.push(`left ${network} ${names === mounter}`);
          return Promise.resolve();
        },
      },
      networkStatus: {
        write: ({ uid }, made) => {
          calls.push(`status of ${uid}: ${made.length}`);
        },
      },
      hostPorts: {
        map: ({ owner: { containerId } }) => (calls.push(`ports of ${containerId}`), Promise.resolve()),
        unmap: () => Promise.resolve(),
        differences: () => [],
        require: () => void calls.push("host ports: require"),
      },
      bandwidth: { limit: () => Promise.resolve(), unlimit: () => Promise.resolve(), differences: () => [] },
      policies: {
        ready: () => (calls.push("policies: ready"), Promise.resolve()),
        require: (network) => void calls.push(`policies: require ${network}`),
        admit: (_spec, _pod, ips) => (calls.push(`policies: admit ${ips.join(" ")}`), Promise.resolve()),
        released: ({ containerId }) => void calls.push(`policies: released ${containerId}`),
      },
      egress: {
        admit: (_spec, _pod, ips) => (calls.push(`egress: admit ${ips.join(" ")}`), Promise.resolve()),
        released: ({ containerId }) => void calls.push(`egress: released ${containerId}`),
      },
      gone,
      log: keptLog(),
      observe: ({ verb }) => void calls.push(`observed ${verb}`),
    });
    host = serving(mounter);
  });
  beforeEach(() => (calls.length = 0));
  after(() => rmSync(dir, { recursive: true, force: true }));

  it("lets policies know a pod's addresses before its link is there, and forget them where it cannot be", async () => {
    const prepared = await host.prepare?.(request("c1"));
    await host.attachPod(spec("c1"));
    await host.attachPod(spec("c1", "/netns/blue"));
    faults.attach = new Error("no memory");
    await assert.rejects(async () => host.attachPod(spec("c1")), /no memory/);
    prepared?.attached?.([{ network: "blue" } as never]);
    await host.linked?.({ network: "blue" } as never);
    assert.deepEqual(calls, [
      "policies: ready",
      "networks: prepare",
      "policies: admit 10.244.1.2",
      "egress: admit 10.244.1.2",
      "node: attach c1",
      "policies: admit 10.244.1.2",
      "egress: admit 10.244.1.2",
      "blue: attach c1",
      "policies: admit 10.244.1.2",
      "egress: admit 10.244.1.2",
      "node: attach c1",
      "policies: released c1",
      "egress: released c1",
      "status of real: 1",
      "linked blue",
    ]);
  });

  it("takes links away where they are, and hears what is left", async () => {
    await host.detachPod({ containerId: "c1", ifname: "eth0" });
    await host.detachPod({ containerId: "c1", ifname: "net1", hostNetns: "/netns/blue" });
    await host.left?.("blue");
    assert.equal(host.joinable?.("blue"), "joined");
    assert.equal(host.joinable?.("default"), "joined");
    host.recordDuration(dir, { verb: "ADD", result: "ok", ms: 1 });
    assert.deepEqual(calls, [
      "node: detach c1",
      "policies: released c1",
      "egress: released c1",
      "blue: detach c1",
      "policies: released c1",
      "egress: released c1",
      "left blue true",
      "policies: require blue",
      "joinable blue",
      "policies: require default",
      "host ports: require",
      "joinable default",
      "observed ADD",
    ]);
  });

  it("knows addresses that pods have by routes, and by what nodes publish", () => {
    node.routes = [{ family: 4, dst: "10.244.1.7/32", ifindex: 2, protocol: 83 }];
    Object.assign(node.rtnl, { routeTo: () => ({ ifindex: 2 }) });
    assert.equal(host.inUse?.("blue", "/netns/elsewhere")("10.80.0.9"), true);
    assert.equal(host.inUse?.("blue", "/netns/elsewhere")("10.80.0.8"), false);
    assert.equal(host.deviceUp("eth0"), true);
    assert.equal(host.deviceUp("eth0", "/netns/elsewhere"), false);
    assert.equal(host.ipam(config), host.ipam(config));
  });

  describe("keeps sandboxes apart:", () => {
    const attached = (containerId: string, identity: AttachmentRecord["netnsIdentity"], alias: string): void => {
      const owner = { containerId, ifname: "eth0" };
      const origin = { since: 0, uptime: 0, bootId: bootId(), ...(identity && { netnsIdentity: identity }) };
      realHost.attachments(config).begin({ name: "net", owner, ...origin });
      node.links.push(linkOf(200 + node.links.length, hostIfname(containerId, "eth0"), { kind: "veth", alias }));
    };
    const here = netnsIdentity(OWN);
    const elsewhere = { dev: 1, ino: 77 };
    const prepare = (containerId: string, netns: string, pod = POD) =>
      host.prepare?.(request(containerId, { netns, pod }));
    before(() => {
      attached("theirs", here, "other/pod/eth0");
      attached("mine", elsewhere, "shop/web/eth0");
    });

    it("nobody is attached to the sandbox of another pod", async () => {
      await assert.rejects(
        async () => prepare("new", OWN),
        (error: unknown) =>
          error instanceof CniError &&
          /the sandbox is that of pod other\/pod, which is attached there as container theirs/.test(error.message),
      );
      // The pod itself may come again, under another container's name.
      await prepare("new", OWN, { ...POD, namespace: "other", name: "pod" });
    });

    it("no container is attached in two sandboxes", async () => {
      await assert.rejects(
        async () => prepare("mine", OWN, { ...POD, namespace: "other", name: "pod" }),
        (error: unknown) => {
          return (
            error instanceof CniError &&
            /container mine is attached in another sandbox, as pod shop\/web/.test(error.message)
          );
        },
      );
    });

    it("nothing is taken back out of another sandbox than the one that is named", () => {
      const own = { network: "default", containerId: "theirs", ifname: "eth0" };
      assert.equal(host.requireOwn?.(own, OWN), true);
      assert.equal(host.requireOwn?.(own, "/nowhere"), true);
      assert.equal(host.requireOwn?.({ ...own, containerId: "unknown" }, OWN), true);
      assert.throws(
        () => host.requireOwn?.({ ...own, containerId: "mine" }, OWN),
        /container mine interface eth0 is attached in another sandbox than the one that is named, as pod shop\/web/,
      );
      // Its link has gone with its sandbox.
      node.links = node.links.filter(({ name }) => name !== hostIfname("mine", "eth0"));
      assert.equal(host.requireOwn?.({ ...own, containerId: "mine" }, OWN), false);
    });
  });
});
