/** `kubectl skylane trace`: finds both ends with the rights of whoever runs it, and asks the agents' pods of their nodes. */
import { socketAddress } from "../../addr/index.ts";
import { STATUS_ANNOTATION } from "../../crd/index.ts";
import { isObject, part } from "../../json/index.ts";
import { CommandError, OUTPUT, parseInput, UsageError } from "../command.ts";
import { type PlacedEnd, type RunThere, traceBoth } from "./both.ts";
import type { Trace } from "./join.ts";
import { renderServiceTrace, renderTrace } from "./render.ts";
import { type Backend, type ServiceEnd, serviceEnd, serviceName } from "./service.ts";
import { liveOption, TRACE_OPTIONS, trafficOf } from "./index.ts";
import { liveBoth, type StartThere } from "./live/both.ts";
import type { Hop } from "./types.ts";

/** What the API server is asked for: `kubectl get` with these words, as JSON. @throws CommandError as kubectl said it */
export type Get = (words: readonly string[]) => Promise<unknown>;

const LINE: Parameters<typeof parseInput>[0] = {
  operands: "POD|IP POD|IP|svc/NAME",
  count: [2, 2],
  options: { ...OUTPUT, ...TRACE_OPTIONS, timeout: { value: "MS", help: "" } },
};

/** Of so many pods behind a Service each is followed. */
const MOST_BACKENDS = 4;

/** What comes of a Service. */
export interface ServiceTrace {
  ok: boolean;
  service: ServiceEnd;
  /** By backend the whole way, or why it could not be followed. */
  traces: readonly { backend: Backend; trace?: Trace; missing?: string }[];
  /** How many more backends there are. */
  more: number;
}

/** A pod as far as it is needed. */
interface Found {
  node: string | undefined;
  ips: readonly string[];
}

/**
 * Runs the whole of it and prints it. @param node where the first end is, where somebody says so
 * @returns the exit status. @throws UsageError, CommandError
 */
export async function kubectlTrace(
  words: readonly string[],
  node: string | undefined,
  get: Get,
  run: RunThere,
  start: StartThere,
): Promise<number> {
  const input = parseInput(LINE, words);
  const done = await follow(input, node, get, run, start);
  const text = "service" in done ? renderServiceTrace(done) : renderTrace(done);
  process.stdout.write(input.json ? `${JSON.stringify(done, null, 2)}\n` : text);
  return done.ok ? 0 : 1;
}

/** The first hop that is wrong on a way, of those to the pods behind it where it leads to a Service. @throws UsageError, CommandError */
export async function firstWrongHop(words: readonly string[], get: Get, run: RunThere): Promise<Hop | undefined> {
  const done = await follow(parseInput(LINE, words), undefined, get, run);
  return "service" in done ? done.traces.map(({ trace }) => trace?.wrong).find((wrong) => wrong) : done.wrong;
}

/** @throws UsageError, CommandError */
async function follow(
  input: ReturnType<typeof parseInput>,
  node: string | undefined,
  get: Get,
  run: RunThere,
  start?: StartThere,
): Promise<Trace | ServiceTrace> {
  const network = input.text("network") ?? "default";
  const [source, target] = input.operands as [string, string];
  const named = serviceName(target);
  if (named && network !== "default") throw new UsageError("Services are in the default network alone");
  if (named && input.flag("live"))
    throw new UsageError("--live sends to a pod: trace to one of those behind the Service, by its name");
  if (!named) liveOption(input, trafficOf(input));
  const from = await find(source, network, get);
  const asked = { input, from, node, run, start };
  return named
    ? await toService(asked, named, get)
    : await toPod(asked, await find(target, network, get), optionsOf(input, "port", "protocol"));
}

/** What stays the same, whichever pod is traced to. */
interface Asked {
  input: ReturnType<typeof parseInput>;
  from: Found;
  node: string | undefined;
  run: RunThere;
  /** Where packets may be sent. */
  start?: StartThere | undefined;
}

