/** A live trace of both nodes: the receiver's watches before the sender's sends. */
import { CommandError } from "../../command.ts";
import type { PlacedEnd, RunThere } from "../both.ts";
import type { Trace } from "../join.ts";
import type { Traffic } from "../types.ts";
import { judgeLive } from "./judge.ts";
import { newMark } from "./mark.ts";
import { parseLiveHalf } from "./parse.ts";
import { type Live, type LiveHalf, nothingOf } from "./types.ts";

/** A command that runs on a node until it is told to end. */
export interface Running {
  /** Tells it to end. @returns what it has printed since it was ready. @throws CommandError when it fails */
  finish(): Promise<string>;
}

/** Starts `skylanectl` with these words on a node, and waits for its first line. @throws CommandError where that cannot be */
export type StartThere = (node: string, words: readonly string[]) => Promise<Running>;

/**
 * Sends a marked packet along the way of a trace.
 * @param options the words that say which packets, as for the trace itself
 * What a node does not tell is a part of the answer.
 */
export async function liveBoth(
  { run, start }: { run: RunThere; start: StartThere },
  trace: Trace,
  traffic: Traffic,
  from: PlacedEnd & { node: string },
  options: readonly string[],
): Promise<Live> {
  const words = ["trace", trace.from.ip, trace.to.ip, "--live", `--mark=${newMark()}`, "--output=json", ...options];
  const send = async (): Promise<LiveHalf> => {
    try {
      const { stdout, stderr } = await run(from.node, words);
      if (stdout.trim() === "") throw new CommandError(stderr.trim().slice(0, 2000) || "it says nothing");
      return parseLiveHalf(stdout, from.node, ["source", "both"]);
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      return nothingOf(from.node, "source", error.message);
    }
  };
  const there = trace.to.node;
  if (there === from.node || trace.way === "here") return judgeLive(trace, traffic, await send());
  if (there === undefined)
    return judgeLive(trace, traffic, await send(), undefined, `nobody knows the node of ${trace.to.ip}`);
  let running: Running;
  try {
    running = await start(there, words);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    return judgeLive(trace, traffic, await send(), undefined, `${there} does not watch: ${error.message}`);
  }
  let watched: LiveHalf | CommandError | undefined;
  let source: LiveHalf;
  try {
    source = await send();
  } finally {
    // It is told to end whatever has come of the sending.
    watched = await ended(running, there);
  }
  return watched instanceof CommandError
    ? judgeLive(trace, traffic, source, undefined, `${there} does not tell: ${watched.message}`)
    : judgeLive(trace, traffic, source, watched);
}

/** What the receiver's node has seen, or why it does not tell. */
async function ended(running: Running, node: string): Promise<LiveHalf | CommandError> {
  try {
    return parseLiveHalf(await running.finish(), node, ["destination"]);
  } catch (error) {
    if (error instanceof CommandError) return error;
    throw error;
  }
}
