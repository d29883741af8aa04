/** A trace for people: the ends, each hop as it should be and as it is, and what is wrong. */
import { socketAddress } from "../../addr/index.ts";
import { harmless, properties, table } from "../table.ts";
import type { Trace } from "./join.ts";
import { renderLive } from "./live/render.ts";
import type { HopState, Way } from "./types.ts";
import type { Backend, ServiceEnd } from "./service.ts";
import type { ServiceTrace } from "./kubectl.ts";

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
export function renderTrace({ from, to, network, way, hops, wrong, missing, live }: Trace): string {
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
    live ? renderLive(live) : "",
  ].join("");
}

const backendOf = (one: Backend): string =>
  `${socketAddress(one)}${one.pod === undefined ? "" : `, pod ${one.pod}`}${one.node === undefined ? "" : `, on ${one.node}`}`;

function renderService({ name, ips, port, protocol, backends, wrong }: ServiceEnd): string {
  const heading = properties([
    ["Service", `${name}, ${protocol} port ${port}, at ${ips.join(", ") || "no address of its own (headless)"}`],
    ["Sent to", backends.map(backendOf).join("; ") || "nobody"],
  ]);
  return wrong
    ? `${heading}\n${harmless(wrong.is)}\n  means:  ${harmless(wrong.means)}\n  cure:   ${harmless(wrong.cure)}\n`
    : heading;
}

/** The text of a Service and of the ways to the pods behind it. */
export const renderServiceTrace = ({ service, traces, more }: ServiceTrace): string =>
  [
    renderService(service),
    ...traces.map(
      (one) =>
        `\n=== to ${harmless(backendOf(one.backend))}\n${one.trace ? renderTrace(one.trace) : `cannot be followed: ${harmless(one.missing ?? "")}\n`}`,
    ),
    more > 0 ? `\n${more} more behind it were not followed: trace to them one by one.\n` : "",
  ].join("");
