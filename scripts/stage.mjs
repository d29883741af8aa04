// Lays out the part of the image that is ours: /opt/skylane with the executables, and with them the dynamic
// loader and the libraries that Node needs. A copy of this folder runs on any Linux host of the same
// architecture, whatever C library the host has: the launcher starts Node through the loader beside it.
//
//   node scripts/stage.mjs DIR [FILE]      FILE: gets the paths of the libraries, for the list of what is in the image
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

const [target, list] = process.argv.slice(2);
if (!target) throw new Error("usage: stage.mjs DIR [FILE]");
const dist = fileURLToPath(new URL("../dist", import.meta.url));
const root = join(target, "opt", "skylane");
const libraries = join(root, "lib", "skylane", "so");

mkdirSync(libraries, { recursive: true });
cpSync(join(dist, "bin"), join(root, "bin"), { recursive: true });
cpSync(join(dist, "lib"), join(root, "lib"), {
  recursive: true,
  filter: (path) => !basename(path).startsWith("skylane-lab"),
});

// "libm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x…)", and the loader as an absolute path of its own
const listed = execFileSync("ldd", [join(dist, "lib", "skylane", "node")], { encoding: "utf8" });
const copied = [];
for (const line of listed.split("\n")) {
  const [, path] = /(?:=>\s+|^\s+)(\/\S+)\s+\(0x/.exec(line) ?? [];
  if (!path) continue;
  const name = basename(path).startsWith("ld-linux") ? "loader" : basename(path);
  copyFileSync(realpathSync(path), join(libraries, name));
  copied.push(realpathSync(path));
}
if (list) writeFileSync(list, JSON.stringify(copied));
