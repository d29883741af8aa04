// Builds dist/: one bundle an executable, and the launcher that starts each of them with the Node beside it.
//
//   dist/bin/{skylane,skylane-agent,skylanectl}   the launcher, once a name
//   dist/lib/skylane/<name>.cjs                   the bundles
//   dist/lib/skylane/ui/                          the live map's page
//   dist/lib/skylane/node                         Node, linked from the npm package
//   dist/lib/skylane/*.cache                      V8's bytecode of bundles
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
// built aside and put in place whole: a failed build, or one under a running test, leaves the old one usable
const dist = join(root, "dist");
const fresh = join(root, `dist.${process.pid}`);
const bin = join(fresh, "bin");
const lib = join(fresh, "lib", "skylane");
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** Executable name → its folder in cmd/. */
const EXECUTABLES = {
  skylane: "skylane-cni",
  "skylane-agent": "skylane-agent",
  skylanectl: "skylanectl",
  "kubectl-skylane": "kubectl-skylane",
};

/** The commit, for the version that programs say: of SKYLANE_COMMIT where the tree has no history, as in an image. */
function commitOf() {
  const given = process.env.SKYLANE_COMMIT;
  if (given) return given;
  const git = (...args) => spawnSync("git", args, { cwd: root, encoding: "utf8" });
  const { status, stdout } = git("rev-parse", "HEAD");
  if (status !== 0) return "unknown";
  return `${stdout.trim()}${git("status", "--porcelain").stdout ? "-dirty" : ""}`;
}

/** A digest of everything that the build reads, so that one which would make the same again is left out. */
function inputs() {
  const hash = createHash("sha256");
  const folders = ["cmd", "src", "lab"].filter((folder) => existsSync(join(root, folder)));
  const files = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name)),
  );
  for (const file of [
    ...files.sort((a, b) => (a < b ? -1 : 1)),
    ...["package.json", "package-lock.json", "scripts/build.mjs"].map((f) => join(root, f)),
  ])
    hash.update(`${file}\0`).update(readFileSync(file));
  return hash.digest("hex");
}

const stamp = inputs();
const stampFile = join(dist, "inputs");
if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) process.exit(0);

process.on("exit", () => rmSync(fresh, { recursive: true, force: true }));
mkdirSync(bin, { recursive: true });
mkdirSync(lib, { recursive: true });

const entries = Object.entries(EXECUTABLES)
  .map(([name, folder]) => ({ name, main: join(root, "cmd", folder, "main.ts") }))
  .filter(({ main }) => existsSync(main));
// skylane.cjs only starts skylane-plugin.cjs with its cache; skylanectl loads skylane-lab.cjs, which no image has (stage.mjs)
const loaded = {
  "skylane-plugin": join(root, "cmd", "skylane-cni", "plugin.ts"),
  // where an image is built there is no lab
  ...(existsSync(join(root, "lab")) && { "skylane-lab": join(root, "cmd", "skylane-lab", "main.ts") }),
};
/**
 * The package does not say that its modules do nothing but define: without that all its models of the API, which nobody here uses, would
 * be in the bundle, half a megabyte that each agent reads at its start and keeps.
 */
const clientNode = {
  name: "client-node defines only",
  setup({ onResolve, resolve }) {
    const own = /[\\/]node_modules[\\/]@kubernetes[\\/]client-node[\\/]/;
    onResolve({ filter: /^(@kubernetes\/client-node$|\.)/ }, async ({ path, pluginData, ...from }) => {
      if (pluginData === clientNode || !(own.test(from.importer) || path.startsWith("@"))) return undefined;
      const { importer, resolveDir, kind } = from;
      return { ...(await resolve(path, { importer, resolveDir, kind, pluginData: clientNode })), sideEffects: false };
    });
  },
};

const { metafile } = await build({
  entryPoints: { ...Object.fromEntries(entries.map(({ name, main }) => [name, main])), ...loaded },
  outdir: lib,
  outExtension: { ".js": ".cjs" },
  bundle: true,
  platform: "node",
  target: "node26",
  format: "cjs",
  minifySyntax: true,
  minifyWhitespace: true,
  // not keepNames: it names each closure anew whenever it is made, and functions so named share no shape; ours keep their names anyway
  legalComments: "none",
  define: {
    "process.env.SKYLANE_VERSION": JSON.stringify(version),
    "process.env.SKYLANE_COMMIT": JSON.stringify(commitOf()),
    "import.meta.url": "__skylaneUrl",
  },
  banner: { js: 'const __skylaneUrl=require("node:url").pathToFileURL(__filename).href;' },
  metafile: true,
  plugins: [clientNode],
  logLevel: "warning",
});
writeFileSync(join(fresh, "meta.json"), JSON.stringify(metafile));

// What a browser runs; only the command that serves it ever reads it.
const page = join(root, "src", "cli", "ui", "page");
await build({
  entryPoints: [join(page, "main.tsx"), join(page, "page.css"), join(page, "index.html")],
  entryNames: "[name]",
  outdir: join(lib, "ui"),
  loader: { ".html": "copy" },
  bundle: true,
  platform: "browser",
  target: "es2024",
  format: "esm",
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  legalComments: "none",
  logLevel: "warning",
});
renameSync(join(lib, "ui", "main.js"), join(lib, "ui", "page.js"));

// of the package for this platform, which the lock file holds by its hash; npm links the one that is installed here
const node = realpathSync(join(root, "node_modules", ".bin", "node"));
try {
  linkSync(node, join(lib, "node"));
} catch {
  // another file system: a hard link cannot cross it
  copyFileSync(node, join(lib, "node"));
}

const launcher = join(root, "cmd", "launcher", "launcher.c");
// It runs as root and reads what others wrote: at an address of its own each time, with checked stack and buffers, and with nothing
// that is both writable and executable. test/kernel/cni/hardened.test.ts reads whether the result is so.
const HARDENED = [
  "-fPIE",
  "-static-pie",
  "-fstack-protector-strong",
  "-fstack-clash-protection",
  "-U_FORTIFY_SOURCE",
  "-D_FORTIFY_SOURCE=2",
  "-Wformat=2",
  "-Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code",
];
const COMMON = ["-std=c11", "-Os", "-Wall", "-Wextra", "-Werror"];
execFileSync("cc", [...COMMON, ...HARDENED, "-s", "-o", join(bin, "skylane"), launcher], { stdio: "inherit" });
for (const name of Object.keys(EXECUTABLES)) {
  if (name !== "skylane") copyFileSync(join(bin, "skylane"), join(bin, name));
  chmodSync(join(bin, name), 0o755);
}

const old = `${fresh}.old`;
if (existsSync(dist)) renameSync(dist, old);
renameSync(fresh, dist);
rmSync(old, { recursive: true, force: true });

// One run of each bundle fills the compile cache that later starts only read.
for (const { name } of entries) {
  spawnSync(join(dist, "bin", name), name === "skylane" ? ["--build-cache"] : ["--version"], {
    env: { PATH: process.env.PATH },
    stdio: ["pipe", "ignore", "ignore"],
    timeout: 30_000,
  });
}
// last, so that a build that was cut short is made again
writeFileSync(stampFile, stamp);
