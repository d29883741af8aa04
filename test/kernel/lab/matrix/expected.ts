/** Who reaches whom, as tables of cases write it down. */
import type { Port } from "./crowd.ts";

/** Teams are namespaces; each has a pod on either node: red0 on the first one, red1 on the second. */
export const TEAMS = ["red", "blue", "green", "gold"] as const;
export type Team = (typeof TEAMS)[number];

/** Ports at which every pod answers. */
export const PORTS: readonly Port[] = ["tcp/80", "tcp/8080", "udp/53", "udp/5353", "sctp/9003", "sctp/9005"];
/** Ports at which every node answers. */
export const NODE_PORTS: readonly Port[] = ["tcp/36080", "tcp/36081", "udp/36053", "udp/36054", "sctp/36003"];

/**
 * "red>gold": the ports at which red's pods reach gold's, as a list in a text, "all", or "" for none. Either side is a pod, a team, "node" or "*"; what
 * names more precisely counts, the sender's side first. What nobody names passes.
 */
export type Passes = Readonly<Record<string, string>>;

const teamOf = (name: string): string => (name.startsWith("node") ? "node" : name.slice(0, -1));

/** Whether a pod is to reach another, or a node, at a port. */
export function isToPass(passes: Passes, from: string, to: string, port: Port): boolean {
  for (const one of [from, teamOf(from), "*"])
    for (const other of [to, teamOf(to), "*"]) {
      const ports = passes[`${one}>${other}`];
      if (ports !== undefined) return ports === "all" || ports.split(" ").includes(port);
    }
  return true;
}

/** All ports but some. */
export const allBut = (...ports: Port[]): string => PORTS.filter((one) => !ports.includes(one)).join(" ");

/** All ports of some protocols. */
export const allOf = (...protocols: string[]): string =>
  PORTS.filter((one) => protocols.includes(one.split("/")[0] as string)).join(" ");
