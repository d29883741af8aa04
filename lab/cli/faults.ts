/** `lab drift`, and `lab api …`: things that go wrong on purpose. */
import { randomInt } from "node:crypto";
import { type Command, duration, type Input, table, UsageError } from "../../src/cli/index.ts";
import type { FaultSettings } from "../api/index.ts";
import { apiRecord } from "../cluster/context.ts";
import { type Drift, DRIFT_KINDS, type DriftKind } from "../pods/drift.ts";
import { callControl } from "../control/client.ts";
import { ANSWER, answer, NAME, print, withLab } from "./common.ts";

/** Deleted entries and how long each was away. */
export const driftTable = (drifts: readonly Drift[]): string =>
  table(
    ["NODE", "DELETED", "ENTRY", "BACK AFTER"],
    drifts.map(({ node, kind, entry, repairedMs }) => [
      node,
      kind,
      entry,
      repairedMs === undefined ? "NOT REPAIRED" : duration(repairedMs),
    ]),
  );

function kindsOf(input: Input): readonly DriftKind[] {
  const kind = input.text("kind");
  if (kind === undefined) return DRIFT_KINDS;
  const found = DRIFT_KINDS.find((known) => known === kind);
  if (!found) throw new UsageError(`--kind must be one of ${DRIFT_KINDS.join(", ")}, not "${kind}"`);
  return [found];
}

const drift: Command = {
  words: ["lab", "drift"],
  summary: "Deletes entries at random on nodes and shows how soon they are back",
  operands: "[NODE…]",
  count: [0, 200],
  options: {
    ...ANSWER,
    count: { value: "N", help: "how many (10)" },
    kind: { value: "KIND", help: `only ${DRIFT_KINDS.join(", ")}` },
  },
  details: "Exit status 1 when one was not back within 5 seconds.",
  run: (input) =>
    withLab(input, async (lab) => {
      const kinds = kindsOf(input);
      const count = input.number("count", 1, 10_000) ?? 10;
      const chosen = input.operands.map((name) => lab.node(name));
      const nodes = (chosen.length > 0 ? chosen : lab.nodes()).filter((node) => node.init);
      if (nodes.length === 0) throw new UsageError("no node is on");
      const drifts: Drift[] = [];
      for (let i = 0; i < count; i++) {
        const node = nodes[randomInt(nodes.length)] as (typeof nodes)[number];
        drifts.push(await lab.drift(node.name, { kind: kinds[i % kinds.length] as DriftKind }));
      }
      await answer(input, drifts, () => driftTable(drifts));
      return drifts.every(({ repairedMs }) => repairedMs !== undefined) ? 0 : 1;
    }),
};

/** What the API server can be told, by the words for it; `value` is what comes after the colon. */
const FAULTS: Readonly<Record<string, { help: string; settings(value: string | undefined): FaultSettings }>> = {
  "drop-watches": { help: "ends every open watch, once (:reset breaks the connections)", settings: drop },
  "expire-watches": { help: "410 Gone on every open watch, once", settings: () => ({ expireWatches: true }) },
  compact: { help: "forgets its history, so that older versions are 410", settings: () => ({ compact: true }) },
  "stall-watches": { help: "watches stay open and silent", settings: () => ({ stallWatches: true }) },
  "empty-list": { help: "lists and new watches show no nodes", settings: () => onNodes({ kind: "empty-list" }) },
  status: { help: "answers with an error: status:429, status:500, status:410", settings: status },
  stall: { help: "takes requests and never answers", settings: () => all({ kind: "stall" }) },
  reset: { help: "breaks the connection of every request", settings: () => all({ kind: "reset" }) },
  "no-watch-list": { help: "refuses watch lists, as servers before 1.32", settings: () => ({ watchList: false }) },
  away: { help: "is gone (away:5000 for so many milliseconds)", settings: away },
  back: { help: "is there again", settings: () => ({ away: false }) },
};

type Action = NonNullable<FaultSettings["rules"]>[number]["action"];
const all = (action: Action): FaultSettings => ({ rules: [{ action }] });
const onNodes = (action: Action): FaultSettings => ({ rules: [{ match: { resources: ["nodes"] }, action }] });

function whole(value: string | undefined, what: string): number {
  if (value === undefined || !/^\d{1,9}$/.test(value)) throw new UsageError(`${what} needs a whole number after ":"`);
  return Number(value);
}

function drop(value: string | undefined): FaultSettings {
  return { dropWatches: value === "reset" ? "reset" : "end" };
}

function status(value: string | undefined): FaultSettings {
  return all({ kind: "status", code: whole(value, "status") });
}

function away(value: string | undefined): FaultSettings {
  return { away: value === undefined ? true : { ms: whole(value, "away") } };
}

const fault: Command = {
  words: ["lab", "api", "fault"],
  summary: "Makes the API server misbehave, or behave again (without a FAULT)",
  operands: "[FAULT…]",
  count: [0, 10],
  options: { ...NAME, json: { value: "JSON", help: "settings as lab/api/faults.ts takes them" } },
  details: `Faults:\n${Object.entries(FAULTS)
    .map(([name, { help }]) => `  ${name.padEnd(16)}${help}\n`)
    .join("")}`,
  run: (input) =>
    withLab(input, async (lab) => {
      const given = input.text("json");
      const settings: FaultSettings[] = given === undefined ? [] : [JSON.parse(given) as FaultSettings];
      for (const word of input.operands) {
        const [name, value] = word.split(":") as [string, string | undefined];
        const found = Object.hasOwn(FAULTS, name) ? FAULTS[name] : undefined;
        if (!found) throw new UsageError(`no fault "${name}"; there are ${Object.keys(FAULTS).join(", ")}`);
        settings.push(found.settings(value));
      }
      if (settings.length === 0) await lab.clearFaults();
      for (const one of settings) await lab.setFaults(one);
      await print(`${JSON.stringify(await callControl(lab.context, "GET", "/faults"))}\n`);
      return 0;
    }),
};

const get: Command = {
  words: ["lab", "api", "get"],
  summary: "GETs a path of the API server (/api/v1/nodes by default)",
  operands: "[PATH]",
  count: [0, 1],
  options: NAME,
  run: (input) =>
    withLab(input, async (lab) => {
      const found = await lab.api.call("GET", input.operands[0] ?? "/api/v1/nodes");
      await print(`${JSON.stringify(found, null, 2)}\n`);
      return 0;
    }),
};

const stats: Command = {
  words: ["lab", "api", "stats"],
  summary: "Shows the API server's requests by verb, resource and answer, and its open watches",
  options: NAME,
  run: (input) =>
    withLab(input, async (lab) => {
      await print(`${JSON.stringify(await callControl(lab.context, "GET", "/stats"), null, 2)}\n`);
      return 0;
    }),
};

const kubeconfig: Command = {
  words: ["lab", "api", "kubeconfig"],
  summary: "Prints a kubeconfig for the administrator, for use on the lab's nodes",
  options: NAME,
  run: (input) =>
    withLab(input, async (lab) => {
      await print(apiRecord(lab.context).kubeconfig);
      return 0;
    }),
};

export const faultCommands: readonly Command[] = [drift, fault, get, stats, kubeconfig];
