/**
 * The plugin's executable in the runtime's directory, without which no pod starts or ends. Once it has been installed there
 * by `skylanectl install-cni`, it is put back when it goes, by the same command of this agent's own installation: copying a
 * Node takes long enough to be another process's work.
 */
import { execFile } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { isLauncher, supportDir } from "../../cni/index.ts";
import { writeFileAtomic } from "../../sys/index.ts";
import type { CheckResult } from "../../observe/index.ts";

/** How long putting it back may take, in milliseconds. */
const PATIENCE_MS = 60_000;
/** What the folder beside the executable must hold. */
const NEEDED = ["node", "skylane.cjs", "skylane-plugin.cjs"];

/** The link to the installation in use. */
const current = (binDir: string): string => join(supportDir(binDir), "current");

/** Length of a file in bytes, 0 where there is none. @throws Error of fs */
function sizeOf(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isFile() ? stat.size : 0;
}

export interface ExecutableOptions {
  /** The runtime's directory of executables. */
  binDir: string;
  /** It belongs there from the start, installed before or not. */
  install: boolean;
  /** Our own command line; beside this agent by default. */
  skylanectl?: string;
}

/** Looks after it. */
export class Executable {
  readonly #binDir: string;
  readonly #skylanectl: string;
  /** It belongs there. */
  #ours: boolean;
  /** A copy that brought no folder of its own was seen: it is missed when it goes, and nobody here can put it back. */
  #seen = false;
  /** The files as they were found to be right. */
  #stamp = "";
  #missing: string | undefined;

  constructor({ binDir, install, skylanectl }: ExecutableOptions) {
    this.#binDir = binDir;
    this.#ours = install;
    this.#skylanectl = skylanectl ?? join(dirname(process.argv[1] ?? ""), "..", "..", "bin", "skylanectl");
  }

  /** Directories in which something of it is. */
  get paths(): string[] {
    return this.#ours ? [this.#binDir, supportDir(this.#binDir), current(this.#binDir)] : [this.#binDir];
  }

  /** As of the last look. */
  get verdict(): CheckResult {
    return this.#missing === undefined
      ? { ok: true, message: this.#ours || this.#seen ? `installed in ${this.#binDir}` : "installed by somebody else" }
      : { ok: false, message: this.#missing };
  }

  /** Puts it back where it has gone. @returns whether it had. @throws Error when it cannot be put back */
  async keep(): Promise<boolean> {
    this.#ours ||= existsSync(current(this.#binDir));
    const wrong = this.#wrong();
    this.#seen ||= wrong === undefined;
    this.#missing = wrong !== undefined && (this.#ours || this.#seen) ? wrong : undefined;
    if (!this.#ours || this.#missing === undefined) return false;
    if (!this.#relaunch())
      await promisify(execFile)(this.#skylanectl, ["install-cni", "--bin-dir", this.#binDir], { timeout: PATIENCE_MS });
    this.#missing = this.#wrong();
    if (this.#missing !== undefined) throw new Error(this.#missing);
    return true;
  }

  /** Makes the launchers again, which is quick, where all that they need is there. @returns whether that was all. @throws Error of fs */
  #relaunch(): boolean {
    const home = current(this.#binDir);
    // an installation holds the launcher under the name of the command line
    const launcher = join(home, "skylanectl");
    if (![launcher, ...NEEDED.map((name) => join(home, name))].every((file) => sizeOf(file) > 0)) return false;
    const text = readFileSync(launcher);
    for (const name of ["skylane", "loopback"]) {
      const path = join(this.#binDir, name);
      // somebody else's loopback plugin stays
      if (name !== "loopback" || sizeOf(path) === 0) writeFileAtomic(path, text, { mode: 0o755, durable: true });
    }
    return this.#wrong() === undefined;
  }

  /** What is wrong with it, in words. */
  #wrong(): string | undefined {
    const path = join(this.#binDir, "skylane");
    const loopback = join(this.#binDir, "loopback");
    const home = current(this.#binDir);
    const files = this.#ours ? [path, loopback, ...NEEDED.map((name) => join(home, name))] : [path];
    const stamps: string[] = [];
    for (const file of files) {
      const stat = statSync(file, { throwIfNoEntry: false });
      if (!stat?.isFile() || stat.size === 0) return `${file}, the CNI plugin's, is missing: pods cannot start or stop`;
      stamps.push(`${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.mode}`);
    }
    const stamp = stamps.join("\n");
    if (stamp === this.#stamp) return undefined;
    try {
      for (const file of [path, loopback]) if (files.includes(file)) accessSync(file, constants.X_OK);
    } catch {
      return `${path} cannot be executed: pods cannot start or stop`;
    }
    if (this.#ours && !isLauncher(path)) return `${path} is not Skylane's CNI plugin: pods cannot start or stop`;
    this.#stamp = stamp;
    return undefined;
  }
}
