// Builds Skylane's image with docker or, where there is none, buildah, and puts the list of what is in it (SBOM, CycloneDX) beside
// the build: dist/sbom.cdx.json, the same that the image has as /opt/skylane/share/sbom.cdx.json.
//
//   npm run image -- [TAG]      skylane:VERSION by default
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const SBOM = "/opt/skylane/share/sbom.cdx.json";

/** The commit that the tree is at, as far as git knows. */
function revision() {
  const { status, stdout } = spawnSync("git", ["rev-parse", "HEAD"], { cwd: root, encoding: "utf8" });
  return status === 0 ? stdout.trim() : "unknown";
}

const works = (command, args) => spawnSync(command, args, { stdio: "ignore" }).status === 0;
const run = (command, args) => execFileSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
const capture = (command, args) => execFileSync(command, args, { cwd: root, maxBuffer: 1 << 26 });

function build(tag) {
  const args = ["--build-arg", `VERSION=${version}`, "--build-arg", `REVISION=${revision()}`, "--tag", tag, "."];
  if (works("docker", ["info"])) {
    run("docker", ["build", ...args]);
    return capture("docker", ["run", "--rm", "--network=none", "--entrypoint=cat", tag, SBOM]);
  }
  if (!works("buildah", ["--version"])) throw new Error("neither docker nor buildah works on this machine");
  run("buildah", ["bud", "--layers", ...args]);
  const container = capture("buildah", ["from", "--pull-never", tag]).toString().trim();
  try {
    return capture("buildah", ["run", container, "--", "cat", SBOM]);
  } finally {
    run("buildah", ["rm", container]);
  }
}

try {
  const [tag = `skylane:${version}`] = process.argv.slice(2);
  const sbom = build(tag);
  mkdirSync(join(root, "dist"), { recursive: true });
  writeFileSync(join(root, "dist", "sbom.cdx.json"), sbom);
  console.log(`${tag}; what is in it: dist/sbom.cdx.json`);
} catch (error) {
  console.error(`image: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
