/**
 * Debian's kernels, and a small Debian to run on them, unpacked below a folder that is kept: nothing of them is installed on this machine. All of it comes by
 * apt, from the archive that this machine's own apt uses.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A kernel by the name that it is asked for by, and the release of Debian that has it. */
export interface Kernel {
  name: string;
  suite: string;
}

/** Oldest first. */
export const KERNELS: readonly Kernel[] = [
  { name: "5.10", suite: "bullseye" },
  { name: "6.1", suite: "bookworm" },
  { name: "6.12", suite: "trixie" },
  { name: "newest", suite: "sid" },
];

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
/** The package that stands for the newest kernel of a release, built for virtual machines. */
const IMAGE = "linux-image-cloud-amd64";
/** What that stands for: one package in older releases, in newer ones one for each part; `base` lists what is built in. */
const PARTS = /^linux-(image|base|binary|modules)-\d/;
/** The release that the guest's own programs are of, and what they are: what Skylane's image has, and what tests use. */
const USERLAND = "bookworm";
const PACKAGES =
  "iproute2 nftables iptables ipset iputils-ping tcpdump kmod procps ethtool util-linux openssl ca-certificates libatomic1 libstdc++6".split(
    " ",
  );
/** What has to be loaded before there is a root file system. */
const FIRST_MODULES = ["virtio_pci", "virtio_blk", "ext4"];

const quiet = { stdio: ["ignore", "ignore", "inherit"] } as const;
const run = (command: string, args: readonly string[], options: object = quiet): void =>
  void execFileSync(command, args, options);
const read = (command: string, args: readonly string[]): string =>
  execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], maxBuffer: 64 << 20 });

/** The archive of Debian that this machine uses. @throws Error when its apt knows none */
function mirror(): string {
  const folder = "/etc/apt/sources.list.d";
  const files = [
    "/etc/apt/sources.list",
    ...(existsSync(folder) ? readdirSync(folder).map((f) => join(folder, f)) : []),
  ];
  for (const file of files.filter((one) => existsSync(one))) {
    const found = /^(?:URIs:|deb(?: \[[^\]]*\])?)\s+(\S+\/debian)\/?(?:\s|$)/m.exec(readFileSync(file, "utf8"))?.[1];
    if (found) return found;
  }
  throw new Error("apt on this machine knows no archive of Debian");
}

/**
 * A folder that is made whole or not at all, and again where what it is made by is another. @param recipe that
 * @returns its path
 */
