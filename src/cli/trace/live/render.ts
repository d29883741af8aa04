/** A live trace for people. */
import { harmless, table } from "../../table.ts";
import type { Live, LiveHop } from "./types.ts";

const rowOf = ({ node, hop, packets, place, note }: LiveHop): (string | number)[] => [
  node,
  hop,
  packets === undefined ? "?" : String(packets),
  note === undefined ? place : `${place}; ${note}`,
];

/** The text. */
export function renderLive({ hops, sent, passed, is, cure, missing }: Live): string {
  return [
    `\nMarked packets sent: ${sent}\n\n`,
    table(["NODE", "HOP", "SEEN", "WHERE IT"], hops.map(rowOf)),
    passed.length === 0 ? "" : `\nLet pass by chains: ${harmless(passed.join(", "))}\n`,
    `\n${harmless(is)}\n`,
    cure === undefined ? "" : `  cure:   ${harmless(cure)}\n`,
    missing === undefined ? "" : `\n${harmless(missing)}\n`,
  ].join("");
}
