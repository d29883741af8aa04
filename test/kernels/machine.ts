/** A virtual machine that runs one command of this tree on a kernel and says what came of it, by a serial line of its own. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { compile } from "../../bench/support/context.ts";
import type { Bootable } from "./debian.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** What of the tree the guest has. */
const TREE = ["package.json", "src", "lab", "cmd", "test", "bench", "scripts", "dist"];
/** Programs of the bench, which the guest has no compiler for. */
const COMPILED = ["flow", "meter"];
/** Packages that check and build, and never run in a test: half a gigabyte. */
const LEFT_OUT =
  /^(@biomejs|@typescript|@oxlint|@oxlint-tsgolint|@oxc-parser|@oxc-resolver|@esbuild|@types|typescript|oxlint|oxlint-tsgolint|oxc-parser|knip|esbuild)$/;

/** The guest's first program: mounts what a system has mounted, and runs the command that the kernel's command line has. */
export const FIRST = `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t ext4 /dev/vdb /opt/skylane
export PATH=/opt/skylane/node_modules/.bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
ip link set lo up
hostname guest
cd /opt/skylane || exit 1
node --disable-warning=ExperimentalWarning test/kernels/guest/main.ts $(sed 's/.* skylane\\.args=//' /proc/cmdline) 2>&1
echo "the guest's command ended with status $?"
sync
echo o >/proc/sysrq-trigger
sleep 60
`;

/** The tree as an image. @param measures whether measurements are to run @returns its file */
export function treeImage(work: string, measures: boolean): string {
  const tree = join(work, "tree");
  mkdirSync(join(tree, "node_modules"), { recursive: true });
  for (const name of TREE) cpSync(join(ROOT, name), join(tree, name), { recursive: true, verbatimSymlinks: true });
  for (const name of readdirSync(join(ROOT, "node_modules")))
    if (!LEFT_OUT.test(name))
      cpSync(join(ROOT, "node_modules", name), join(tree, "node_modules", name), {
        recursive: true,
        verbatimSymlinks: true,
      });
  if (measures) {
    const into = join(tree, "bench/native/compiled");
    mkdirSync(into);
    for (const name of COMPILED) compile(name, join(into, name));
  }
  const image = join(work, "tree.img");
  execFileSync("truncate", ["-s", "2G", image]);
  execFileSync("mke2fs", ["-q", "-t", "ext4", "-d", tree, image], { stdio: ["ignore", "ignore", "inherit"] });
  rmSync(tree, { recursive: true });
  return image;
}

export interface Boot {
  kernel: Bootable;
  /** See {@link treeImage}. */
  tree: string;
  /** Of the guest's command; without blanks. */
  args: readonly string[];
  /** After so long, in milliseconds, the machine is switched off. */
  limitMs: number;
  /** Hears each line of the guest's console. */
  onLine: (line: string) => void;
}

/** Some processors have hardware for guests, which is ten times as fast; not everywhere where it is there does it work. */
const ACCELERATOR = process.env["SKYLANE_KERNELS_ACCEL"] ?? "tcg,thread=multi";
/** Without protection keys for memory, over whose emulation V8 stumbles on some kernels. */
const CPU = "max,pku=off";
// Control sequences that the firmware prints.
// oxlint-disable-next-line no-control-regex
const CONTROL = /\x1b(?:\[[0-9;?]*[A-Za-z]|c)|\r/g;

/** Boots, runs the command, and returns the lines that it wrote to the second serial line. What is not done by the end of its time is missing. @throws Error when QEMU fails */
export async function boot({ kernel, tree, args, limitMs, onLine }: Boot): Promise<string[]> {
  const work = mkdtempSync(join(kernel.root, "../run-"));
  const said = join(work, "said");
  const drive = (file: string): string[] => ["-drive", `file=${file},format=raw,if=virtio,snapshot=on`];
  const machine = ["-accel", ACCELERATOR, "-cpu", CPU, "-smp", "2", "-m", "4096", "-display", "none", "-no-reboot"];
  const lines = ["-serial", "stdio", "-serial", `file:${said}`, "-monitor", "none"];
  const append = `console=ttyS0 panic=-1 mitigations=off quiet skylane.args=${args.join(" ")}`;
  const child = spawn(
    "qemu-system-x86_64",
    [
      ...machine,
      ...lines,
      "-kernel",
      kernel.vmlinuz,
      "-initrd",
      kernel.initrd,
      "-append",
      append,
      ...drive(kernel.root),
      ...drive(tree),
    ],
    // Whatever the guest writes is kept in a file there, which is gone with the machine.
    { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, TMPDIR: work } },
  );
  const stop = (): void => {
    child.kill("SIGKILL");
    rmSync(work, { recursive: true, force: true });
  };
  process.once("exit", stop);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, limitMs);
  try {
    createInterface({ input: child.stdout }).on("line", (line) => onLine(line.replaceAll(CONTROL, "")));
    const [status] = (await once(child, "close")) as [number | null];
    const results = existsSync(said) ? readFileSync(said, "utf8").split(/\r?\n/).filter(Boolean) : [];
    if (late) onLine(`the machine was still busy after ${Math.round(limitMs / 60_000)} minutes and was switched off`);
    else if (status !== 0) throw new Error(`QEMU ended with status ${status}`);
    return results;
  } finally {
    clearTimeout(timer);
    process.off("exit", stop);
    rmSync(work, { recursive: true, force: true });
  }
}
