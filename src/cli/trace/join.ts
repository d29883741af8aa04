/**
 * Two halves as one trace: those of both nodes, told apart by their roles, and held against each other. A half may come from another node, which
 * may be hostile: it is read strictly, and says nothing about the node on which this runs.
 */
import { isIP } from "node:net";
import { isObject } from "../../json/index.ts";
import { CommandError } from "../command.ts";
import type { Live } from "./live/types.ts";
import { HALF_VERSION, type Half, type Hop, type HopState, type Vtep } from "./types.ts";

/** The whole answer. */
export interface Trace {
  /** Whether nothing is wrong, as far as could be told. */
  ok: boolean;
  /** Whether both nodes were looked at. */
  whole: boolean;
  network: string;
  way: Half["way"];
  from: Half["from"] & { node?: string };
  to: Half["to"] & { node?: string };
  hops: Hop[];
  /** The first hop that is wrong. */
  wrong?: Hop;
  /** What is missing for the whole, in words. */
  missing?: string;
  /** What became of marked packets, where some were sent. */
  live?: Live;
}

const MAX_HOPS = 64;
const MAX_TEXT = 4096;
const STATES: readonly string[] = ["ok", "wrong", "unknown"] satisfies HopState[];
const WAYS: readonly string[] = ["here", "tunnel", "direct", "bridge"];
const ROLES: readonly string[] = ["source", "destination", "both"];

/** Reads a half that another node has told. @throws CommandError when it is none */
export function parseHalf(text: string): Half {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CommandError("the other node's answer is not JSON", { cause });
  }
  const half = isObject(value) && isObject(value["half"]) ? value["half"] : value;
  if (!isHalf(half)) throw new CommandError("the other node's answer is no trace that this version understands");
  return half;
}

const isText = (value: unknown): value is string => typeof value === "string" && value.length <= MAX_TEXT;
const oneOf = (value: unknown, all: readonly string[]): boolean => isText(value) && all.includes(value);
const textOrNone = (value: unknown): boolean => value === undefined || isText(value);
const numberOrNone = (value: unknown): boolean => value === undefined || Number.isSafeInteger(value);

const isEnd = (value: unknown): boolean =>
  isObject(value) && isText(value["ip"]) && isIP(value["ip"]) !== 0 && textOrNone(value["pod"]);

const isVtep = (value: unknown): boolean =>
  isObject(value) &&
  isText(value["node"]) &&
  ["underlayIp", "mac"].every((key) => textOrNone(value[key])) &&
  ["vni", "port"].every((key) => numberOrNone(value[key]));

const isHop = (value: unknown): boolean =>
  isObject(value) &&
  ["node", "hop", "should", "is"].every((key) => isText(value[key])) &&
  oneOf(value["state"], STATES) &&
  ["means", "cure"].every((key) => textOrNone(value[key])) &&
  (value["symptom"] === undefined || value["symptom"] === true);

function isHalf(value: unknown): value is Half {
  return (
    isObject(value) &&
    value["version"] === HALF_VERSION &&
    ["node", "network"].every((key) => isText(value[key])) &&
    oneOf(value["role"], ROLES) &&
    oneOf(value["way"], WAYS) &&
    oneOf(value["knowledge"], ["agent", "files"]) &&
    (value["family"] === 4 || value["family"] === 6) &&
    isEnd(value["from"]) &&
    isEnd(value["to"]) &&
    isVtep(value["self"]) &&
    (value["other"] === undefined || isVtep(value["other"])) &&
    Array.isArray(value["hops"]) &&
    value["hops"].length <= MAX_HOPS &&
    value["hops"].every(isHop)
  );
}

/** The first hop that is wrong; one that is wrong because of another only where there is no other. */
const firstWrong = (hops: readonly Hop[]): Hop | undefined =>
  hops.find(({ state, symptom }) => state === "wrong" && !symptom) ?? hops.find(({ state }) => state === "wrong");