function made(kept: string, name: string, recipe: readonly string[], make: (fresh: string) => void): string {
  const digest = createHash("sha256").update(recipe.join("\0")).digest("hex").slice(0, 12);
  const folder = join(kept, `${name}-${digest}`);
  if (existsSync(folder)) return folder;
  for (const former of readdirSync(kept).filter((one) => one.startsWith(`${name}-`)))
    rmSync(join(kept, former), { recursive: true });
  const fresh = `${folder}.${process.pid}`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  try {
    make(fresh);
    renameSync(fresh, folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
  return folder;
}

/** The kernel's packages, unpacked. @throws Error when the archive does not have them */
function unpacked(suite: string, into: string): void {
  const lists = join(into, "lists");
  mkdirSync(join(lists, "partial"), { recursive: true });
  const sources = join(into, "sources.list");
  writeFileSync(sources, `deb [signed-by=${KEYRING}] ${mirror()} ${suite} main\n`);
  const only = [
    `Dir::Etc::sourcelist=${sources}`,
    "Dir::Etc::sourceparts=/dev/null",
    `Dir::State::Lists=${lists}`,
    `Dir::Cache::pkgcache=${join(into, "pkgcache.bin")}`,
    `Dir::Cache::srcpkgcache=${join(into, "srcpkgcache.bin")}`,
    "APT::Sandbox::User=root",
  ].map((option) => `-o${option}`);
  run("apt-get", [...only, "-qq", "update"]);
  const wanted = new Set([IMAGE]);
  // The set grows as it is gone through.
  for (const name of wanted)
    for (const [, needs = ""] of read("apt-cache", [...only, "depends", name]).matchAll(/^ *\|?Depends: (\S+)/gm))
      if (PARTS.test(needs)) wanted.add(needs);
  wanted.delete(IMAGE);
  if (wanted.size === 0) throw new Error(`Debian's ${suite} has no ${IMAGE}`);
  run("apt-get", [...only, "-qq", "download", ...wanted], { ...quiet, cwd: into });
  for (const file of readdirSync(into).filter((one) => one.endsWith(".deb"))) {
    run("dpkg", ["-x", join(into, file), into]);
    rmSync(join(into, file));
  }
  rmSync(lists, { recursive: true });
}

/** Where the kernel's modules are, below a folder. */
function modulesOf(folder: string): { release: string; path: string } {
  for (const below of ["usr/lib/modules", "lib/modules"]) {
    const path = join(folder, below);
    const [release] = existsSync(path) ? readdirSync(path) : [];
    if (release !== undefined) return { release, path: join(path, release) };
  }
  throw new Error(`no modules below ${folder}`);
}

/** The small Debian, once for all kernels. */
const userland = (kept: string): string =>
  made(kept, `root-${USERLAND}`, PACKAGES, (fresh) =>
    run("debootstrap", ["--variant=minbase", `--include=${PACKAGES.join(",")}`, USERLAND, fresh, mirror()]),
  );

/** What boots: a kernel, what it loads first, and its root file system as an image. */
export interface Bootable {
  release: string;
  vmlinuz: string;
  initrd: string;
  root: string;
}

/** Some of the kernel's modules and what they need, unpacked, in the order in which they are loaded. */
function firstModules(root: string, release: string, into: string): string[] {
  const show = ["modprobe", "--show-depends", "-S", release, "-a", ...FIRST_MODULES];
  const files = [
    ...new Set([...read("chroot", [root, ...show]).matchAll(/^insmod (\S+)/gm)].map(([, file]) => file as string)),
  ];
  return files.map((file, at) => {
    const name = `${at}.ko`;
    const how = { xz: "xz", zst: "zstd", gz: "gzip" }[/\.ko\.(\w+)$/.exec(file)?.[1] ?? ""];
    const inside = join(root, file);
    writeFileSync(
      join(into, name),
      how ? execFileSync(how, ["-dc", inside], { maxBuffer: 64 << 20 }) : readFileSync(inside),
    );
    return name;
  });
}

/** Loads modules and changes to the disk; BusyBox does all of it. */
const FIRST_PROGRAM = `#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mkdir -p /root
while read -r module; do /bin/busybox insmod "/modules/$module"; done </order
until [ -b /dev/vda ] && [ -b /dev/vdb ]; do /bin/busybox usleep 20000; done
/bin/busybox mount -t ext4 /dev/vda /root && exec /bin/busybox switch_root /root /sbin/first
`;

function initrd(root: string, release: string, work: string): string {
  const ram = join(work, "ram");
  for (const folder of ["bin", "dev", "modules"]) mkdirSync(join(ram, folder), { recursive: true });
  cpSync("/bin/busybox", join(ram, "bin/busybox"));
  writeFileSync(join(ram, "order"), `${firstModules(root, release, join(ram, "modules")).join("\n")}\n`);
  writeFileSync(join(ram, "init"), FIRST_PROGRAM, { mode: 0o755 });
  const file = join(work, "initrd");
  run("sh", ["-c", `find . | cpio --quiet -o -H newc | gzip -1 >"$0"`, file], { ...quiet, cwd: ram });
  rmSync(ram, { recursive: true });
  return file;
}

/**
 * A kernel that can be booted; fetched and made the first time (some 200 MB, a minute or two), and kept.
 * @param first the guest's first program
 * @throws Error when a package cannot be had
 */
export function bootable(kept: string, { suite }: Kernel, first: string): Bootable {
  mkdirSync(kept, { recursive: true });
  const recipe = [...PACKAGES, ...FIRST_MODULES, FIRST_PROGRAM, first];
  const folder = made(kept, `kernel-${suite}`, recipe, (fresh) => {
    unpacked(suite, fresh);
    const { release, path } = modulesOf(fresh);
    // Newer releases have the kernel beside its modules.
    if (existsSync(join(path, "vmlinuz"))) {
      mkdirSync(join(fresh, "boot"), { recursive: true });
      renameSync(join(path, "vmlinuz"), join(fresh, "boot", `vmlinuz-${release}`));
    }
    const root = join(fresh, "root");
    run("cp", ["-a", userland(kept), root]);
    mkdirSync(join(root, "usr/lib/modules"), { recursive: true });
    renameSync(path, join(root, "usr/lib/modules", release));
    run("chroot", [root, "depmod", release]);
    initrd(root, release, fresh);
    mkdirSync(join(root, "opt/skylane"), { recursive: true });
    writeFileSync(join(root, "sbin/first"), first, { mode: 0o755 });
    const image = join(fresh, "root.img");
    run("truncate", ["-s", "3G", image]);
    run("mke2fs", ["-q", "-t", "ext4", "-d", root, image]);
    rmSync(root, { recursive: true });
    writeFileSync(join(fresh, "release"), release);
  });
  const vmlinuz = readdirSync(join(folder, "boot")).find((file) => file.startsWith("vmlinuz"));
  if (vmlinuz === undefined) throw new Error(`no kernel below ${folder}`);
  return {
    release: readFileSync(join(folder, "release"), "utf8"),
    vmlinuz: join(folder, "boot", vmlinuz),
    initrd: join(folder, "initrd"),
    root: join(folder, "root.img"),
  };
}
