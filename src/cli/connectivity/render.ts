/** The report for people. */
import { type Cell, harmless, table } from "../table.ts";
import type { Failure, Report, Row } from "./judge.ts";

/** Lines of one failure, the others counted. */
const MOST_LINES = 8;

const row = ({ title, family, passed, failed, unasked }: Row): Cell[] => [
  title,
  family === undefined ? "" : `IPv${family}`,
  failed > 0 ? "FAILED" : unasked > 0 ? "UNKNOWN" : "ok",
  passed,
  failed,
  unasked,
];

function failureText({ what, is, next, traced }: Failure, n: number): string {
  const more = is.length - MOST_LINES;
  const lines = [...is.slice(0, MOST_LINES), ...(more > 0 ? [`and ${more} more`] : [])];
  return [
    `\n${n + 1}. ${harmless(what)}\n`,
    ...lines.map((text) => `   is:    ${harmless(text)}\n`),
    ...(traced === undefined ? [] : [`   trace: ${harmless(traced)}\n`]),
    `   next:  ${harmless(next)}\n`,
  ].join("");
}

/** The text. @param kept whether the pods are still there */
export function renderReport(report: Report, kept: boolean): string {
  const { ok, namespace, nodes, rows, failures, skipped, concerns, notes } = report;
  const cells = [...rows.map(row), ...skipped.map(({ title }): Cell[] => [title, "", "skipped"])];
  return [
    table(["CHECK", "FAMILY", "RESULT", "PASSED", "FAILED", "NOT ASKED"], cells),
    ...skipped.map(({ title, why }) => `\nskipped, ${title}: ${harmless(why)}`),
    ...notes.map((note) => `\n${harmless(note)}`),
    skipped.length + notes.length > 0 ? "\n" : "",
    ...failures.map(failureText),
    concerns === undefined ? "" : `\nEverything that fails is about ${harmless(concerns)}.\n`,
    ok
      ? `\nEverything that was tried works, on ${nodes} ${nodes === 1 ? "node" : "nodes"}.\n`
      : kept
        ? ""
        : "\nThe pods are gone: with --keep they stay, so that what is written under next can be done.\n",
    kept
      ? `\nThe pods are left in namespace ${namespace}; kubectl skylane connectivity test --cleanup removes them.\n`
      : "",
  ].join("");
}
