/** Network namespaces of a run: named after it, gone with it. Nothing is done to the namespace that the bench runs in. */
import { type ChildProcess, execFileSync, spawn, type SpawnOptions } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import type { Context } from "./context.ts";

let made = 0;

export interface Namespace {
  name: string;
  path: string;
  /** Runs a command inside; what it prints. @throws Error when it fails */
  exec(command: string, ...args: string[]): string;
  /** Starts a command inside. */
  spawn(command: string, args: readonly string[], options?: SpawnOptions): ChildProcess;
}

/** Takes away what runs that were killed have left: processes in their namespaces, and these. */
export function sweep(): void {
  for (const name of existsSync("/run/netns") ? readdirSync("/run/netns") : []) {
    const [, pid] = /^skybench(\d+)-/.exec(name) ?? [];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    const inside = execFileSync("ip", ["netns", "pids", name], { encoding: "utf8" }).split("\n").filter(Boolean);
    for (const one of inside) if (existsSync(`/proc/${one}`)) process.kill(Number(one), "SIGKILL");
    execFileSync("ip", ["netns", "delete", name]);
  }
}

/** Makes a namespace with its loopback up. */
export function namespace(context: Context, label: string): Namespace {
  const name = `skybench${process.pid}-${++made}-${label}`;
  const path = `/run/netns/${name}`;
  const run = (command: string, args: readonly string[]): string =>
    execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 1 << 28 });
  run("ip", ["netns", "add", name]);
  context.onEnd(() => {
    if (existsSync(path)) run("ip", ["netns", "delete", name]);
  });
  run("ip", ["-n", name, "link", "set", "lo", "up"]);
  return {
    name,
    path,
    exec: (command, ...args) => run("nsenter", [`--net=${path}`, "--", command, ...args]),
    spawn: (command, args, options = {}) => spawn("nsenter", [`--net=${path}`, "--", command, ...args], options),
  };
}

/** A veth pair between two namespaces, both ends up. */
export function cable(a: Namespace, nameInA: string, b: Namespace, nameInB: string): void {
  const peer = ["peer", "name", nameInB, "netns", b.name];
  execFileSync("ip", ["-n", a.name, "link", "add", nameInA, "type", "veth", ...peer]);
  a.exec("ip", "link", "set", nameInA, "up");
  b.exec("ip", "link", "set", nameInB, "up");
}
