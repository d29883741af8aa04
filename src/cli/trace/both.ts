/** A trace of both nodes: asks each for its half, wherever it is that they can be asked from, and joins them. */
import { CommandError } from "../command.ts";
import { join, parseHalf, type Trace } from "./join.ts";
import type { Half } from "./types.ts";

/** Runs `skylanectl` with these words on a node. @throws CommandError where that cannot be */
export type RunThere = (
  node: string,
  words: readonly string[],
) => Promise<{ status: number; stdout: string; stderr: string }>;

/** An end that was found. */
export interface PlacedEnd {
  ip: string;
  /** Absent where the node of the other end has to tell. */
  node?: string | undefined;
}

/**
 * @param options further words for both, such as `--port=80`
 * @throws CommandError when the source's node does not tell its half; what the other one does not tell is a part of the answer
 */
export async function traceBoth(
  run: RunThere,
  from: PlacedEnd & { node: string },
  to: PlacedEnd,
  options: readonly string[],
): Promise<Trace> {
  const half = async (node: string): Promise<Half> => {
    const words = ["trace", from.ip, to.ip, "--output=json", ...options];
    const { stdout, stderr } = await run(node, words);
    if (stdout.trim() === "") throw new CommandError(stderr.trim().slice(0, 2000) || `node ${node} says nothing`);
    const told = parseHalf(stdout);
    if (told.node !== node) throw new CommandError(`node ${node} calls itself ${told.node}`);
    return told;
  };
  const source = await half(from.node);
  const there = source.role === "source" ? (to.node ?? source.other?.node) : undefined;
  if (there === undefined || there === from.node) return join(source);
  try {
    return join(source, await half(there));
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return join(source, undefined, `${there} does not tell: ${error.message}`);
  }
}
