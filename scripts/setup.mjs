// Makes a fresh machine ready for the npm scripts: the npm packages of the lock file (Node 26 among them, as a package for
// each platform; no package runs a script of its own at that)
// and, on Debian, the system packages that the task needs. Runs on whatever Node came with the machine
// (20 or later) and does nothing, in a few milliseconds, where everything is there.
//
//   node scripts/setup.mjs                npm packages alone: enough for unit tests and the check, without root
//   node scripts/setup.mjs kernel         what building, the kernel tests and the lab need
//   node scripts/setup.mjs cluster        what the test on a real cluster needs, too, but for Kubernetes
//   node scripts/setup.mjs browser        a browser, without which the live map's page is not tested
//   node scripts/setup.mjs kernels        what the test on other kernels needs, and nothing else
//   node scripts/setup.mjs kubernetes     all of it: Kubernetes is built from Debian's source where it is not there yet
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, constants, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");

/**
 * Commands of each task and the Debian package that brings each; files without which a command is of no use; services
 * that a package would start, although the test starts its own.
 * @type {Record<string, { commands: Record<string, string>, files: Record<string, string> }>}
 */
const TASKS = {
  // building, testing on the kernel, the lab
  kernel: {
    commands: {
      cc: "gcc",
      ip: "iproute2",
      bridge: "iproute2",
      nft: "nftables",
      nsenter: "util-linux",
      openssl: "openssl",
      ping: "iputils-ping",
      tcpdump: "tcpdump",
      iptables: "iptables",
      ipset: "ipset",
    },
    files: {
      "/usr/include/stdio.h": "libc6-dev",
      "/usr/lib/cni/portmap": "containernetworking-plugins",
    },
  },
  // test/cluster/machine, with which Kubernetes itself is built, too
  cluster: {
    commands: {
      etcd: "etcd-server",
      containerd: "containerd",
      ctr: "containerd",
      runc: "runc",
      kubectl: "kubernetes-client",
      buildah: "buildah",
      debootstrap: "debootstrap",
      gcc: "gcc",
      sysctl: "procps",
    },
    files: {
      "/usr/share/doc/busybox-static": "busybox-static",
      "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    },
  },
  // the live map's page in test/kernel/lab
  browser: {
    commands: { chromium: "chromium" },
    files: { "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf": "fonts-dejavu-core" },
  },
  // test/kernels: virtual machines with other kernels
  kernels: {
    commands: {
      "qemu-system-x86_64": "qemu-system-x86",
      debootstrap: "debootstrap",
      mke2fs: "e2fsprogs",
      cpio: "cpio",
      xz: "xz-utils",
      zstd: "zstd",
    },
    files: {
      "/usr/share/doc/busybox-static": "busybox-static",
      "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
    },
  },
};
/** The task that builds it. */
const KUBERNETES = "kubernetes";
/** Services of packages that the test runs by itself, in namespaces: they must not start on the machine. */
const SERVICES = { "etcd-server": "etcd.service", containerd: "containerd.service" };
const POLICY = "/usr/sbin/policy-rc.d";

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

function debianPackages(tasks) {
  const missing = new Set();
  for (const { commands, files } of tasks) {
    for (const [command, name] of Object.entries(commands)) if (!onPath(command)) missing.add(name);
    for (const [file, name] of Object.entries(files)) if (!existsSync(file)) missing.add(name);
  }
  if (missing.size === 0) return;
  const names = [...missing];
  if (!onPath("apt-get") || process.getuid?.() !== 0) {
    throw new Error(
      `missing on this machine: ${names.join(", ")} (Debian's names); install them, or run this as root on Debian`,
    );
  }
  console.error(`setup: installing ${names.join(", ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  run("apt-get", ["-qq", "update"], { env });
  withoutServices(names, () =>
    run("apt-get", ["-qq", "install", "-y", "--no-install-recommends", ...names], { env, stdio: ["ignore", 2, 2] }),
  );
}

/**
 * Installs without the packages' services being started, now or at the next boot. Debian asks policy-rc.d about each
 * start (101: forbidden); one that the machine already has is the operator's and stays in charge.
 */
function withoutServices(names, install) {
  const units = names.flatMap((name) => SERVICES[name] ?? []);
  if (units.length === 0) {
    install();
    return;
  }
  const own = !existsSync(POLICY);
  const remove = () => rmSync(POLICY, { force: true });
  if (own) {
    writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755, flag: "wx" });
    process.once("exit", remove);
  }
  try {
    install();
  } finally {
    if (own) remove();
  }
  if (onPath("systemctl")) run("systemctl", ["--quiet", "disable", ...units], { stdio: ["ignore", 2, 2] });
}

function npmPackages() {
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  const stamp = join(root, "node_modules", ".skylane-lock");
  const node = join(root, "node_modules", ".bin", "node");
  if (existsSync(node) && existsSync(stamp) && readFileSync(stamp, "utf8") === lock) return;
  console.error("setup: installing the npm packages");
  run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { stdio: ["ignore", 2, 2] });
  if (!existsSync(node))
    throw new Error(
      `no package of the lock file brings Node.js for ${process.platform} on ${process.arch}: no ${node}`,
    );
  writeFileSync(stamp, lock);
}

/** Kubernetes for the test on a real cluster, unless it is to run on one that is there already. Takes minutes on a new machine, and no test's time. */
function kubernetes() {
  if (process.env.SKYLANE_TEST_KUBECONFIG) return;
  console.error("setup: Kubernetes (where it is not there yet it is built: 13 minutes on 2 idle cores)");
  run(join(root, "test", "cluster", "machine", "build-kubernetes.sh"), [], { stdio: ["ignore", 2, 2] });
}

try {
  const asked = process.argv.slice(2);
  const known = [...Object.keys(TASKS), KUBERNETES];
  const unknown = asked.find((task) => !known.includes(task));
  if (unknown !== undefined) throw new Error(`no task "${unknown}"; there are ${known.join(", ")}`);
  npmPackages();
  const tasks = asked.some((task) => task === "cluster" || task === KUBERNETES) ? ["kernel", "cluster"] : asked;
  debianPackages(tasks.map((task) => TASKS[task]));
  if (asked.includes(KUBERNETES)) kubernetes();
} catch (error) {
  console.error(`setup: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
