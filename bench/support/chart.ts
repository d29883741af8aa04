/** Every row with a target as a bar: how far the measured value lies from it, so that unlike units fit one picture. */
import { met, type Row } from "./row.ts";
import { spreadText, targetText } from "./text.ts";

const WIDTH = 960;
const LEFT = 470;
const SCALE = 150;
const STEP = 30;
const TOP = 70;
/** Bars longer than this many times the target are cut and say so by their number. */
const LONGEST = 2.4;

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

/** Value / target; for targets that want more rather than less, the other way round: under 1 is good. */
function distance({ target, ours, ratio }: Row): number {
  const value = (target?.of === "ratio" ? ratio?.median : ours.median) ?? 0;
  const { atMost, atLeast } = target ?? {};
  return Math.max(0, atMost === undefined ? 0 : value / atMost, atLeast === undefined ? 0 : atLeast / value);
}

/** The picture. */
export function chart(rows: readonly Row[]): string {
  const judged = rows.filter((row) => met(row) !== undefined);
  const height = TOP + judged.length * STEP + 20;
  const limit = LEFT + SCALE;
  const bars = judged.flatMap((row, at) => {
    const y = TOP + at * STEP;
    const length = Math.max(2, Math.min(distance(row), LONGEST) * SCALE);
    const { target, ratio } = row;
    const value = target?.of === "ratio" && ratio ? { ...ratio, count: 1 } : { ...row.ours, count: 1 };
    const unit = target?.of === "ratio" ? "×" : row.unit;
    const against = target?.of === "ratio" && row.peer ? ` : ${row.peer.name}` : "";
    const color = met(row) ? "#3b8f6a" : "#c8713c";
    return [
      `<text x="${LEFT - 12}" y="${y + 14}" text-anchor="end">${escaped(row.measure + against)}</text>`,
      `<rect x="${LEFT}" y="${y}" width="${length.toFixed(1)}" height="19" rx="3" fill="${color}"/>`,
      `<text x="${LEFT + length + 8}" y="${y + 14}" fill="#42526a">${escaped(`${spreadText(value, unit)}  (${targetText(target, row.unit)})`)}</text>`,
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12" fill="#1d2a3d">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="20" y="28" font-size="17" font-weight="bold">Measured against its target</text>`,
    `<text x="20" y="47" fill="#42526a">A bar up to the line is a target just met; shorter is better. Green: met.</text>`,
    ...bars,
    `<line x1="${limit}" y1="${TOP - 10}" x2="${limit}" y2="${height - 12}" stroke="#1d2a3d" stroke-dasharray="4 3"/>`,
    "</svg>",
    "",
  ].join("\n");
}
