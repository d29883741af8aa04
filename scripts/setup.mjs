// Makes a fresh machine ready for the npm scripts: the npm packages of the lock file (Node 26 among them)
// and, on Debian, the system packages that this task needs. Runs on whatever Node came with the machine
// (20 or later) and does nothing, in a few milliseconds, where everything is there.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Commands that building, testing and the lab use, and the Debian package that brings each. */
const COMMANDS = {
  cc: "gcc",
  ip: "iproute2",
  bridge: "iproute2",
  nft: "nftables",
  nsenter: "util-linux",
  openssl: "openssl",
  ping: "iputils-ping",
  tcpdump: "tcpdump",
  iptables: "iptables",
};
/** Files without which a command above is of no use. */
const FILES = {
  "/usr/include/stdio.h": "libc6-dev",
  "/usr/lib/cni/portmap": "containernetworking-plugins",
};

const run = (command, args, options = {}) =>
  execFileSync(command, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"], ...options });

function onPath(command) {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function debianPackages() {
  const missing = new Set();
  for (const [command, name] of Object.entries(COMMANDS)) if (!onPath(command)) missing.add(name);
  for (const [file, name] of Object.entries(FILES)) if (!existsSync(file)) missing.add(name);
  if (missing.size === 0) return;
  const names = [...missing];
  if (!onPath("apt-get") || process.getuid?.() !== 0) {
    throw new Error(`missing on this machine: ${names.join(", ")}; install them, or run this as root on Debian`);
  }
  console.error(`setup: installing ${names.join(", ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  run("apt-get", ["-qq", "update"], { env });
  run("apt-get", ["-qq", "install", "-y", "--no-install-recommends", ...names], { env, stdio: ["ignore", 2, 2] });
}

function npmPackages() {
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  const stamp = join(root, "node_modules", ".skylane-lock");
  const node = join(root, "node_modules", "node", "bin", "node");
  if (existsSync(node) && existsSync(stamp) && readFileSync(stamp, "utf8") === lock) return;
  console.error("setup: installing the npm packages");
  run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { stdio: ["ignore", 2, 2] });
  if (!existsSync(node))
    throw new Error(`the npm package "node" left no executable at ${node}; run "npm rebuild node"`);
  writeFileSync(stamp, lock);
}

try {
  npmPackages();
  debianPackages();
} catch (error) {
  console.error(`setup: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