const optionsOf = (input: Asked["input"], ...names: string[]): string[] =>
  names.flatMap((name) => {
    const value = input.text(name);
    return value === undefined ? [] : [`--${name}=${value}`];
  });

/** @param traffic the words that say which packets. @throws UsageError, CommandError */
async function toPod({ input, from, node, run, start }: Asked, to: Found, traffic: readonly string[]): Promise<Trace> {
  const pair = pairOf(from, to, input.text("family"));
  const source = node ?? pair.from.node;
  if (source === undefined)
    throw new UsageError(`nobody knows the node of ${pair.from.ip}: name it, --node NODE, before the command`);
  const options = [...traffic, ...optionsOf(input, "network", "timeout")];
  const end = { ip: pair.from.ip, node: source };
  const trace = await traceBoth(run, end, pair.to, options);
  if (!start || !input.flag("live")) return trace;
  const live = await liveBoth({ run, start }, trace, trafficOf(input), end, options);
  return { ...trace, ok: trace.ok && live.ok, live };
}

/** Every way that the Service's packets may take. @throws UsageError, CommandError where there is no such Service or port */
async function toService(
  asked: Asked,
  { namespace, name }: { namespace: string; name: string },
  get: Get,
): Promise<ServiceTrace> {
  const { input, from, node } = asked;
  const [object, slices] = await Promise.all([
    get(["service", name, `--namespace=${namespace}`]),
    get(["endpointslices", `--namespace=${namespace}`, `--selector=kubernetes.io/service-name=${name}`]),
  ]);
  const wanted = { port: input.number("port", 1, 65_535), protocol: input.text("protocol")?.toLowerCase() };
  const service = serviceEnd(object, slices, wanted, node ?? from.node);
  const family = input.text("family");
  const usable = service.backends.filter(
    ({ ip }) =>
      (family === undefined || familyOf(ip) === family) && from.ips.some((one) => familyOf(one) === familyOf(ip)),
  );
  if (usable.length === 0 && service.backends.length > 0)
    throw new CommandError(`the sender and the pods behind Service ${service.name} have no address family in common`);
  const traces: ServiceTrace["traces"][number][] = [];
  for (const backend of usable.slice(0, MOST_BACKENDS)) traces.push(await toBackend(asked, service, backend));
  const ok = service.wrong === undefined && traces.every(({ trace }) => trace?.ok ?? true);
  return { ok, service, traces, more: usable.length - traces.length };
}

async function toBackend(
  asked: Asked,
  { ips, port, protocol }: ServiceEnd,
  backend: Backend,
): Promise<ServiceTrace["traces"][number]> {
  const own = ips.find((ip) => familyOf(ip) === familyOf(backend.ip));
  const traffic = [
    `--port=${backend.port}`,
    `--protocol=${protocol}`,
    ...(own === undefined ? [] : [`--service=${socketAddress({ ip: own, port })}`]),
  ];
  try {
    return { backend, trace: await toPod(asked, { ips: [backend.ip], node: backend.node }, traffic) };
  } catch (error) {
    // Not every endpoint is a pod of ours: its own network's, the host's, or somewhere outside.
    if (!(error instanceof CommandError)) throw error;
    return { backend, missing: error.message };
  }
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

function nodeOf(pod: unknown): string | undefined {
  const node = part(pod, "spec", "nodeName");
  // One on the host's network has its node's address, and no interface of ours.
  return typeof node === "string" && part(pod, "spec", "hostNetwork") !== true ? node : undefined;
}

function ipsOf(pod: unknown, network: string): string[] {
  if (network === "default") {
    const ips = part(pod, "status", "podIPs");
    return texts(Array.isArray(ips) ? ips.map((one) => part(one, "ip")) : []);
  }
  const text = part(pod, "metadata", "annotations", STATUS_ANNOTATION);
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
