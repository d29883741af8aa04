/** What a measurement is given: how thorough it may be, where it says what it does, and where its rubbish goes. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Row } from "./row.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** The built executables. */
export const BIN = join(root, "dist/bin");
/** The repository. */
export const ROOT = root;

export interface Context {
  /** Fewer samples and smaller clusters: shows that everything still runs, in under four minutes. */
  quick: boolean;
  /** Nodes of the simulator; absent: its own choice. */
  nodes?: number;
  /** A directory that goes with the run. */
  dir: string;
  /** A line for the one who waits. */
  say(text: string): void;
  /** Something could not be measured: the run goes on, and ends as a failure. */
  failed(error: unknown): void;
  /** Releases what was made, last first, when the measurement has ended, however it ends. */
  onEnd(release: () => void | Promise<void>): void;
}

/** A measurement: some rows that share their setup. */
export interface Measurement {
  name: string;
  title: string;
  run(context: Context): Promise<Row[]>;
}

/** Where those of bench/native are that somebody has compiled before, for a machine without a compiler. */
const COMPILED = join(root, "bench/native/compiled");

/** Compiles one of bench/native. @param out where to */
export function compile(name: string, out: string): void {
  const source = join(root, "bench/native", `${name}.c`);
  execFileSync("cc", ["-std=c11", "-O2", "-Wall", "-Wextra", "-static", "-o", out, source], { stdio: "inherit" });
}

/** One of bench/native, compiled into the run's directory; its path. */
export function native(context: Context, name: string): string {
  const before = join(COMPILED, name);
  if (existsSync(before)) return before;
  const out = join(context.dir, name);
  compile(name, out);
  return out;
}

/** Runs one measurement and cleans up after it. */
export async function measured(
  measurement: Measurement,
  options: Pick<Context, "quick" | "say" | "failed"> & { nodes?: number | undefined },
): Promise<Row[]> {
  const { nodes, ...rest } = options;
  const releases: (() => void | Promise<void>)[] = [];
  const dir = mkdtempSync(join(tmpdir(), "skylane-bench-"));
  releases.push(() => rmSync(dir, { recursive: true, force: true }));
  try {
    const onEnd = (release: () => void | Promise<void>): void => void releases.push(release);
    return await measurement.run({ ...rest, ...(nodes !== undefined && { nodes }), dir, onEnd });
  } finally {
    for (const release of releases.toReversed()) {
      try {
        await release();
      } catch (error) {
        options.say(`cleaning up: ${String(error)}`);
      }
    }
  }
}
