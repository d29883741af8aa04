import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { uninstallCni } from "../../../src/cli/install-cni.ts";
import { BIN, TestNode } from "./node.ts";

const ctl = (...args: string[]) => execFileSync(join(BIN, "skylanectl"), args, { encoding: "utf8" });

describe("the CNI executable on a host", () => {
  let node: TestNode;
  let root: string;
  /** Where it is installed. */
  let dir: string;
  /** What that said. */
  let said: string;

  before(() => {
    node = new TestNode();
    root = mkdtempSync(join(tmpdir(), "skylane-host-"));
    dir = join(root, "bin");
    mkdirSync(dir);
    said = ctl("install-cni", "--bin-dir", dir);
  });
  it("goes into a directory, and ends where there is none", () => {
    const file = join(root, "file");
    writeFileSync(file, "");
    for (const [where, why] of [
      [file, /is no directory/],
      [join(file, "below"), /is not there|is no directory|ENOTDIR/],
      [join(root, "none"), /is not there/],
    ] as const)
      assert.throws(
        () =>
          execFileSync(join(BIN, "skylanectl"), ["install-cni", "--bin-dir", where], {
            stdio: "pipe",
            timeout: 60_000,
          }),
        why,
      );
    assert.equal(readFileSync(file, "utf8"), "");
  });

  it("says which version and commit it is", () => {
    const { version, commit } = JSON.parse(ctl("version", "-o", "json")) as Record<string, string>;
    assert.equal(version, ctl("version").trim());
    assert.match(commit ?? "", /^([0-9a-f]{40}(-dirty)?|unknown)$/);
  });

  after(() => {
    node.remove();
    rmSync(root, { recursive: true, force: true });
  });

  const call = (name: string, verb: string, config: object, netns = "") =>
    execFileSync("ip", ["netns", "exec", node.ns.name, join(dir, name)], {
      input: JSON.stringify(config),
      encoding: "utf8",
      env: {
        PATH: process.env["PATH"],
        CNI_COMMAND: verb,
        CNI_CONTAINERID: "installed",
        CNI_IFNAME: "eth0",
        CNI_NETNS: netns,
        CNI_PATH: dir,
      },
    });

  it("is installed with all that it needs, and a second time without a change", () => {
    assert.match(said, /installed in/);
    assert.deepEqual(readdirSync(dir).sort(), [".skylane", "loopback", "skylane"]);
    assert.equal(lstatSync(join(dir, "skylane")).mode & 0o7777, 0o755);
    assert.equal(lstatSync(join(dir, "skylane")).uid, 0);
    assert.match(ctl("install-cni", "--bin-dir", dir), /was already in/);
    const versions = readdirSync(join(dir, ".skylane")).filter((name) => name !== "current");
    assert.equal(versions.length, 1, "no version or draft beside the current one");
  });

  it("serves pods from there", () => {
    const pod = node.sandbox();
    const result = JSON.parse(call("skylane", "ADD", node.config(), pod.path)) as { ips: unknown[] };
    assert.equal(result.ips.length, 2);
    call("skylane", "DEL", node.config(), pod.path);
  });

  it("serves as loopback plugin where the host has none", () => {
    const pod = node.sandbox();
    const config = { cniVersion: "0.3.1", name: "cni-loopback", type: "loopback" };
    const result = JSON.parse(call("loopback", "ADD", config, pod.path)) as {
      interfaces: { name: string; sandbox: string }[];
      ips: { address: string }[];
    };
    assert.deepEqual(
      result.ips.map(({ address }) => address),
      ["127.0.0.1/8", "::1/128"],
    );
    assert.deepEqual(
      result.interfaces.map(({ name, sandbox }) => [name, sandbox]),
      [["lo", pod.path]],
    );
    pod.exec("ping", "-c", "1", "-W", "1", "127.0.0.1");
    const checked = { ...config, cniVersion: "1.0.0", prevResult: { ...result, cniVersion: "1.0.0" } };
    call("loopback", "CHECK", checked, pod.path);
    pod.exec("ip", "link", "set", "lo", "down");
    assert.throws(() => call("loopback", "CHECK", checked, pod.path), /interface lo is down|status 1|failed/i);
    call("loopback", "DEL", config, "/run/netns/gone");
    call("loopback", "DEL", config, pod.path);
  });

  it("leaves another loopback plugin alone, also when uninstalled", () => {
    const host = join(root, "with-loopback");
    const other = join(host, "loopback");
    mkdirSync(host);
    writeFileSync(other, "#!/bin/false\n");
    chmodSync(other, 0o755);
    ctl("install-cni", "--bin-dir", host);
    assert.equal(readFileSync(other, "utf8"), "#!/bin/false\n");
    assert.ok(existsSync(join(host, "skylane")));
    assert.deepEqual(uninstallCni(host), [join(host, "skylane"), join(host, ".skylane")]);
    assert.deepEqual(readdirSync(host), ["loopback"]);
    assert.equal(readFileSync(other, "utf8"), "#!/bin/false\n");
  });

  it("runs, laid out as in the image, on a host without any C library", () => {
    const image = join(root, "image");
    const host = join(root, "bare");
    const stage = fileURLToPath(new URL("../../../scripts/stage.mjs", import.meta.url));
    execFileSync("node", [stage, image]);
    for (const path of ["cni", "proc"]) mkdirSync(join(host, path), { recursive: true });
    execFileSync(join(image, "opt/skylane/bin/skylanectl"), ["install-cni", "--bin-dir", join(host, "cni")]);
    // a mount namespace of its own, so that the proc mount goes with the process
    const script = 'mount -t proc proc "$1/proc" && exec chroot "$1" /cni/skylane';
    const out = execFileSync("unshare", ["--mount", "sh", "-c", script, "sh", host], {
      input: '{"cniVersion":"1.0.0"}',
      env: { PATH: process.env["PATH"], CNI_COMMAND: "VERSION" },
      encoding: "utf8",
    });
    assert.deepEqual((JSON.parse(out) as { cniVersion: string }).cniVersion, "1.0.0");
  });
});
