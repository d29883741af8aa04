/**
 * What is in the image, as a CycloneDX list: the npm packages that the bundles were made of (Node.js itself among them), as npm
 * tells of its lock file (`npm sbom`), and the Debian packages: those of the image's base, by dpkg's own record of them, and
 * those of the build that libraries were copied from.
 *
 *   node scripts/sbom.ts LIBRARIES STATUS      LIBRARIES: the file that stage.mjs wrote; STATUS: the base's /var/lib/dpkg/status
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

export interface DebianPackage {
  name: string;
  version: string;
  architecture: string;
}
interface Component {
  purl: string;
  [key: string]: string;
}
/** A CycloneDX document, as far as it is looked at. */
interface Bom {
  components?: Component[];
  [key: string]: unknown;
}

/** The installed packages of a dpkg status file. */
export function debianPackages(status: string): DebianPackage[] {
  return status.split(/\n\n+/).flatMap((paragraph) => {
    const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(paragraph)?.[1];
    const [name, version, architecture = "all"] = ["Package", "Version", "Architecture"].map(field);
    if (!name || !version || !(field("Status") ?? "").endsWith(" installed")) return [];
    return [{ name, version, architecture }];
  });
}

/** A Debian package as CycloneDX has components; purl: github.com/package-url/purl-spec, type deb. */
export function component({ name, version, architecture }: DebianPackage): Component {
  const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`;
  return { type: "library", "bom-ref": purl, name, version, purl };
}

/** npm's list with Debian packages added, each once. */
export function withPackages(bom: Bom, packages: readonly DebianPackage[]): Bom {
  const added = new Map(packages.map(component).map((one) => [one.purl, one]));
  return { ...bom, components: [...(bom.components ?? []), ...added.values()] };
}

/** The packages of this machine that own files: dpkg knows a file by the path that it was packed with, before /lib became /usr/lib. */
function owners(files: readonly string[], installed: readonly DebianPackage[]): DebianPackage[] {
  return files.flatMap((file) => {
    for (const path of [file, file.replace(/^\/usr/, "")]) {
      try {
        const found = execFileSync("dpkg-query", ["--search", path], {
          encoding: "utf8",
          stdio: ["ignore", "pipe", "ignore"],
        });
        const name = /^([^:,\s]+)/.exec(found)?.[1];
        return installed.filter((one) => one.name === name);
      } catch {
        // not by this path
      }
    }
    throw new Error(`no Debian package has ${file}`);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [libraries, status] = process.argv.slice(2);
  if (!libraries || !status) throw new Error("usage: sbom.mjs LIBRARIES STATUS");
  const args = ["sbom", "--omit=dev", "--sbom-format=cyclonedx", "--sbom-type=application"];
  const text = execFileSync("npm", args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 26 });
  const bom = JSON.parse(text) as Bom;
  const copied = JSON.parse(readFileSync(libraries, "utf8")) as string[];
  const here = debianPackages(readFileSync("/var/lib/dpkg/status", "utf8"));
  const packages = [...debianPackages(readFileSync(status, "utf8")), ...owners(copied, here)];
  process.stdout.write(`${JSON.stringify(withPackages(bom, packages), undefined, 1)}\n`);
}
