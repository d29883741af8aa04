/** What a whole run leaves in the repository: bench/results.md and the picture in docs/performance.md. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { chart } from "./chart.ts";
import { ROOT } from "./context.ts";
import { met, type Row } from "./row.ts";
import { markdownTable } from "./text.ts";

const git = (...args: string[]): string => {
  try {
    return execFileSync("git", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return ""; // an archive without its history
  }
};

const loadAverage = (): string => readFileSync("/proc/loadavg", "utf8").split(" ").slice(0, 3).join(" ");

/** What the numbers were measured on. */
function conditions(load: string): string[] {
  const commit = git("rev-parse", "--short=12", "HEAD") || "unknown";
  const changed = git("status", "--porcelain", "--", "src", "cmd", "bench") === "" ? "" : ", with changes";
  return [
    `- machine: ${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown"}, ${Math.round(totalmem() / 2 ** 30)} GiB`,
    `- kernel: Linux ${release()}; Node ${process.version}`,
    `- date: ${new Date().toISOString().slice(0, 10)}, commit: ${commit}${changed}`,
    `- load average: ${load} before, ${loadAverage()} after; whatever else ran on the machine is in the numbers, and least in the ratios`,
  ];
}

/** Call it before measuring; what it returns writes the report. */
export function report(): (rows: readonly Row[], seconds: number) => void {
  const load = loadAverage();
  return (rows, seconds) => {
    const groups = [...new Set(rows.map(({ group }) => group))];
    const judged = rows.filter((row) => met(row) !== undefined);
    const text = [
      "# Results of `npm run bench`",
      "",
      "Written by the bench itself; [docs/performance.md](../docs/performance.md) explains the rows.",
      "Medians, and in brackets the middle half of the samples. A ratio is ours / theirs of pairs measured in turns.",
      "",
      ...conditions(load),
      `- ${judged.filter((row) => met(row)).length} of ${judged.length} targets met; the run took ${Math.round(seconds)} s`,
      ...groups.flatMap((group) => ["", `## ${group}`, "", markdownTable(rows.filter((row) => row.group === group))]),
      "",
    ];
    writeFileSync(join(ROOT, "bench/results.md"), text.join("\n"));
    writeFileSync(join(ROOT, "docs/pictures/performance.svg"), chart(rows));
  };
}
