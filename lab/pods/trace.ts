/** A trace between pods of a lab: asks both nodes, as `kubectl skylane trace` does in a cluster. */
import { join } from "node:path";
import { CommandError, liveBoth, startRunning, type Trace, traceBoth } from "../../src/cli/index.ts";
import { tryRun } from "../exec.ts";
import type { Lab } from "../lab.ts";

/** What to trace. */
export interface TraceOptions {
  /** The pods' interface in that network: "net1". */
  ifname?: string | undefined;
  family?: 4 | 6 | undefined;
  /** Further options of `skylanectl trace`: `--port=80`. */
  options?: readonly string[];
  /** Also sends marked packets: such ones, which `options` have to name as well. */
  live?: { protocol: string; port?: number | undefined } | undefined;
}

const isIp = (text: string): boolean => text.includes(":") || /^\d+(\.\d+){3}$/.test(text);
const familyOf = (ip: string): 4 | 6 => (ip.includes(":") ? 6 : 4);

/**
 * @param from a pod's name. @param to a pod's name or an address
 * @throws CommandError when there is no such pod, or its node does not tell
 */
export async function trace(lab: Lab, from: string, to: string, options: TraceOptions = {}): Promise<Trace> {
  const { ifname = "eth0", family, options: more = [], live } = options;
  const ipsOf = (name: string): string[] => (isIp(name) ? [name] : lab.ipsOf(name, ifname));
  const placeOf = (name: string): string | undefined =>
    isIp(name) ? lab.pods().find(({ ips }) => ips.includes(name))?.node : lab.pod(name).node;
  const ips = ipsOf(from).filter((ip) => family === undefined || familyOf(ip) === family);
  const [source, target] =
    ips
      .flatMap((ip) => ipsOf(to).map((other): [string, string] => [ip, other]))
      .find(([ip, other]) => familyOf(ip) === familyOf(other)) ?? [];
  if (source === undefined || target === undefined)
    throw new CommandError(`${from} and ${to} have no address family in common`);
  const program = join(lab.context.binDir, "skylanectl");
  const command = (node: string, words: readonly string[]): string[] => lab.enter(node, program, ...words);
  const { env } = lab.context;
  const run = (node: string, words: readonly string[]) => tryRun(command(node, words), { env });
  const end = { ip: source, node: lab.pod(from).node };
  const found = await traceBoth(run, end, { ip: target, node: placeOf(to) }, more);
  if (!live) return found;
  const start = (node: string, words: readonly string[]) => startRunning(command(node, words), env);
  const sent = await liveBoth({ run, start }, found, live, end, more);
  return { ...found, ok: found.ok && sent.ok, live: sent };
}
