/**
 * A machine on which nothing else happens: a mount and a network namespace with an empty /run, so that what a lab leaves
 * behind can be told from what other programs do meanwhile.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { entering } from "../../../lab/exec.ts";
import { findBinDir } from "../../../lab/cluster/context.ts";
import { eventually } from "../../support/eventually.ts";

export interface QuietMachine {
  /** Starts skylanectl on it. */
  start(...args: string[]): ChildProcess;
  /** Runs a command on it to its end. @throws Error when it fails */
  exec(command: string, ...args: string[]): string;
  /** A file on it; undefined when there is none. */
  read(path: string): string | undefined;
  /** Everything that a lab could have changed. */
  world(): Record<string, unknown>;
}

/** A quiet machine for the suite. */
export function quietMachine(): () => QuietMachine {
  let holder: ChildProcess | undefined;
  let machine: QuietMachine | undefined;
  before("a quiet machine", async () => {
    const own = readlinkSync("/proc/self/ns/mnt");
    const started = spawn("unshare", ["--mount", "--net", "--propagation", "private", "--", "sleep", "infinity"], {
      stdio: "ignore",
    });
    holder = started;
    const pid = started.pid as number;
    await eventually(() => readFileSync(`/proc/${pid}/comm`, "utf8") === "sleep\n");
    if (readlinkSync(`/proc/${pid}/ns/mnt`) === own) throw new Error("the quiet machine has no mount namespace");
    const enter = (command: string, args: string[]): [string, ...string[]] => {
      const [nsenter, target, net, ...rest] = entering({ pid }, command, args);
      return [nsenter, target, net, "--mount", ...rest] as [string, ...string[]];
    };
    const exec = (command: string, ...args: string[]): string => {
      const [program, ...rest] = enter(command, args);
      return execFileSync(program, rest, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    };
    // Namespaces that others have named there: when such a name goes, the kernel takes its mount here too.
    const mounts = readFileSync(`/proc/${pid}/mountinfo`, "utf8").split("\n");
    const named = mounts.map((line) => line.split(" ")[4] ?? "").filter((path) => path.startsWith("/run/netns"));
    if (named.length > 0) exec("umount", "--lazy", ...named.toReversed());
    exec("mount", "-t", "tmpfs", "tmpfs", "/run");
    exec("ip", "link", "set", "lo", "up");
    const lines = (...argv: [string, ...string[]]): string[] => exec(...argv).split("\n");
    machine = {
      exec,
      start: (...args) => {
        const [program, ...rest] = enter(join(findBinDir(), "skylanectl"), args);
        return spawn(program, rest, { stdio: ["ignore", "ignore", "pipe"] });
      },
      read: (path) => {
        try {
          return readFileSync(`/proc/${pid}/root${path}`, "utf8");
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
          throw error;
        }
      },
      world: () => ({
        // only what is the namespace's own: mounts of the machine around it do not come in
        mounts: readFileSync(`/proc/${pid}/mountinfo`, "utf8").split("\n"),
        run: lines("find", "/run"),
        links: lines("ip", "-o", "link"),
        addresses: lines("ip", "-br", "address"),
        routes: [
          ...lines("ip", "route", "show", "table", "all"),
          ...lines("ip", "-6", "route", "show", "table", "all"),
        ],
        ruleset: lines("nft", "list", "ruleset"),
        forwarding: lines("sysctl", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"),
      }),
    };
  });
  after(() => {
    // a lab that a failed test left
    machine?.exec(join(findBinDir(), "skylanectl"), "lab", "down", "--all");
    holder?.kill("SIGKILL");
  });
  return () => {
    if (!machine) throw new Error("the quiet machine is not there");
    return machine;
  };
}
