/**
 * Makes a release. The version is package.json's; lock file, chart and manifests follow it. What was unreleased in the changelog
 * becomes the release's part. Then everything is checked, and image, SBOM, manifests and chart lie in dist/release-VERSION.
 * Nothing is committed, tagged or pushed: the last lines say how.
 *
 *   npm run release -- 0.2.0              all of it
 *   npm run release -- 0.2.0 --no-image   without the image and its SBOM, where neither docker nor buildah works
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chartOf, isLater, ReleaseError, releaseNotes } from "./release/texts.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const run = (command: string, ...args: string[]): void =>
  void execFileSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
const output = (command: string, ...args: string[]): string =>
  execFileSync(command, args, { cwd: root, encoding: "utf8" });

function change(file: string, by: (text: string) => string): void {
  writeFileSync(join(root, file), by(readFileSync(join(root, file), "utf8")));
}

function release(version: string, withImage: boolean): void {
  const { version: before } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  if (!isLater(version, before))
    throw new ReleaseError(`${version} does not come after ${before}, which package.json has`);
  if (output("git", "status", "--porcelain") !== "")
    throw new ReleaseError("the tree has changes that are not committed: commit or stash them");
  const day = new Date().toISOString().slice(0, 10);
  const { changelog, notes } = releaseNotes(readFileSync(join(root, "CHANGELOG.md"), "utf8"), version, day);

  run("npm", "version", version, "--no-git-tag-version");
  writeFileSync(join(root, "CHANGELOG.md"), changelog);
  change("manifests/helm/skylane/Chart.yaml", (chart) => chartOf(chart, version));
  run(process.execPath, "scripts/manifests.ts");
  run("npm", "run", "--silent", "check");

  const out = join(root, "dist", `release-${version}`);
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, "NOTES.md"), `${notes}\n`);
  for (const file of ["skylane.yaml", "skylane-legacy.yaml", "crds.yaml"])
    copyFileSync(join(root, "manifests", file), join(out, file));
  run("tar", "-C", join(root, "manifests", "helm"), "-czf", join(out, `skylane-${version}.tgz`), "skylane");
  if (withImage) {
    run(process.execPath, "scripts/image.mjs", `skylane:${version}`);
    copyFileSync(join(root, "dist", "sbom.cdx.json"), join(out, "sbom.cdx.json"));
  }
  console.log(`release ${version} is in ${out}. To publish it:
  git commit -am "release: ${version}" && git tag v${version} && git push origin main v${version}
  push the image skylane:${version} under the name that the manifests have, and attach the files to the tag`);
}

try {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { "no-image": { type: "boolean" } } });
  const [version, ...more] = positionals;
  if (version === undefined || more.length > 0)
    throw new ReleaseError("usage: npm run release -- VERSION [--no-image]");
  release(version, values["no-image"] !== true);
} catch (error) {
  console.error(`release: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
