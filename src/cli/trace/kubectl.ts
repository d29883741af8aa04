/** `kubectl skylane trace`: finds both ends with the rights of whoever runs it, and asks the agents' pods of their nodes. */
import { STATUS_ANNOTATION } from "../../crd/index.ts";
import { isObject } from "../../json/index.ts";
import { CommandError, OUTPUT, parseInput, UsageError } from "../command.ts";
import { type PlacedEnd, type RunThere, traceBoth } from "./both.ts";
import { renderTrace } from "./render.ts";
import { TRACE_OPTIONS, traceJson } from "./index.ts";

/** What the API server is asked for: `kubectl get` with these words, as JSON. @throws CommandError as kubectl said it */
export type Get = (words: readonly string[]) => Promise<unknown>;

const LINE: Parameters<typeof parseInput>[0] = {
  operands: "POD|IP POD|IP",
  count: [2, 2],
  options: { ...OUTPUT, ...TRACE_OPTIONS, timeout: { value: "MS", help: "" } },
};

/** A pod as far as it is needed. */
interface Found {
  node: string | undefined;
  ips: readonly string[];
}

/**
 * Runs the whole of it. @param node where the first end is, where somebody says so
 * @returns the exit status. @throws UsageError, CommandError
 */
export async function kubectlTrace(
  words: readonly string[],
  node: string | undefined,
  get: Get,
  run: RunThere,
): Promise<number> {
  const input = parseInput(LINE, words);
  const network = input.text("network") ?? "default";
  const family = input.text("family");
  const [from, to] = await Promise.all(input.operands.map((text) => find(text, network, get)));
  const pair = pairOf(from as Found, to as Found, family);
  const source = node ?? pair.from.node;
  if (source === undefined)
    throw new UsageError(`nobody knows the node of ${pair.from.ip}: name it, --node NODE, before the command`);
  const options = (["port", "protocol", "network", "timeout"] as const).flatMap((name) => {
    const value = input.text(name);
    return value === undefined ? [] : [`--${name}=${value}`];
  });
  const trace = await traceBoth(run, { ip: pair.from.ip, node: source }, pair.to, options);
  process.stdout.write(input.json ? traceJson(trace) : renderTrace(trace));
  return trace.ok ? 0 : 1;
}

const isIp = (text: string): boolean => text.includes(":") || /^\d+(\.\d+){3}$/.test(text);
const familyOf = (ip: string): string => (ip.includes(":") ? "6" : "4");

/** @throws CommandError when they have no family in common */
function pairOf(from: Found, to: Found, family: string | undefined): { from: PlacedEnd; to: PlacedEnd } {
  for (const one of from.ips)
    for (const other of to.ips)
      if (familyOf(one) === familyOf(other) && (family === undefined || familyOf(one) === family))
        return { from: { ip: one, node: from.node }, to: { ip: other, node: to.node } };
  throw new CommandError("the two ends have no address family in common");
}

async function find(text: string, network: string, get: Get): Promise<Found> {
  if (isIp(text)) {
    // A pod's first address alone can be asked for; the node of the other end tells of the rest.
    const list =
      network === "default"
        ? await get(["pods", "--all-namespaces", `--field-selector=status.podIP=${text}`])
        : undefined;
    const items = isObject(list) && Array.isArray(list["items"]) ? list["items"] : [];
    return { node: items.map(nodeOf).find((one) => one !== undefined), ips: [text] };
  }
  const [namespace, name] = text.includes("/") ? text.split("/", 2) : ["default", text];
  const pod = await get(["pod", name as string, `--namespace=${namespace}`]);
  const ips = ipsOf(pod, network);
  if (ips.length === 0) throw new CommandError(`pod ${namespace}/${name} has no address in network "${network}"`);
  return { node: nodeOf(pod), ips };
}

const part = (value: unknown, key: string): unknown => (isObject(value) ? value[key] : undefined);

function nodeOf(pod: unknown): string | undefined {
  const node = part(part(pod, "spec"), "nodeName");
  // One on the host's network has its node's address, and no interface of ours.
  return typeof node === "string" && part(part(pod, "spec"), "hostNetwork") !== true ? node : undefined;
}

function ipsOf(pod: unknown, network: string): string[] {
  if (network === "default") {
    const ips = part(part(pod, "status"), "podIPs");
    return texts(Array.isArray(ips) ? ips.map((one) => part(one, "ip")) : []);
  }
  const text = part(part(part(pod, "metadata"), "annotations"), STATUS_ANNOTATION);
  if (typeof text !== "string") return [];
  let interfaces: unknown;
  try {
    interfaces = JSON.parse(text);
  } catch {
    return []; // whoever may write the pod may write that
  }
  if (!Array.isArray(interfaces)) return [];
  return interfaces.flatMap((one) => {
    const [name, ips] = [part(one, "name"), part(one, "ips")];
    const same = name === network || (typeof name === "string" && name.endsWith(`/${network}`));
    return same && Array.isArray(ips) ? texts(ips) : [];
  });
}

const texts = (values: readonly unknown[]): string[] =>
  values.filter((value): value is string => typeof value === "string" && isIp(value));
