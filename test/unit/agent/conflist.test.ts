import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { conflistsBefore, ensureConflist, isOurConflist, renderConflist } from "../../../src/agent/conflist.ts";

describe("the CNI configuration list", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-conflist-"));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const base = { network: "default", runDir: "/run/skylane", dataDir: "/var/lib/cni/skylane" };

  it("names the plugin, the network, the versions and the capabilities", () => {
    const list = JSON.parse(renderConflist({ ...base, chained: [], binDir: dir }));
    assert.deepEqual(list, {
      cniVersion: "1.0.0",
      cniVersions: ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
      name: "skylane",
      plugins: [
        {
          type: "skylane",
          network: "default",
          capabilities: { ips: true, mac: true, dns: true, ipRanges: true },
        },
      ],
    });
  });

  it("names directories that are not the plugin's defaults", () => {
    const { plugins } = JSON.parse(renderConflist({ ...base, runDir: "/x/run", chained: [], binDir: dir }));
    assert.equal(plugins[0].runDir, "/x/run");
    assert.equal("dataDir" in plugins[0], false);
  });

  it("chains portmap where it is installed, and what the operator says instead", () => {
    const types = (chained: "auto" | { type: string }[]) =>
      JSON.parse(renderConflist({ ...base, chained, binDir: dir })).plugins.map((p: { type: string }) => p.type);
    assert.deepEqual(types("auto"), ["skylane"]);
    writeFileSync(join(dir, "portmap"), "", { mode: 0o755 });
    assert.deepEqual(types("auto"), ["skylane", "portmap"]);
    assert.deepEqual(types([]), ["skylane"]);
    assert.deepEqual(types([{ type: "bandwidth" }, { type: "tuning" }]), ["skylane", "bandwidth", "tuning"]);
  });

  it("offers only versions that every plugin of the chain speaks", () => {
    const portmap = join(dir, "portmap");
    const versions = (): string[] => JSON.parse(renderConflist({ ...base, chained: "auto", binDir: dir })).cniVersions;
    const speaks = (...supported: string[]): void => {
      const answer = JSON.stringify({ cniVersion: "1.0.0", supportedVersions: supported });
      writeFileSync(portmap, `#!/bin/sh\n[ "$CNI_COMMAND" = VERSION ] && echo '${answer}'\n`, { mode: 0o755 });
    };
    speaks("0.1.0", "0.4.0", "1.0.0");
    assert.deepEqual(versions(), ["0.4.0", "1.0.0"]);
    speaks("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0");
    assert.deepEqual(versions(), ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
    writeFileSync(portmap, "not a program", { mode: 0o755 });
    assert.deepEqual(versions(), ["0.3.0", "0.3.1", "0.4.0", "1.0.0"]);
  });

  it("is written whole, only where it differs, readable by everyone", () => {
    const confDir = join(dir, "etc", "cni");
    assert.equal(ensureConflist(confDir, "10-skylane.conflist", "one\n"), true);
    const { ino } = statSync(join(confDir, "10-skylane.conflist"));
    assert.equal(ensureConflist(confDir, "10-skylane.conflist", "one\n"), false);
    assert.equal(statSync(join(confDir, "10-skylane.conflist")).ino, ino);
    assert.equal(ensureConflist(confDir, "10-skylane.conflist", "two\n"), true);
    assert.equal(readFileSync(join(confDir, "10-skylane.conflist"), "utf8"), "two\n");
    assert.equal(statSync(join(confDir, "10-skylane.conflist")).mode & 0o777, 0o644);
    assert.deepEqual(readdirSync(confDir), ["10-skylane.conflist"]);
  });

  it("knows which others a runtime would take first", () => {
    assert.deepEqual(conflistsBefore(join(dir, "nothing"), "10-skylane.conflist"), []);
    mkdirSync(join(dir, "net.d"));
    for (const name of ["05-flannel.conflist", "10-skylane.conflist", "20-bridge.conf", "00-notes.txt"])
      writeFileSync(join(dir, "net.d", name), "{}");
    assert.deepEqual(conflistsBefore(join(dir, "net.d"), "10-skylane.conflist"), ["05-flannel.conflist"]);
  });

  it("is told from somebody else's", () => {
    assert.equal(isOurConflist(renderConflist({ ...base, chained: "auto", binDir: dir })), true);
    assert.equal(isOurConflist('{"name":"cbr0","plugins":[{"type":"flannel"}]}'), false);
    assert.equal(isOurConflist('{"name":"skylane"}'), false);
    assert.equal(isOurConflist("not json"), false);
  });
});
