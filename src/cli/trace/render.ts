/** A trace for people: the ends, each hop as it should be and as it is, and what is wrong. */
import { harmless, properties, table } from "../table.ts";
import type { Trace } from "./join.ts";
import type { HopState, Way } from "./types.ts";

const WAYS: Readonly<Record<Way, string>> = {
  here: "within the node",
  tunnel: "through the tunnel",
  direct: "directly, without the tunnel",
  bridge: "over the network's bridge, through the tunnel",
};

const RESULTS: Readonly<Record<HopState, string>> = { ok: "ok", wrong: "WRONG", unknown: "unknown" };

const endOf = ({ ip, pod, node }: Trace["from"]): string =>
  `${ip}${pod === undefined ? "" : `, pod ${pod}`}${node === undefined ? "" : `, on ${node}`}`;

/** The text. */
export function renderTrace({ from, to, network, way, hops, wrong, missing }: Trace): string {
  const rows = hops.map(({ node, hop, should, is, state }) => [node, hop, RESULTS[state], should, is]);
  const unknown = hops.filter(({ state }) => state === "unknown").length;
  return [
    properties([
      ["From", endOf(from)],
      ["To", endOf(to)],
      ["Network", `${network}, ${WAYS[way]}`],
    ]),
    `\n${table(["NODE", "HOP", "RESULT", "SHOULD BE", "IS"], rows)}`,
    wrong
      ? `\nThe first that is wrong is ${harmless(wrong.hop)} on ${harmless(wrong.node)}.\n` +
        `  should: ${harmless(wrong.should)}\n  is:     ${harmless(wrong.is)}\n  means:  ${harmless(wrong.means ?? "")}\n  cure:   ${harmless(wrong.cure ?? "")}\n`
      : `\nNothing is wrong on this way${unknown > 0 ? `, as far as could be told (${unknown} unknown)` : ""}. Answers take the way back: trace it with the two ends exchanged.\n`,
    missing === undefined ? "" : `\n${harmless(missing)}\n`,
  ].join("");
}