/** What one node takes the other for, and what that says of itself. */
function agreement(one: Vtep, by: string, self: Vtep, keys: readonly (keyof Vtep)[]): string[] {
  return keys.flatMap((key) => {
    const [taken, said] = [one[key], self[key]];
    return taken === undefined || said === undefined || taken === said
      ? []
      : [`${by} takes ${self.node} for ${WORDS[key]} ${taken}, which says ${said}`];
  });
}

const WORDS: Readonly<Record<keyof Vtep, string>> = {
  node: "the node",
  underlayIp: "underlay address",
  mac: "MAC",
  vni: "VNI",
  port: "UDP port",
};

/** What both nodes say of each other. */
function agree(source: Half, destination: Half): Hop {
  const faults = [
    ...(source.other
      ? agreement(source.other, source.node, destination.self, ["underlayIp", "mac", "vni", "port"])
      : []),
    ...(destination.other ? agreement(destination.other, destination.node, source.self, ["underlayIp"]) : []),
  ];
  const hop = {
    node: source.node,
    hop: "agreement",
    should: "each node takes the other for what it is",
  };
  if (faults.length === 0) return { ...hop, is: "they agree", state: "ok" };
  return {
    ...hop,
    is: faults.join("; "),
    state: "wrong",
    means: "What one node sends, the other does not take for its own.",
    cure: "One of the two has not heard what the other publishes: see that both agents reach the API server (skylanectl status on both, api), and which nodes are refused.",
  };
}

/** Joins what there is: a node's own half, and the other's. @param failed why the other node could not be asked */
export function join(own: Half, other?: Half, failed?: string): Trace {
  const [source, destination] =
    own.role === "source" ? [own, other] : own.role === "destination" ? [other, own] : [own, own];
  // Each speaks for itself alone, and about the same packet.
  const mismatch = other && mismatchOf(own, other);
  const both = source && destination && mismatch === undefined ? { source, destination } : undefined;
  const hops = both
    ? both.source === both.destination
      ? [...own.hops]
      : [...both.source.hops, agree(both.source, both.destination), ...both.destination.hops]
    : [...own.hops];
  const away = failed ?? mismatch;
  if (!both && away !== undefined) hops.push(notAsked(own, away));
  const wrong = firstWrong(hops);
  const whole = both !== undefined;
  return {
    ok: wrong === undefined,
    whole,
    network: own.network,
    way: own.way,
    from: { ...own.from, ...source?.from, ...nodeOf(source, own.role === "destination" ? own.other : undefined) },
    to: { ...own.to, ...destination?.to, ...nodeOf(destination, own.role === "source" ? own.other : undefined) },
    hops,
    ...(wrong && { wrong }),
    ...(!whole && { missing: missingOf(own) }),
  };
}

const nodeOf = (half: Half | undefined, vtep: Vtep | undefined): { node?: string } => {
  const node = half?.node ?? vtep?.node;
  return node === undefined ? {} : { node };
};

/** Why two halves are not of one packet. */
function mismatchOf(own: Half, other: Half): string | undefined {
  if (own.role === "both" || other.role === "both" || own.role === other.role) return "its answer is of the same end";
  if (own.from.ip !== other.from.ip || own.to.ip !== other.to.ip || own.network !== other.network)
    return "its answer is about another packet";
  if (other.hops.some(({ node }) => node !== other.node)) return "its answer is about another node than itself";
  return undefined;
}

const notAsked = ({ other, role }: Half, why: string): Hop => ({
  node: other?.node ?? (role === "source" ? "the destination's node" : "the source's node"),
  hop: "other-node",
  should: "the other node tells its half",
  is: why,
  state: "wrong",
  symptom: true,
  means: "Nothing is known of what happens there.",
  cure: "See that the node and its skylane-agent pod run: kubectl get nodes, kubectl get pods -n skylane-system -o wide.",
});

function missingOf({ role, other, from, to, network }: Half): string {
  const node = other?.node ?? (role === "source" ? "the node of the destination" : "the node of the source");
  return `only one node was looked at; the other half, on ${node}: skylanectl trace --network ${network} ${from.ip} ${to.ip}; both at once: kubectl skylane trace`;
}
