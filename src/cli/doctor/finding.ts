/** What the doctor says about one thing, and how it is shown. */
import { harmless, table } from "../table.ts";

/**
 * ok; warn: works, but something may go wrong, or is a leftover; fail: pods or their packets suffer; skip: could not
 * be looked at from here, which says nothing about it.
 */
export type Level = "ok" | "warn" | "fail" | "skip";

/** One check and its outcome. */
export interface Finding {
  /** Name of the check, "group.thing": stable, for scripts. */
  check: string;
  level: Level;
  /** What was found, in one line. */
  found: string;
  /** What follows from it for pods and nodes; with warn and fail. */
  meaning?: string;
  /** What to do about it; with warn and fail. */
  cure?: string;
}

export const ok = (check: string, found: string): Finding => ({ check, level: "ok", found });
export const skip = (check: string, found: string): Finding => ({ check, level: "skip", found });
export const warn = (check: string, found: string, meaning: string, cure: string): Finding => ({
  check,
  level: "warn",
  found,
  meaning,
  cure,
});
export const fail = (check: string, found: string, meaning: string, cure: string): Finding => ({
  check,
  level: "fail",
  found,
  meaning,
  cure,
});

/** A list for a line: the first few, and how many more there are. */
export function some(items: readonly string[], most = 5): string {
  const shown = items.slice(0, most).join(", ");
  return items.length > most ? `${shown} and ${items.length - most} more` : shown;
}

/** How many findings there are of each level. */
export function count(findings: readonly Finding[]): Record<Level, number> {
  const sum: Record<Level, number> = { ok: 0, warn: 0, fail: 0, skip: 0 };
  for (const { level } of findings) sum[level]++;
  return sum;
}

const ORDER: readonly Level[] = ["fail", "warn"];

/** For people: a table of all checks, then each trouble with its meaning and cure, the worst first. */
export function render(findings: readonly Finding[]): string {
  const rows = findings.map(({ check, level, found }) => [check, level === "fail" ? "FAIL" : level, found]);
  const troubles = ORDER.flatMap((level) => findings.filter((finding) => finding.level === level));
  const { ok: fine, warn: warnings, fail: failures, skip: skipped } = count(findings);
  return [
    table(["CHECK", "RESULT", "FOUND"], rows),
    ...troubles.map(
      ({ check, level, found, meaning = "", cure = "" }) =>
        `\n${level === "fail" ? "FAIL" : "warn"} ${harmless(check)}: ${harmless(found)}\n  means: ${harmless(meaning)}\n  cure:  ${harmless(cure)}\n`,
    ),
    `\n${fine} ok, ${warnings} warnings, ${failures} failures, ${skipped} not looked at\n`,
  ].join("");
}
