/** Rows as a table: for a terminal and for bench/results.md. */
import { met, type Row, type Target } from "./row.ts";
import type { Spread } from "./stats.ts";

const digits = (value: number): string => {
  const size = Math.abs(value);
  return size >= 1000
    ? value.toFixed(0)
    : size >= 100
      ? value.toFixed(1)
      : size >= 1
        ? value.toFixed(2)
        : value.toFixed(3);
};

/** "41.2 ms (40.1 … 44.0)": median and the middle half. */
export const spreadText = ({ median, low, high, count }: Spread, unit: string): string =>
  `${digits(median)} ${unit}${count > 1 ? ` (${digits(low)} … ${digits(high)})` : ""}`;

export function targetText(target: Target | undefined, unit: string): string {
  if (!target) return "";
  const suffix = target.of === "ratio" ? "×" : unit;
  const { atLeast, atMost } = target;
  if (atLeast !== undefined && atMost !== undefined) return `${atLeast} … ${atMost} ${suffix}`;
  return atMost !== undefined ? `≤ ${atMost} ${suffix}` : `≥ ${atLeast ?? 0} ${suffix}`;
}

const verdict = (row: Row): string => {
  const is = met(row);
  return is === undefined ? "" : is ? "yes" : "no";
};

const HEAD = ["measure", "Skylane", "against", "its value", "ratio", "target", "met"];

const cells = (row: Row): string[] => [
  row.measure,
  spreadText(row.ours, row.unit),
  row.peer?.name ?? "",
  row.peer ? spreadText(row.peer.value, row.unit) : "",
  row.ratio ? spreadText(row.ratio, "×") : "",
  targetText(row.target, row.unit),
  verdict(row),
];

/** For a terminal. */
export function plainTable(rows: readonly Row[]): string {
  const lines = [HEAD, ...rows.map(cells)];
  const widths = HEAD.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? "").length)));
  return lines
    .map((line) =>
      line
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** For a document. */
export function markdownTable(rows: readonly Row[]): string {
  const line = (parts: readonly string[]): string => `| ${parts.join(" | ")} |`;
  return [line(HEAD), line(HEAD.map(() => "---")), ...rows.map((row) => line(cells(row)))].join("\n");
}
