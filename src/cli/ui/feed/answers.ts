/**
 * What an agent answers, as facts. It is a node that says it, perhaps of another release: each value is held against what it should be, and cut to what is
 * shown at most.
 */
import { isIP } from "node:net";
import { isObject, type Json } from "../../../json/index.ts";
import type { AgentFacts, FlowFacts } from "../model/facts.ts";
import type { Measured } from "../model/pairs.ts";
import { cut } from "../model/time-line.ts";
import { type MapFlowEnd, PAIR_STATES, type PairState } from "../wire.ts";

const MOST_NETWORKS = 200;
const MOST_REFUSED = 100;
const MOST_VERDICTS = 50;
const MOST_CIDRS = 8;
/** Flows of one answer: the last ones. */
const MOST_FLOWS = 300;

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

/**
 * The answer to `flows`. A flow between two nodes is seen by both: shown is what the node says on which it begins, and of what a policy denies, whoever
 * has denied it.
 * @param by who answers
 */
export function flowsOf(document: unknown, by: string): FlowFacts[] {
  const flows = member(document, "flows");
  return objects(Array.isArray(flows) ? flows.slice(-MOST_FLOWS) : [], MOST_FLOWS).flatMap((flow): FlowFacts[] => {
    const { protocol, verdict, policy, start, end, state, packets, bytes } = flow;
    const [source, destination] = [endOf(flow["source"]), endOf(flow["destination"])];
    if (!source || !destination || (verdict !== "allowed" && verdict !== "denied")) return [];
    if (verdict === "allowed" && source.node !== undefined && source.node !== by) return [];
    const service = serviceOf(flow["service"]);
    return [
      {
        key: [by, flow["network"], start, protocol, source.ip, source.port, destination.ip, destination.port, verdict]
          .map(String)
          .join(" "),
        at: count(end) || count(start),
        verdict,
        protocol: count(protocol),
        source,
        destination,
        // An agent of an older release says none.
        network: text(flow["network"]) || "default",
        ...(service !== undefined && { service }),
        state: text(state),
        ...(typeof policy === "string" && { policy: text(policy) }),
        ...(typeof packets === "number" && { packets }),
        ...(typeof bytes === "number" && { bytes }),
      },
    ];
  });
}

/** What was asked for, in words. */
function serviceOf(service: unknown): string | undefined {
  const [ip, name, portName] = ["ip", "name", "portName"].map((key) => text(member(service, key)));
  if (!name) return ip || undefined;
  return portName ? `${name}:${portName}` : name;
}

function endOf(end: unknown): MapFlowEnd | undefined {
  const [ip, pod, node] = [member(end, "ip"), member(end, "pod"), member(end, "node")];
  if (typeof ip !== "string" || isIP(ip) === 0) return undefined;
  return {
    ip,
    port: count(member(end, "port")),
    ...(typeof pod === "string" && { pod: text(pod) }),
    ...(typeof node === "string" && { node: text(node) }),
  };
}
