/**
 * Installs the CNI executable on a host, from the agent's image: what the executable needs goes into a folder of its
 * own beside it, named by its content, and only then, in one rename each, the link to that folder and the executable
 * change. So a runtime that calls it meanwhile has the old one or the new one whole. Nothing of the host is needed:
 * Node comes with the libraries and the loader that it was built with.
 *
 *     <binDir>/skylane                    the launcher, which runtimes call
 *     <binDir>/loopback                   the same, where the host has no loopback plugin: no pod starts without one
 *     <binDir>/.skylane/<id>/             Node, its libraries, the bundles
 *     <binDir>/.skylane/current  ->  <id>
 */
import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { isLauncher, supportDir } from "../cni/index.ts";
import { syncDirectory } from "../sys/index.ts";
import { type Command, CommandError } from "./command.ts";

/** Where this program's own files are: `<root>/bin` and `<root>/lib/skylane`. */
export interface Installation {
  bin: string;
  lib: string;
}

const ownInstallation = (script: string): Installation => {
  const lib = dirname(script);
  return { lib, bin: join(lib, "..", "..", "bin") };
};

/** A name for what is in a folder: the first 16 digits of a SHA-256 over its files' names and contents. */
function contentId(folder: string, launcher: string): string {
  const hash = createHash("sha256").update(readFileSync(launcher));
  const walk = (at: string, name: string): void => {
    for (const entry of readdirSync(at, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(at, entry.name);
      if (entry.isDirectory()) walk(path, `${name}/${entry.name}`);
      else hash.update(`${name}/${entry.name}\0`).update(readFileSync(path));
    }
  };
  walk(folder, "");
  return hash.digest("hex").slice(0, 16);
}

/** Whether a copy of a folder has all of its files, each as long as it was; V8's cache of code changes as it is used. */
function isWhole(folder: string, copy: string): boolean {
  return readdirSync(folder, { withFileTypes: true }).every((entry) => {
    if (entry.name === "cache") return true;
    const [from, to] = [join(folder, entry.name), join(copy, entry.name)];
    if (entry.isDirectory()) return isWhole(from, to);
    return statSync(to, { throwIfNoEntry: false })?.size === statSync(from).size;
  });
}

/** Puts a finished file or link in its place with one rename. */
function replace(temporary: string, target: string): void {
  renameSync(temporary, target);
  syncDirectory(dirname(target));
}

/** The version that `current` names, if any. */
function currentId(support: string): string | undefined {
  try {
    return readlinkSync(join(support, "current"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * Installs or upgrades the executable in a directory of the host, and removes versions older than the one replaced.
 * @returns the version's name and whether anything changed
 * @throws Error of fs: no space, a read-only file system …; the old version stays then
 */
function installCni(from: Installation, binDir: string): { id: string; changed: boolean } {
  const launcher = join(from.bin, "skylane");
  const support = supportDir(binDir);
  const executable = join(binDir, "skylane");
  const id = contentId(from.lib, launcher);
  const target = join(support, id);
  const previous = currentId(support);
  const temporary = join(support, `.tmp-${randomBytes(6).toString("hex")}`);
  mkdirSync(support, { recursive: true, mode: 0o755 });
  // what a killed installation left
  for (const name of readdirSync(support))
    if (name.startsWith(".tmp-")) rmSync(join(support, name), { recursive: true, force: true });
  let changed = false;
  try {
    if (!isWhole(from.lib, target)) {
      cpSync(from.lib, temporary, { recursive: true, dereference: true });
      // the operator's command line works from there too, when the image is long gone
      cpSync(launcher, join(temporary, "skylanectl"));
      chmodSync(join(temporary, "skylanectl"), 0o755);
      // one of which somebody has removed a part makes room
      if (existsSync(target)) renameSync(target, `${temporary}-old`);
      replace(temporary, target);
      rmSync(`${temporary}-old`, { recursive: true, force: true });
      changed = true;
    }
    if (previous !== id) {
      symlinkSync(id, temporary);
      replace(temporary, join(support, "current"));
      changed = true;
    }
    const ours = readFileSync(launcher);
    const loopback = join(binDir, "loopback");
    // somebody else's loopback plugin stays; one of ours moves on with the version
    const wanted = !existsSync(loopback) || isLauncher(loopback) ? [executable, loopback] : [executable];
    for (const path of wanted) {
      if (existsSync(path) && lstatSync(path).isFile() && readFileSync(path).equals(ours)) continue;
      cpSync(launcher, temporary);
      chmodSync(temporary, 0o755);
      replace(temporary, path);
      changed = true;
    }
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  // a process of the version before may still be starting
  for (const name of readdirSync(support))
    if (name !== "current" && name !== id && name !== previous)
      rmSync(join(support, name), { recursive: true, force: true });
  return { id, changed };
}

/** Removes the executable and all that came with it; says what was there. */
export function uninstallCni(binDir: string): string[] {
  const loopback = join(binDir, "loopback");
  const own = [join(binDir, "skylane"), supportDir(binDir)];
  if (existsSync(loopback) && isLauncher(loopback)) own.push(loopback);
  const found = own.filter((path) => existsSync(path));
  for (const path of found) rmSync(path, { recursive: true, force: true });
  return found;
}

/** `skylanectl install-cni`, the init container of the DaemonSet. */
export const installCniCommand: Command = {
  words: ["install-cni"],
  summary: "Install the CNI executable on this host (the DaemonSet's init container)",
  options: {
    "bin-dir": { value: "DIR", help: "where the container runtime looks for CNI executables (/opt/cni/bin)" },
  },
  details:
    "Copies the executable and everything that it needs to run, and switches to it in one rename: a runtime never sees half of it.",
  run: (input) => {
    const binDir = input.text("bin-dir") ?? "/opt/cni/bin";
    const there = statSync(binDir, { throwIfNoEntry: false });
    if (!there) throw new CommandError(`${binDir} is not there: mount the host's directory of CNI executables`);
    if (!there.isDirectory()) throw new CommandError(`${binDir} is no directory; nothing was installed`);
    const { id, changed } = installCni(ownInstallation(process.argv[1] as string), binDir);
    process.stdout.write(`skylane ${id} ${changed ? "installed in" : "was already in"} ${binDir}\n`);
    return Promise.resolve(0);
  },
};
