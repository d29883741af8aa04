/**
 * What an agent answers, as facts. It is a node that says it, perhaps of another release: each value is held against what it should be, and cut to what is
 * shown at most.
 */
import { isObject, type Json } from "../../../json/index.ts";
import type { AgentFacts } from "../model/facts.ts";
import type { Measured } from "../model/pairs.ts";
import { cut } from "../model/time-line.ts";
import { PAIR_STATES, type PairState } from "../wire.ts";

const MOST_NETWORKS = 200;
const MOST_REFUSED = 100;
const MOST_VERDICTS = 50;
const MOST_CIDRS = 8;

const objects = (value: unknown, most: number): Json[] =>
  (Array.isArray(value) ? (value as unknown[]) : []).filter(isObject).slice(0, most);
const text = (value: unknown): string => (typeof value === "string" ? cut(value) : "");
const count = (value: unknown): number => (typeof value === "number" && Number.isFinite(value) ? value : 0);
const texts = (value: unknown, most: number): string[] =>
  (Array.isArray(value) ? (value as unknown[]) : [])
    .filter((one) => typeof one === "string")
    .slice(0, most)
    .map(text);
const member = (value: unknown, key: string): unknown => (isObject(value) ? value[key] : undefined);

/** The answer to `status`. @throws TypeError when it is none */
export function agentFacts(document: unknown): AgentFacts {
  const ready = member(member(document, "ready"), "ready");
  if (!isObject(document) || typeof ready !== "boolean") throw new TypeError("its answer is no status");
  const networks = objects(document["networks"], MOST_NETWORKS);
  const failing = objects(member(document["ready"], "checks"), 50).find(({ ok }) => ok !== true);
  const api = document["api"];
  const error = text(member(api, "error"));
  return {
    version: text(document["version"]),
    api: `${text(member(api, "state"))}${error === "" ? "" : `: ${error}`}`,
    ready,
    ...(!ready && { why: failing ? `${text(failing["name"])}: ${text(failing["message"])}` : "it does not say why" }),
    uptimeSeconds: count(document["uptimeSeconds"]),
    vteps: networks.map(vtepOf),
    refused: networks.flatMap(refusalsOf).slice(0, MOST_REFUSED),
    ...partsOf(document),
  };
}

function partsOf({ probes, flows }: Json): Pick<AgentFacts, "probes" | "flows"> {
  const verdicts = objects(member(probes, "verdicts"), MOST_VERDICTS).map(({ found, meaning, cure }) => ({
    found: text(found),
    meaning: text(meaning),
    cure: text(cure),
  }));
  return {
    ...(isObject(probes) && { probes: { on: probes["on"] === true, message: text(probes["message"]), verdicts } }),
    ...(isObject(flows) && { flows: { on: flows["on"] === true, message: text(flows["error"]) } }),
  };
}

function vtepOf(network: Json): AgentFacts["vteps"][number] {
  const peers = objects(network["peers"], Number.POSITIVE_INFINITY);
  const repairs = network["repairs"];
  const byKind = member(repairs, "byKind");
  return {
    network: text(network["network"]),
    vni: count(network["vni"]),
    ready: network["ready"] === true,
    device: text(network["device"]),
    mac: text(network["mac"]),
    underlayIp: text(network["underlayIp"]),
    mtu: count(network["mtu"]),
    podCidrs: texts(network["podCidrs"], MOST_CIDRS),
    programmed: peers.filter(({ state }) => state === "programmed").length,
    peers: peers.length,
    repairs: count(member(repairs, "total")),
    byKind: Object.fromEntries(
      Object.entries(isObject(byKind) ? byKind : {})
        .slice(0, 50)
        .map(([kind, n]) => [kind, count(n)]),
    ),
  };
}

const refusalsOf = (network: Json): AgentFacts["refused"][number][] =>
  objects(network["refused"], MOST_REFUSED).map(({ node, reason, message }) => ({
    network: text(network["network"]),
    node: text(node),
    reason: text(reason),
    message: text(message),
  }));

/** The answer to `probes`: what it has measured of each peer. */
export function measuredOf(document: unknown): Measured[] {
  return objects(member(document, "figures"), Number.POSITIVE_INFINITY).flatMap((peer): Measured[] => {
    const { node, fault } = peer;
    if (typeof node !== "string") return [];
    const paths = objects(peer["paths"], 16);
    const tunnel = paths.filter(({ path }) => path === "tunnel");
    const seen = tunnel.some((path) => typeof path["seen"] === "string");
    const trips = tunnel.flatMap(({ rttMs }) => (typeof rttMs === "number" && rttMs >= 0 ? [rttMs] : []));
    const known = (PAIR_STATES as readonly unknown[]).includes(fault);
    const state: PairState = known ? (fault as PairState) : seen ? "answers" : "unknown";
    return [{ node, state, ...(trips.length > 0 && { rttMs: Math.min(...trips) }) }];
  });
}
