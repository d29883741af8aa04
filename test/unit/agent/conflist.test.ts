import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { conflistsBefore, ensureConflist, isOurConflist, renderConflist } from "../../../src/cni-server/conflist.ts";

describe("the CNI configuration list", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "skylane-conflist-"));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const base = {
    network: "default",
    runDir: "/run/skylane",
    dataDir: "/var/lib/cni/skylane",
    hostPorts: "portmap" as "own" | "portmap",
    bandwidth: "off" as "own" | "off",
  };

  it("names the plugin, the network, the versions and the capabilities", () => {
    const list = JSON.parse(renderConflist({ ...base, chained: [], binDir: dir }));
    assert.deepEqual(list, {
      cniVersion: "0.4.0",
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

  it("offers host ports itself, unless another plugin of the chain does", () => {
    writeFileSync(join(dir, "portmap"), "", { mode: 0o755 });
    type Plugin = { type: string; capabilities?: Record<string, boolean> };
    const plugins = (more: Partial<Parameters<typeof renderConflist>[0]>): Plugin[] =>
      JSON.parse(renderConflist({ ...base, hostPorts: "own", chained: "auto", binDir: dir, ...more })).plugins;
    const offering = (more: Parameters<typeof plugins>[0]): string[] =>
      plugins(more).flatMap(({ type, capabilities }) => (capabilities?.["portMappings"] ? type : []));
    assert.deepEqual([plugins({}).length, offering({})], [1, ["skylane"]]);
    assert.deepEqual(offering({ chained: [] }), ["skylane"]);
    assert.deepEqual(offering({ chained: [{ type: "tuning", capabilities: { mac: true } }] }), ["skylane"]);
    assert.deepEqual(offering({ chained: [{ type: "hostports", capabilities: { portMappings: true } }] }), [
      "hostports",
    ]);
    assert.deepEqual(offering({ hostPorts: "portmap" }), ["portmap"]);
    assert.deepEqual(offering({ hostPorts: "portmap", chained: [] }), []);
  });

  it("offers bandwidth where it is ours, and no chained plugin has it", () => {
    const offering = (more: Partial<Parameters<typeof renderConflist>[0]>): string[] => {
      const { plugins } = JSON.parse(renderConflist({ ...base, bandwidth: "own", chained: [], binDir: dir, ...more }));
      return plugins.flatMap(({ type, capabilities }: { type: string; capabilities?: Record<string, boolean> }) =>
        capabilities?.["bandwidth"] ? type : [],
      );
    };
    assert.deepEqual(offering({}), ["skylane"]);
    assert.deepEqual(offering({ bandwidth: "off" }), []);
    assert.deepEqual(offering({ chained: [{ type: "bandwidth", capabilities: { bandwidth: true } }] }), ["bandwidth"]);
  });

  it("keeps portmap for pods that it may have mapped, without telling it of ports", () => {
    const plugins = () =>
      JSON.parse(renderConflist({ ...base, hostPorts: "own", chained: "auto", binDir: dir, portmapped: true })).plugins;
    assert.equal(plugins().length, 1, "it is not there");
    writeFileSync(join(dir, "portmap"), "", { mode: 0o755 });
    assert.deepEqual(plugins().slice(1), [{ type: "portmap", snat: true }]);
  });

  /** Installs a plugin that says which versions it speaks. */
  const install = (type: string, ...supported: string[]): void => {
    const answer = JSON.stringify({ cniVersion: "1.0.0", supportedVersions: supported });
    writeFileSync(join(dir, type), `#!/bin/sh\n[ "$CNI_COMMAND" = VERSION ] && echo '${answer}'\n`, { mode: 0o755 });
  };
  const versions = (chained: "auto" | { type: string }[]): [string, string[]] => {
    const { cniVersion, cniVersions } = JSON.parse(renderConflist({ ...base, chained, binDir: dir }));
    return [cniVersion, cniVersions];
  };

  it("offers only versions that every plugin of the chain speaks", () => {
    install("portmap", "0.1.0", "0.4.0", "1.0.0");
    assert.deepEqual(versions("auto"), ["0.4.0", ["0.4.0", "1.0.0"]]);
    install("portmap", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0");
    assert.deepEqual(versions("auto"), ["0.4.0", ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]]);
    writeFileSync(join(dir, "portmap"), "not a program", { mode: 0o755 });
    assert.deepEqual(versions("auto"), ["0.4.0", ["0.3.0", "0.3.1", "0.4.0"]]);
  });

  it("is itself of a version that every plugin speaks, and that the oldest runtimes read where that can be", () => {
    install("old", "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0");
    assert.deepEqual(versions([{ type: "old" }]), ["0.4.0", ["0.3.0", "0.3.1", "0.4.0"]]);
    install("older", "0.1.0", "0.2.0", "0.3.0", "0.3.1");
    assert.deepEqual(versions([{ type: "old" }, { type: "older" }]), ["0.3.1", ["0.3.0", "0.3.1"]]);
    install("young", "1.0.0", "1.1.0", "2.0.0");
    assert.deepEqual(versions([{ type: "young" }]), ["1.0.0", ["1.0.0", "1.1.0"]]);
  });

  it("cannot be where the plugins have no version in common, and says who speaks what", () => {
    install("ancient", "0.1.0", "0.2.0");
    install("mute");
    assert.throws(() => versions([{ type: "ancient" }]), /no CNI version in common.*ancient speaks 0\.1\.0, 0\.2\.0/);
    assert.throws(() => versions([{ type: "mute" }]), /mute speaks none/);
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
