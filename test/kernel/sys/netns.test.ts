/** Entering namespaces and coming back, with every thread of the process staying where it belongs. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readlinkSync, statSync } from "node:fs";
import {
  closeFd,
  netnsIdentity,
  openNetns,
  readSysctl,
  SysError,
  setTxChecksum,
  txChecksum,
  withNetns,
  writeSysctl,
} from "../../../src/sys/index.ts";
import { testNamespace } from "../support/netns.ts";

const here = () => readlinkSync("/proc/thread-self/ns/net");
const code = (expected: string) => (error: unknown) => {
  assert.ok(error instanceof SysError, String(error));
  assert.equal(error.code, expected);
  return true;
};

describe("network namespaces", () => {
  const ns = testNamespace("enter");
  const other = testNamespace("other");
  const inside = (path: string) => `net:[${statSync(path).ino}]`;

  it("are entered by path or descriptor and left again, nested too", () => {
    const home = here();
    assert.equal(withNetns(ns.path, here), inside(ns.path));
    const fd = openNetns(other.path);
    try {
      const seen = withNetns(ns.path, () => [here(), withNetns(fd, here), here()]);
      assert.deepEqual(seen, [inside(ns.path), inside(other.path), inside(ns.path)]);
    } finally {
      closeFd(fd);
    }
    assert.equal(here(), home);
  });

  it("are left when the function throws or returns a promise, which is refused", () => {
    const home = here();
    assert.throws(() => withNetns(ns.path, () => assert.fail("inside")), /inside/);
    assert.throws(() => withNetns(ns.path, () => Promise.resolve(1)), TypeError);
    assert.equal(here(), home);
  });

  it("are told apart by device and inode", () => {
    const fd = openNetns(ns.path);
    try {
      assert.deepEqual(netnsIdentity(fd), netnsIdentity(ns.path));
      assert.notDeepEqual(netnsIdentity(other.path), netnsIdentity(ns.path));
    } finally {
      closeFd(fd);
    }
  });

  it("that are none are refused by name, without leaking descriptors", () => {
    const descriptors = () => readdirSync("/proc/self/fd").length;
    const before = descriptors();
    for (let i = 0; i < 20; i++) {
      assert.throws(() => openNetns("/run/netns/no-such"), code("ENOENT"));
      assert.throws(() => withNetns("/etc/hostname", () => 1), code("EINVAL"));
      assert.throws(() => openNetns("/proc/self/ns/mnt"), code("EINVAL"));
      assert.throws(() => netnsIdentity("/run/netns/no-such"), code("ENOENT"));
      withNetns(ns.path, () => 1);
    }
    assert.equal(descriptors(), before);
    assert.throws(() => closeFd(99_999), code("EBADF"));
  });

  it("keep no thread of the process, even if its first asynchronous call is made inside", async () => {
    const script = `
      import { readdirSync, readlinkSync, stat } from "node:fs";
      import { withNetns } from ${JSON.stringify(`${import.meta.dirname}/../../../src/sys/index.ts`)};
      const home = readlinkSync("/proc/self/ns/net");
      withNetns(process.argv[1], () => stat("/", () => {
        const seen = readdirSync("/proc/self/task").map((task) => readlinkSync(\`/proc/self/task/\${task}/ns/net\`));
        console.log(seen.length > 4 && seen.every((each) => each === home) ? "home" : seen.join());
      }));`;
    const flags = [
      "--disable-warning=ExperimentalWarning",
      "--input-type=module-typescript",
      "-e",
      script,
      "--",
      ns.path,
    ];
    const child = spawn(process.execPath, flags, { stdio: ["ignore", "pipe", "inherit"] });
    const [output] = (await once(child.stdout, "data")) as [Buffer];
    assert.equal(output.toString().trim(), "home");
  });

  it("have kernel parameters of their own, of interfaces with dots in their names too", () => {
    ns.exec("ip", "link", "add", "sky.1", "type", "bridge");
    withNetns(ns.path, () => {
      writeSysctl("net.ipv4.conf.sky.1.rp_filter", 2);
      writeSysctl("net.ipv6.conf.sky.1.accept_ra", "0");
      writeSysctl("net.ipv4.ip_forward", "1");
    });
    assert.equal(ns.exec("cat", "/proc/sys/net/ipv4/conf/sky.1/rp_filter").trim(), "2");
    assert.equal(ns.exec("cat", "/proc/sys/net/ipv6/conf/sky.1/accept_ra").trim(), "0");
    assert.equal(
      withNetns(ns.path, () => readSysctl("net.ipv4.ip_forward")),
      "1",
    );
    assert.equal(
      withNetns(other.path, () => readSysctl("net.ipv4.conf.sky.1.rp_filter")),
      undefined,
    );
    assert.throws(() => withNetns(ns.path, () => writeSysctl("net.ipv4.ip_forward", "many")), code("EINVAL"));
  });

  it("have devices whose transmit checksums can be switched", () => {
    ns.exec("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1");
    withNetns(ns.path, () => {
      assert.equal(txChecksum("v0"), true);
      setTxChecksum("v0", false);
      assert.equal(txChecksum("v0"), false);
      assert.equal(txChecksum("v1"), true);
      setTxChecksum("v0", true);
      assert.equal(txChecksum("v0"), true);
      assert.throws(() => setTxChecksum("none", true), code("ENODEV"));
      assert.throws(() => setTxChecksum("a-name-longer-than-allowed", true), code("ENODEV"));
    });
  });
});
