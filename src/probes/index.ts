/** Measuring the peers, inside the tunnel and beside it, and judging what is wrong between nodes. */
export { FAULTS } from "./judge.ts";
export { answersTcp } from "./look.ts";
export { Probes } from "./probes.ts";
export type { PeerFigures, ProbeCount, ProbesStatus, StandingVerdict } from "./status.ts";
