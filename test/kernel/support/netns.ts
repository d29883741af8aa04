/**
 * Network namespaces for tests. Each has a name that no other run uses (process id and a counter), its loopback
 * up, and goes in an `after` hook of the suite that made it, on failure too; what a killed run left behind goes
 * at the start of the next one. No test touches the network of the namespace in which it was started.
 */
import { execFileSync, spawn, type ChildProcess, type SpawnOptions } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";

const DIRECTORY = "/run/netns";
const PREFIX = "skytest";

/** A network namespace that exists from the call of {@link testNamespace} until the end of its suite. */
export interface TestNamespace extends Disposable {
  /** Name for `ip -n` and `ip netns exec`. */
  readonly name: string;
  /** Path that stands for it, as a runtime would hand it over in CNI_NETNS. */
  readonly path: string;
  /** Runs a command inside to its end and returns what it printed. @throws Error with its stderr when it fails. */
  exec(command: string, ...args: string[]): string;
  /** Like {@link exec}, for commands that print JSON (`ip -j …`); "" counts as []. */
  json(command: string, ...args: string[]): Record<string, unknown>[];
  /** Starts a command inside; the caller ends it. */
  spawn(command: string, args: readonly string[], options?: SpawnOptions): ChildProcess;
  /** Removes it now (with the devices in it); a second call does nothing. */
  delete(): void;
}

let made = 0;
let swept = false;
const alive = new Set<TestNamespace>();

function run(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 1 << 28 });
  } catch (error) {
    const stderr = (error as { stderr?: string }).stderr?.trim();
    throw new Error(`${command} ${args.join(" ")}: ${stderr || String(error)}`, { cause: error });
  }
}

/** Removes namespaces of runs whose process is gone. */
function sweep(): void {
  if (swept) return;
  swept = true;
  process.once("exit", () => {
    for (const namespace of alive) namespace.delete();
  });
  if (!existsSync(DIRECTORY)) return;
  for (const name of readdirSync(DIRECTORY)) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    try {
      run("ip", ["netns", "delete", name]);
    } catch (error) {
      if (existsSync(`${DIRECTORY}/${name}`)) process.emitWarning(`cannot remove stale namespace: ${String(error)}`);
    }
  }
}

/** A name no other run uses, also for devices' or files' sake: `skytest<pid>-<n>-<label>`. */
const uniqueName = (label: string): string => `${PREFIX}${process.pid}-${++made}-${label}`;

/**
 * Makes a namespace. Call it in a `describe` body or a hook (it goes after that suite, or after the whole run when
 * made inside a test; there, `using ns = testNamespace("x")` lets it go with the block).
 */
export function testNamespace(label = "ns"): TestNamespace {
  sweep();
  const name = uniqueName(label);
  const path = `${DIRECTORY}/${name}`;
  run("ip", ["netns", "add", name]);
  const inside = (command: string, args: readonly string[]): string[] => [`--net=${path}`, "--", command, ...args];
  const namespace: TestNamespace = {
    name,
    path,
    exec: (command, ...args) => run("nsenter", inside(command, args)),
    json: (command, ...args) =>
      JSON.parse(run("nsenter", inside(command, args)) || "[]") as ReturnType<TestNamespace["json"]>,
    spawn: (command, args, options = {}) => spawn("nsenter", inside(command, args), options),
    delete() {
      if (!alive.delete(namespace) || !existsSync(path)) return;
      run("ip", ["netns", "delete", name]);
    },
    [Symbol.dispose]: () => namespace.delete(),
  };
  alive.add(namespace);
  after(() => namespace.delete());
  run("ip", ["-n", name, "link", "set", "lo", "up"]);
  return namespace;
}

/** How a device comes by its link-local address, by its setting: in messages Linux 5.10 tells it with statistics alone. */
export const addrGenMode = (ns: TestNamespace, device: string): "eui64" | "none" | "other" =>
  (["eui64", "none"] as const)[
    Number(ns.exec("sysctl", "-n", `net.ipv6.conf.${device.replaceAll(".", "/")}.addr_gen_mode`))
  ] ?? "other";
