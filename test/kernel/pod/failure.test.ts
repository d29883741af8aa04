import assert from "node:assert/strict";
import { once } from "node:events";
import { NetlinkError } from "../../../src/netlink/index.ts";
import { attachPod, hostIfname, PodLinkError, type PodLinkReason } from "../../../src/dataplane/pod-link/index.ts";
import { withNetns } from "../../../src/sys/index.ts";
import { attach, detach, everything, leavesNothing, pingOnce, testNode, testPod } from "./support.ts";

const refused =
  (reason: PodLinkReason, message: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof PodLinkError, String(error));
    assert.equal(error.reason, reason);
    assert.match(error.message, message);
    return true;
  };

describe("a pod's link that cannot be made", () => {
  const node = testNode();

  it("leaves nothing when the pair is refused", () => {
    const pod = testPod({ mtu: 70_000 });
    leavesNothing(node, pod, () => assert.throws(() => attach(node, pod), NetlinkError));
  });

  it("leaves nothing when the host end is refused, and names who has the address", () => {
    const [first, second] = [testPod(), testPod()];
    attach(node, first);
    for (const addresses of [first.addresses, [second.addresses[0] as string, first.addresses[1] as string]]) {
      const pod = { ...second, addresses };
      leavesNothing(node, pod, () =>
        assert.throws(
          () => attach(node, pod),
          refused(
            "occupied",
            new RegExp(
              `the host has route .* to ${hostIfname(first.containerId, "eth0")} \\(${first.alias}\\) already`,
            ),
          ),
        ),
      );
    }
    pingOnce(node, first.addresses[0] as string);
    detach(node, first);
  });

  it("leaves nothing when the pod's end is refused", () => {
    const pod = testPod();
    pod.sandbox.exec("ip", "link", "add", "net1", "type", "bridge");
    // The kernel would add a link-local address in its own time.
    pod.sandbox.exec("ip", "link", "set", "net1", "addrgenmode", "none");
    pod.sandbox.exec("ip", "link", "set", "net1", "up");
    pod.sandbox.exec("ip", "route", "add", "default", "dev", "net1");
    leavesNothing(node, pod, () =>
      assert.throws(() => attach(node, pod), refused("routed", /sandbox .* has route default to net1 already/)),
    );
  });

  it("leaves nothing when a kernel parameter cannot be set", async () => {
    const pod = testPod();
    const before = [everything(node), everything(pod.sandbox)];
    const { sandbox: _, ...spec } = pod;
    const program = `
      import { attachPod } from ${JSON.stringify(import.meta.resolve("../../../src/dataplane/pod-link/index.ts"))};
      try { attachPod(${JSON.stringify(spec)}); } catch (error) { console.log(error.message); process.exitCode = 3; }`;
    const script =
      'mount --make-rprivate / && mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"';
    const child = node.spawn(
      "unshare",
      ["-m", "sh", "-c", script, "sh", process.execPath, "--input-type=module", "-e", program],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    let said = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (said += text));
    const [code] = (await once(child, "close")) as [number];
    assert.equal(code, 3, said);
    assert.match(said, /EROFS .*accept_ra/);
    assert.deepEqual([everything(node), everything(pod.sandbox)], before);
  });

  it("is refused before anything is done when no kernel state could satisfy it", () => {
    const pod = testPod();
    const cases: [Partial<typeof pod>, RegExp][] = [
      [{ addresses: [] }, /no address/],
      [{ addresses: ["10.0.0.1", "10.0.0.2"] }, /two addresses of one family/],
      [{ mtu: 1279 }, /1279 is under the 1280 bytes that IPv6 needs/],
      [{ netns: node.path }, /host's own network namespace/],
    ];
    for (const [change, message] of cases) {
      leavesNothing(node, pod, () =>
        assert.throws(() => attach(node, { ...pod, ...change }), refused("invalid", message)),
      );
    }
    assert.throws(() => attach(node, { ...pod, netns: "/run/netns/there-is-none" }), { code: "ENOENT" });
    assert.throws(() => attach(node, { ...pod, mac: "01:00:5e:00:00:01" }), RangeError);
  });

  it("does not disturb the first when it is asked for twice", () => {
    const pod = testPod();
    attach(node, pod);
    leavesNothing(node, pod, () =>
      assert.throws(
        () => attach(node, pod),
        refused(
          "attached",
          new RegExp(`interface eth0 of container ${pod.containerId} is attached already .*${pod.alias}`),
        ),
      ),
    );
    pingOnce(node, pod.addresses[0] as string);
    detach(node, pod);
  });

  it("leaves an interface of the same name alone that is somebody else's", () => {
    const pod = testPod();
    pod.sandbox.exec("ip", "link", "add", "eth0", "type", "bridge");
    leavesNothing(node, pod, () =>
      assert.throws(
        () => attach(node, pod),
        refused("occupied", /has an interface eth0 already that is not Skylane's \(bridge /),
      ),
    );
    const other = testPod();
    node.exec("ip", "link", "add", hostIfname(other.containerId, "eth0"), "type", "bridge");
    leavesNothing(node, other, () =>
      assert.throws(() => attach(node, other), refused("occupied", /the host has an interface sky.* not Skylane's/)),
    );
    detach(node, other);
    assert.equal(node.json("ip", "-j", "link", "show", hostIfname(other.containerId, "eth0")).length, 1);
  });

  it("clears away the host end that a crashed ADD left", () => {
    const pod = testPod();
    const elsewhere = testPod({ containerId: pod.containerId });
    attach(node, elsewhere);
    attach(node, pod);
    pingOnce(node, pod.addresses[0] as string);
    assert.equal(elsewhere.sandbox.json("ip", "-j", "link").length, 1);
    detach(node, pod);
  });
});

describe("removing a pod's link", () => {
  const node = testNode();

  it("leaves nothing, with and without the sandbox's path, any number of times", () => {
    for (const withPath of [true, false]) {
      const pod = testPod();
      leavesNothing(node, pod, () => {
        attach(node, pod);
        const { netns, containerId, ifname } = pod;
        for (let time = 0; time < 3; time++) detach(node, { containerId, ifname, ...(withPath ? { netns } : {}) });
      });
    }
  });

  it("succeeds when the sandbox is gone, or was never a namespace", () => {
    const pod = testPod();
    attach(node, pod);
    pod.sandbox.delete();
    detach(node, pod);
    for (const netns of ["/run/netns/there-is-none", "/etc/hostname", "/etc/hostname/x"])
      detach(node, { ...pod, netns });
  });

  it("finds the pod's end when the host end was renamed", () => {
    const pod = testPod();
    const { hostIfname } = attach(node, pod);
    node.exec("ip", "link", "set", hostIfname, "name", "renamed0");
    detach(node, { containerId: pod.containerId, ifname: "eth0" });
    assert.equal(node.json("ip", "-j", "link", "show", "renamed0").length, 1);
    detach(node, pod);
    assert.deepEqual(
      node.json("ip", "-j", "link").map(({ ifname }) => ifname),
      ["lo"],
    );
  });

  it("never touches an interface of the same name that is not ours", () => {
    const pod = testPod();
    pod.sandbox.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other0");
    detach(node, pod);
    assert.equal(pod.sandbox.json("ip", "-j", "link").length, 3);
  });
});

describe("a kill at any point of ADD or DEL", () => {
  it("leaves what the next DEL removes, and the next ADD after it works", async function () {
    this.timeout(120_000);
    const node = testNode();
    const pod = testPod();
    const { sandbox: _, ...spec } = pod;
    const program = `
      import { attachPod, detachPod } from ${JSON.stringify(import.meta.resolve("../../../src/dataplane/pod-link/index.ts"))};
      for (;;) { attachPod(${JSON.stringify(spec)}); process.stdout.write("."); detachPod(${JSON.stringify(spec)}); }`;
    const clean = [everything(node), everything(pod.sandbox)];
    for (let round = 0; round < 15; round++) {
      const child = node.spawn(process.execPath, ["--input-type=module", "-e", program], {
        stdio: ["ignore", "pipe", "pipe"],
      });
      let said = "";
      child.stderr?.setEncoding("utf8").on("data", (text: string) => (said += text));
      await once(child.stdout as NodeJS.ReadableStream, "data");
      setTimeout(() => child.kill("SIGKILL"), Math.random() * 60);
      const [, signal] = (await once(child, "close")) as [number | null, string | null];
      assert.equal(signal, "SIGKILL", said);
      detach(node, { containerId: pod.containerId, ifname: "eth0" });
      assert.deepEqual([everything(node), everything(pod.sandbox)], clean);
    }
    withNetns(node.path, () => attachPod(pod));
    pingOnce(node, pod.addresses[0] as string);
  });
});
