/**
 * A node's own root file system: the machine's programs as they are, but /etc, /var, /run, /tmp, /proc and /sys of
 * its own. What a node (or a curious user in its shell) writes never reaches the machine, and where the machine has
 * no /etc/cni the node still can. /etc and /var are its disk and outlive it; /run is memory and does not.
 */
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { run } from "../exec.ts";

/** What is the node's own, and what has no place in it. */
const OWN = new Set(["etc", "var", "run", "tmp", "proc", "sys", "dev", "boot", "lost+found"]);

/** Of the machine's /etc, what programs need to run; everything else a node has not. */
const ETC = [
  "alternatives",
  "bash.bashrc",
  "group",
  "gss",
  "iproute2",
  "ld.so.cache",
  "ld.so.conf",
  "ld.so.conf.d",
  "localtime",
  "nsswitch.conf",
  "passwd",
  "profile",
  "protocols",
  "services",
  "terminfo",
];

/** Where a node's root file system comes from. */
export interface RootSpec {
  hostname: string;
  /** Empty directory to build it in; a mount point afterwards, in this mount namespace only. */
  root: string;
  /** Directory of the node's disk. */
  disk: string;
  /** Directories of the machine that must be visible at their own place. */
  visible: string[];
  /** What /proc/sys/kernel/random/boot_id says in this boot. */
  bootId: string;
}

/** A first start: what an installer would have put on the disk. */
function prepareDisk({ disk, hostname }: RootSpec): void {
  const etc = join(disk, "etc");
  for (const dir of ["etc/cni/net.d", "etc/skylane", "var/lib/cni", "var/log", "var/tmp"])
    mkdirSync(join(disk, dir), { recursive: true });
  if (existsSync(join(etc, "hostname"))) return;
  for (const name of ETC) {
    const from = join("/etc", name);
    if (existsSync(from)) cpSync(from, join(etc, name), { recursive: true, verbatimSymlinks: true });
  }
  symlinkSync("/run", join(disk, "var/run"));
  writeFileSync(join(etc, "hosts"), `127.0.0.1 localhost\n::1 localhost\n127.0.1.1 ${hostname}\n`);
  // The last file: it says that the disk is complete.
  writeFileSync(join(etc, "hostname"), `${hostname}\n`);
}

/** A path as fstab(5) wants it: spaces and the like as octal escapes. */
const escaped = (path: string): string =>
  path.replace(/[\s\\]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, "0")}`);

/** The mounts under the new root, in order, and the directories and links to make for them. */
function layout(spec: RootSpec): string[] {
  const { root, disk } = spec;
  const lines: string[] = [];
  const mount = (source: string, target: string, type: string, options: string): void => {
    mkdirSync(join(root, target), { recursive: true });
    lines.push(`${escaped(source)} ${escaped(join(root, target))} ${type} ${options} 0 0`);
  };
  for (const name of readdirSync("/")) {
    const path = `/${name}`;
    if (OWN.has(name)) continue;
    const entry = lstatSync(path);
    if (entry.isSymbolicLink()) symlinkSync(readlinkSync(path), join(root, name));
    else if (entry.isDirectory()) mount(path, path, "none", "rbind");
  }
  mount("/dev", "/dev", "none", "rbind");
  mount(join(disk, "etc"), "/etc", "none", "bind");
  mount(join(disk, "var"), "/var", "none", "bind");
  mount("tmpfs", "/run", "tmpfs", "mode=755,nosuid,nodev");
  mount("tmpfs", "/tmp", "tmpfs", "mode=1777,nosuid,nodev");
  mount("proc", "/proc", "proc", "nosuid,nodev,noexec");
  mount("sysfs", "/sys", "sysfs", "nosuid,nodev,noexec");
  return lines;
}

/**
 * Builds the root file system and makes it this mount namespace's. mount(8) keeps no notes of it, which would be left in the
 * machine's /run.
 * @throws Error with what mount(8) said
 */
export async function enterRoot(spec: RootSpec): Promise<void> {
  const { root } = spec;
  prepareDisk(spec);
  await run(["mount", "--no-mtab", "-t", "tmpfs", "-o", "mode=755", "tmpfs", root]);
  const lines = layout(spec);
  const fstab = join(root, "fstab");
  writeFileSync(fstab, `${lines.join("\n")}\n`);
  await run(["mount", "--no-mtab", "--all", "--fstab", fstab]);
  for (const dir of spec.visible.filter((path) => OWN.has(path.split("/")[1] ?? ""))) {
    // Under a directory that is the node's own: shown at its place nevertheless.
    mkdirSync(join(root, dir), { recursive: true });
    await run(["mount", "--no-mtab", "--bind", dir, join(root, dir)]);
  }
  const bootId = join(root, "run/boot_id");
  writeFileSync(bootId, `${spec.bootId}\n`);
  await run(["mount", "--no-mtab", "--bind", bootId, join(root, "proc/sys/kernel/random/boot_id")]);
  // pivot_root(8) onto itself puts the old root on top of the new one, from where it is unmounted.
  process.chdir(root);
  await run(["pivot_root", ".", "."]);
  await run(["umount", "--no-mtab", "--lazy", "."]);
  process.chdir("/");
  writeFileSync("/proc/sys/kernel/hostname", spec.hostname);
  mkdirSync(dirname("/run/netns"), { recursive: true });
}
