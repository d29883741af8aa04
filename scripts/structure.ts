/**
 * Holds the tree against its own rules: rooms of src depend downwards only and through each other's index.ts, no file imports
 * itself by way of others, each outside package has the one room that may import it, no folder holds more than a newcomer takes in
 * at a glance, and no file outgrows one idea. Prints a line for every breach; exit status 1 when there is one.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Rooms of src from the top down; a room may import from lower rows only. A room is a folder with all folders in it. */
const LAYERS = [
  ["agent"],
  ["cni-server"],
  ["cli", "instances"],
  ["egress", "enforcement", "network"],
  ["data-path", "pod-requests"],
  ["controller", "workloads"],
  ["ipam/claims", "network-definitions"],
  ["firewall", "host-ends", "ipam/blocks", "nodes"],
  ["cni", "crd", "dataplane/bridge", "dataplane/uplink", "observe", "policy"],
  [
    "dataplane/bandwidth",
    "dataplane/egress",
    "dataplane/encryption",
    "dataplane/fast-path",
    "dataplane/host-ports",
    "flows",
    "probes",
  ],
  [
    "dataplane/conntrack",
    "dataplane/netns",
    "dataplane/nflog",
    "dataplane/nfqueue",
    "dataplane/nft",
    "dataplane/nftrace",
    "dataplane/pod-link",
    "dataplane/vxlan",
    "host",
    "http",
  ],
  ["dataplane/kernel"],
  ["config", "dataplane/bpf", "endpoints", "ipam/local", "netlink"],
  ["dns", "kube", "peers", "sys"],
  ["reconcile"],
  ["addr", "json", "log"],
];
/** Packages that one room alone may import. */
const PACKAGES: Record<string, string> = {
  netlink: "src/netlink",
  "@kubernetes/client-node": "src/kube",
  "ipaddr.js": "src/addr",
  winston: "src/log",
  "prom-client": "src/observe",
  preact: "src/cli/ui/page",
  "tar-stream": "src/cli",
  "node:ffi": "src/sys",
};
const MAX_LINES = 500;
/** Files beside each other in a folder. */
const MAX_FILES = 15;

const level = new Map(LAYERS.flatMap((row, depth) => row.map((folder) => [folder, depth] as const)));
const breaches: string[] = [];

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (/\.tsx?$/.test(entry.name)) yield path;
  }
}

/** The room that a file of src is in. */
const roomOf = (file: string): string | undefined => {
  const [top, ...path] = file.split("/");
  if (top !== "src" || path.length < 2) return undefined;
  const nested = path.slice(0, 2).join("/");
  return level.has(nested) ? nested : path[0];
};

/** What each file imports at run time, for the search of cycles. */
const imports = new Map<string, string[]>();

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
  const [from, to] = [roomOf(file), roomOf(target)];
  if (!typeOnly && /^(src|lab)\//.test(file)) imports.set(file, [...(imports.get(file) ?? []), target]);
  if (from && !to) breaches.push(`${file}: src imports ${target}, which is outside src`);
  if (!to || from === to) return;
  if (from) {
    const above = level.get(from);
    const below = level.get(to);
    if (above === undefined || below === undefined)
      breaches.push(`${file}: room src/${above === undefined ? from : to} has no layer`);
    else if (above >= below)
      breaches.push(`${file}: src/${from} may not import from src/${to}: dependencies point down only`);
  }
  if (!target.endsWith("/index.ts")) breaches.push(`${file}: imports ${target}; a room's public face is its index.ts`);
}

/** Reports each way on which a file imports itself, once. */
function checkCycles(): void {
  const done = new Set<string>();
  const walk = (file: string, way: readonly string[]): void => {
    const again = way.indexOf(file);
    if (again >= 0) breaches.push(`a cycle of imports: ${[...way.slice(again), file].join(" -> ")}`);
    if (again >= 0 || done.has(file)) return;
    for (const target of imports.get(file) ?? []) walk(target, [...way, file]);
    done.add(file);
  };
  for (const file of imports.keys()) walk(file, []);
}

const IMPORT = /^\s*(?:import|export)\s+(type\s)?(?:[^"';]*?\sfrom\s+)?["']([^"']+)["']/gm;
const BUILTIN = /getBuiltinModule\(["']([^"']+)["']\)/g;
const crowds = new Map<string, number>();
for (const file of ["src", "lab", "cmd", "test", "bench"].flatMap((folder) => [...sources(folder)])) {
  const text = readFileSync(join(root, file), "utf8");
  const lines = text.split("\n").length - 1;
  if (/^(src|lab)\//.test(file)) crowds.set(posix.dirname(file), (crowds.get(posix.dirname(file)) ?? 0) + 1);
  if (/^(src|lab|cmd)\//.test(file) && lines > MAX_LINES)
    breaches.push(`${file}: ${lines} lines, over ${MAX_LINES}: is it one idea?`);
  if (file.startsWith("test/") || file.startsWith("bench/")) continue;
  for (const [, type, specifier] of text.matchAll(IMPORT)) checkImport(file, specifier as string, type !== undefined);
  for (const [, specifier] of text.matchAll(BUILTIN)) checkImport(file, specifier as string, false);
}

for (const [folder, files] of crowds)
  if (files > MAX_FILES)
    breaches.push(`${folder}: ${files} files, over ${MAX_FILES}: which of them are a folder of their own?`);
checkCycles();

for (const breach of breaches) console.error(breach);
process.exitCode = breaches.length === 0 ? 0 : 1;
