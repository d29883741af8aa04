/** `skylanectl probes`: what the agent of this node measures of its peers, and what it makes of that. */
import type { PeerFigures, ProbesStatus } from "../../probes/index.ts";
import { AGENT_SOCKET, askAgentForJson } from "../agent/client.ts";
import { type Command, OUTPUT, UsageError } from "../command.ts";
import { type Cell, harmless, properties, table } from "../table.ts";

/** The agent's answer. */
export interface ProbesDocument extends ProbesStatus {
  figures: PeerFigures[];
}

const ms = (value: number | undefined): Cell => (value === undefined ? "" : `${value.toFixed(value < 10 ? 2 : 1)} ms`);
const percent = (value: number | undefined): Cell => (value === undefined ? "" : `${(value * 100).toFixed(1)} %`);

/** For people. @param only peers to show, all by default */
export function renderProbes(document: ProbesDocument, only?: string): string {
  const { on, message, peers, verdicts, figures } = document;
  const rows = figures
    .filter(({ node }) => only === undefined || node === only)
    .flatMap(({ node, paths }) =>
      paths.map((path): Cell[] => [
        node,
        path.path,
        path.ip,
        path.seen ?? "not measured yet",
        ms(path.rttMs),
        percent(path.loss),
        path.mtu ?? "",
        path.routes ?? "",
      ]),
    );
  return [
    properties([
      ["Probes", `${on ? "on" : "off"}: ${message}`],
      ["Peers", `${peers.all}, ${peers.measured} measured, ${peers.faulty} faulty`],
    ]),
    ...verdicts.map(
      ({ found, meaning, cure, since }) =>
        `\n${since} ${harmless(found)}\n  means: ${harmless(meaning)}\n  cure:  ${harmless(cure)}\n`,
    ),
    rows.length > 0
      ? `\n${table(["PEER", "PATH", "ADDRESS", "IS", "ROUND TRIP", "LOSS", "MTU", "ROUTES' MTU"], rows)}`
      : "\nNo peers.\n",
  ].join("");
}

/** The command; exit status 1 when something is wrong. */
export const probesCommand: Command = {
  words: ["probes"],
  summary: "Shows loss, latency and MTU to each peer, and what is wrong between nodes",
  operands: "[NODE]",
  count: [0, 1],
  options: { ...OUTPUT, socket: { value: "PATH", help: `the agent's socket (${AGENT_SOCKET})` } },
  details:
    "Measured by the agent all the time (probes: on), in the tunnel in each family and beside it. Exit status: 0 nothing is wrong, 1 something is, or there is no answer, 2 wrong command line or no such peer.",
  async run(input) {
    const [only] = input.operands;
    const document = await askAgentForJson<ProbesDocument>("/probes", input.text("socket") ?? AGENT_SOCKET);
    if (only !== undefined && !document.figures.some(({ node }) => node === only))
      throw new UsageError(`this node has no peer "${only}"`);
    process.stdout.write(input.json ? `${JSON.stringify(document, null, 2)}\n` : renderProbes(document, only));
    return document.on && document.verdicts.length === 0 ? 0 : 1;
  },
};
