/**
 * What the agent asks the plugin: which executables the runtime finds for the plugins that are chained behind us, and which
 * versions these speak. The runtime looks in directories of its own (CNI_PATH; Debian's containerd has /usr/lib/cni first),
 * which the agent, in a container, does not see; the plugin runs where the runtime does and is told them with each call.
 *
 * The agent writes the question into the run directory, naming one request, and declines that request; so the launcher starts the
 * plugin for it, under the same name, and the plugin writes the answer before it serves the request. It costs one start of the
 * plugin a minute at most. That a request was declined for this also tells the plugin that the agent is there.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../sys/index.ts";
import { type Environment, NAME, requestOf } from "./spec/environment.ts";
import { findExecutable, runPlugin } from "./executables.ts";
import { decodeObject, get, optionalString, optionalStrings } from "./spec/json.ts";
import { isObject, type Json } from "../json/index.ts";

/** Names of the two files in the run directory; none that a pod network's file can have, which ends in `.json`. */
export const CHAIN_QUESTION = "chained-plugins.question";
export const CHAIN_ANSWER = "chained-plugins.answer";
/** Longest wait for a plugin's answer to VERSION, in milliseconds. */
const VERSION_MS = 2_000;
/** Longest of either file, in bytes. */
const MAX_BYTES = 64 * 1024;
const MAX_PLUGINS = 16;

/** A question to the plugin that serves a request. */
export interface ChainQuestion {
  /** The launcher's name for the request. */
  request: string;
  /** Types of the plugins. */
  plugins: readonly string[];
}

/** What a runtime finds under a plugin's type. */
export interface FoundPlugin {
  file: string;
  /** Absent where it does not say. */
  versions?: readonly string[];
}

/** What a runtime finds. */
export interface ChainAnswer {
  request: string;
  /** The runtime's CNI_PATH. */
  path: string;
  /** By type; null where it finds none. */
  plugins: ReadonlyMap<string, FoundPlugin | null>;
}

function readObject(file: string): Json | undefined {
  try {
    if (statSync(file).size > MAX_BYTES) return undefined;
    return decodeObject(readFileSync(file, "utf8"), file);
  } catch {
    return undefined; // not there, or damaged: nobody asks, or nothing is known
  }
}

/** What the agent asks of a request, if it does. */
function questionFor(runDir: string, env: Environment): readonly string[] | undefined {
  const request = requestOf(env);
  const question = request === undefined ? undefined : readObject(join(runDir, CHAIN_QUESTION));
  if (!question || get(question, "request") !== request) return undefined;
  const plugins = get(question, "plugins");
  if (!Array.isArray(plugins) || plugins.length > MAX_PLUGINS) return undefined;
  return plugins.every((type) => typeof type === "string" && NAME.test(type)) ? (plugins as string[]) : undefined;
}

async function versionsOf(file: string): Promise<string[] | undefined> {
  try {
    const env = { CNI_COMMAND: "VERSION", PATH: process.env.PATH };
    const { status, stdout } = await runPlugin(file, env, '{"cniVersion":"1.0.0"}', VERSION_MS);
    if (status !== 0) return undefined;
    return optionalStrings(decodeObject(stdout, file), "supportedVersions")?.slice(0, 64);
  } catch {
    return undefined; // it does not say; what is assumed of such a plugin is for the agent to know
  }
}

async function find(type: string, path: string): Promise<FoundPlugin | null> {
  const file = findExecutable(type, path);
  if (file === undefined) return null;
  const versions = await versionsOf(file);
  return { file, ...(versions && { versions }) };
}

/** Answers the agent, if it asks something of this request. @returns whether it did */
export async function answerAgent(runDir: string, env: Environment): Promise<boolean> {
  const types = questionFor(runDir, env);
  if (types === undefined) return false;
  const path = env.CNI_PATH ?? "";
  const plugins = Object.fromEntries(await Promise.all(types.map(async (type) => [type, await find(type, path)])));
  const text = `${JSON.stringify({ request: requestOf(env), path, plugins }, undefined, 2)}\n`;
  try {
    if (text.length <= MAX_BYTES) writeFileAtomic(join(runDir, CHAIN_ANSWER), text, { mode: 0o600 });
  } catch {
    // The agent asks again, another request.
  }
  return true;
}

/** For the agent: asks. @throws SysError, Error when the question cannot be written */
export function askPlugin(runDir: string, question: ChainQuestion): void {
  writeFileAtomic(join(runDir, CHAIN_QUESTION), `${JSON.stringify(question)}\n`, { mode: 0o600 });
}

function readFound(value: unknown): FoundPlugin | null | undefined {
  if (value === null) return null;
  if (!isObject(value)) return undefined;
  const file = optionalString(value, "file");
  const versions = optionalStrings(value, "versions");
  return file === undefined ? undefined : { file, ...(versions && { versions }) };
}

/** For the agent: the last answer; undefined where there is none that can be read. */
export function readChainAnswer(runDir: string): ChainAnswer | undefined {
  const answer = readObject(join(runDir, CHAIN_ANSWER));
  if (!answer) return undefined;
  try {
    const [request, path] = [optionalString(answer, "request"), optionalString(answer, "path")];
    const found = get(answer, "plugins");
    if (request === undefined || path === undefined || !isObject(found)) return undefined;
    const plugins = new Map<string, FoundPlugin | null>();
    for (const type of Object.keys(found).slice(0, MAX_PLUGINS)) {
      const one = readFound(found[type]);
      if (one !== undefined) plugins.set(type, one);
    }
    return { request, path, plugins };
  } catch {
    return undefined; // of another shape: as good as none
  }
}
