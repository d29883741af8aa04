/** Words for people. */
import type { MapNode, PairState } from "../wire.ts";
import type { Cell } from "./mirror.ts";

/** What a state of a pair means. */
export const STATE_WORDS: Readonly<Record<PairState, string>> = {
  unknown: "not measured",
  answers: "answers",
  down: "no answer at all",
  silent: "no answer through the tunnel",
  tunnel: "answers beside the tunnel alone",
  family4: "no IPv4 through the tunnel",
  family6: "no IPv6 through the tunnel",
  narrow: "large packets do not pass",
  fragments: "passes in fragments",
  loss: "packets are lost",
};

export const NODE_WORDS: Readonly<Record<MapNode["state"], string>> = {
  unknown: "not asked yet",
  ready: "ready",
  "not-ready": "not ready",
  silent: "does not answer",
};

const duration = (ms: number): string => (ms < 10 ? `${ms.toFixed(2)} ms` : `${ms.toFixed(0)} ms`);

/** Round trips of before say nothing about who does not answer. */
const SILENT: readonly PairState[] = ["unknown", "down", "silent", "tunnel"];

export const cellWords = ({ state, rttMs }: Cell): string =>
  `${STATE_WORDS[state]}${rttMs === undefined || SILENT.includes(state) ? "" : `, ${duration(rttMs)}`}`;

/** How long ago, in one unit. */
export function ago(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

const two = (n: number): string => String(n).padStart(2, "0");

/** Time of day here. */
export function clock(at: number): string {
  const date = new Date(at);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
}
