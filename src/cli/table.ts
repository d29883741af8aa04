/**
 * Text tables for people: columns as wide as their widest cell, two spaces between them, no frames, so that
 * they stay readable in an 80-column terminal and `awk` can still take them apart.
 */

/** A cell; numbers are aligned to the right. */
export type Cell = string | number | undefined;

/** Columns a character takes in a terminal, near enough: combining marks none, all that Skylane prints one. */
const width = (text: string): number => Array.from(text).length;

/** Control characters of text from outside (annotations, names) made visible, so that no cell can move the cursor. */
export function harmless(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
}

/**
 * Renders rows under their headings; no trailing spaces, a newline after every line. An undefined or empty cell
 * is printed as "-".
 */
export function table(headings: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const cells = rows.map((row) => headings.map((_, i) => harmless(row[i] === undefined ? "" : String(row[i])) || "-"));
  const right = headings.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] === "number"));
  const widths = headings.map((heading, i) => Math.max(width(heading), ...cells.map((row) => width(row[i] as string))));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => {
        const pad = " ".repeat((widths[i] as number) - width(cell));
        return right[i] ? pad + cell : cell + pad;
      })
      .join("  ")
      .trimEnd();
  return [headings, ...cells].map((row) => `${line(row)}\n`).join("");
}

/** Renders "name: value" lines with the values in one column. */
export function properties(pairs: readonly (readonly [name: string, value: Cell])[]): string {
  const widest = Math.max(0, ...pairs.map(([name]) => width(name)));
  return pairs
    .map(([name, value]) => `${name}:${" ".repeat(widest - width(name) + 2)}${harmless(String(value ?? "-")) || "-"}\n`)
    .join("");
}

/** A number of seconds as people say it: "4s", "3m12s", "2h5m", "6d3h". */
export function age(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${s % 60}s`;
  if (s < 86_400) return `${Math.floor(s / 3600)}h${Math.floor((s % 3600) / 60)}m`;
  return `${Math.floor(s / 86_400)}d${Math.floor((s % 86_400) / 3600)}h`;
}

/** A number of milliseconds as people say it: "0.08 ms", "12 ms", "3.4 s". */
export function duration(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 10) return `${ms.toFixed(0)} ms`;
  return `${ms.toFixed(ms >= 1 ? 1 : 2)} ms`;
}
