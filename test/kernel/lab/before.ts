/** An older build of Skylane, for tests in which nodes of two versions meet. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../..", import.meta.url));
/** The last commit before the sources were cut into rooms: everything inside is another, and everything between nodes is to be the same. */
export const BEFORE = "f621862ffc0389fbb190f9b64d66f7f40559da08";

/** Whoever the tree belongs to: nothing of it is run by git. */
const git = (...args: string[]): string[] => ["-c", `safe.directory=${root.replace(/\/$/, "")}`, "-C", root, ...args];

/** Why that commit cannot be built here; undefined where it can be. */
export function missingHistory(): string | undefined {
  const { status } = spawnSync("git", git("cat-file", "-e", `${BEFORE}^{tree}`), { stdio: "ignore" });
  if (status === 0) return undefined;
  return `commit ${BEFORE.slice(0, 7)}, the version before, is not in this clone (a shallow one, or none at all); git fetch --unshallow brings it`;
}

/**
 * Builds it, beside this build, where that was not done since this one was made.
 * @param dist this build's directory. @returns the directory of the older one. @throws Error when it cannot be built
 */
export function buildBefore(dist: string): string {
  const there = join(dist, `before-${BEFORE.slice(0, 7)}`);
  if (existsSync(there)) return there;
  const tree = mkdtempSync(join(dist, "before."));
  try {
    const archive = execFileSync("git", git("archive", BEFORE), { maxBuffer: 64 << 20 });
    execFileSync("tar", ["-x", "-C", tree], { input: archive });
    symlinkSync(join(root, "node_modules"), join(tree, "node_modules"));
    const env = { ...process.env, SKYLANE_COMMIT: BEFORE };
    execFileSync(process.execPath, ["scripts/build.mjs"], { cwd: tree, env, stdio: ["ignore", "ignore", "inherit"] });
    renameSync(join(tree, "dist"), there);
  } finally {
    rmSync(tree, { recursive: true, force: true });
  }
  return there;
}

/** Directories of executables, one a node, that lead to one build or another. */
export class Versions {
  readonly #dir: string;
  readonly #builds: { before: string; now: string };

  /** @param dist this build's directory */
  constructor(dist: string) {
    this.#builds = { before: buildBefore(dist), now: dist };
    this.#dir = mkdtempSync(join(dist, "versions."));
  }

  /** Where a node is to have its executables from. */
  binDir(node: string): string {
    return join(this.#dir, node, "bin");
  }

  /** Has the next start of anything on a node be of a build; what runs goes on. */
  set(node: string, version: "before" | "now"): void {
    const fresh = join(this.#dir, `${node}.fresh`);
    mkdirSync(this.#dir, { recursive: true });
    symlinkSync(this.#builds[version], fresh);
    // In one step: at no time is there none.
    renameSync(fresh, join(this.#dir, node));
  }

  remove(): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
