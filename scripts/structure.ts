/**
 * Holds the tree against its own rules: folders of src depend downwards only and through each other's
 * index.ts, each outside package has the one folder that may import it, no file outgrows one idea.
 * Prints a line for every breach; exit status 1 when there is one.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Folders of src from the top down; a folder may import from lower rows only. */
const LAYERS = [
  ["lab"],
  ["ctl"],
  ["agent"],
  ["claims", "policy"],
  ["blocks", "bridge"],
  ["cni", "overlay", "networks", "endpoints"],
  ["pod", "ipam", "kube", "nft", "netspace"],
  ["netlink", "config"],
  ["log", "sys", "task"],
  ["addr"],
];
/** Packages that one folder alone may import. */
const PACKAGES: Record<string, string> = {
  netlink: "src/netlink",
  "@kubernetes/client-node": "src/kube",
  "ipaddr.js": "src/addr",
  winston: "src/log",
  "prom-client": "src/agent",
  "node:ffi": "src/sys",
};
const MAX_LINES = 400;

const level = new Map(LAYERS.flatMap((row, depth) => row.map((folder) => [folder, depth] as const)));
const breaches: string[] = [];

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (entry.name.endsWith(".ts")) yield path;
  }
}

function packageOf(specifier: string): string {
  const parts = specifier.split("/");
  return specifier.startsWith("@") ? parts.slice(0, 2).join("/") : (parts[0] as string);
}

function checkImport(file: string, specifier: string, typeOnly: boolean): void {
  if (!specifier.startsWith(".")) {
    const owner = PACKAGES[packageOf(specifier)];
    if (owner && !file.startsWith(`${owner}/`)) breaches.push(`${file}: only ${owner} may import ${specifier}`);
    return;
  }
  const target = posix.normalize(posix.join(posix.dirname(file), specifier));
  const [, from] = /^src\/([^/]+)\//.exec(file) ?? [];
  const [, to] = /^src\/([^/]+)\//.exec(target) ?? [];
  if (from && !to) breaches.push(`${file}: src imports ${target}, which is outside src`);
  if (!to || from === to) return;
  if (from) {
    const above = level.get(from);
    const below = level.get(to);
    if (above === undefined || below === undefined)
      breaches.push(`${file}: folder src/${above === undefined ? from : to} has no layer`);
    else if (above >= below)
      breaches.push(`${file}: src/${from} may not import from src/${to}: dependencies point down only`);
  }
  if (
    !target.endsWith("/index.ts") &&
    !(typeOnly || /^src\/lab\/api\/index\.ts$/.test(target)) &&
    !file.startsWith("test/")
  ) {
    breaches.push(`${file}: imports ${target}; a folder's public face is its index.ts`);
  }
}

const IMPORT = /^\s*(?:import|export)\s+(type\s)?(?:[^"';]*?\sfrom\s+)?["']([^"']+)["']/gm;
const BUILTIN = /getBuiltinModule\(["']([^"']+)["']\)/g;
for (const file of [...sources("src"), ...sources("cmd"), ...sources("test"), ...sources("bench")]) {
  const text = readFileSync(join(root, file), "utf8");
  const lines = text.split("\n").length - 1;
  if (/^(src|cmd)\//.test(file) && lines > MAX_LINES)
    breaches.push(`${file}: ${lines} lines, over ${MAX_LINES}: is it one idea?`);
  if (file.startsWith("test/") || file.startsWith("bench/")) continue;
  for (const [, type, specifier] of text.matchAll(IMPORT)) checkImport(file, specifier as string, type !== undefined);
  for (const [, specifier] of text.matchAll(BUILTIN)) checkImport(file, specifier as string, false);
}

for (const breach of breaches) console.error(breach);
process.exitCode = breaches.length === 0 ? 0 : 1;
