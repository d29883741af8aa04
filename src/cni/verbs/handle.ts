/**
 * The one way in: a request in, an answer out. It ends no process, keeps nothing between requests and never
 * throws, so that an executable, a listening agent and a test use it alike.
 */
import { add } from "./add.ts";
import { answerAgent } from "../chain-question.ts";
import { check } from "./check.ts";
import { decodeConfig, requestedVersion, requestText } from "../spec/config.ts";
import { del } from "./del.ts";
import { readVerb, requireVariables } from "../spec/environment.ts";
import { type CniError, errorJson } from "../spec/errors.ts";
import { gc } from "./gc.ts";
import { type Host, realHost } from "../host.ts";
import { decodeObject, get } from "../spec/json.ts";
import { LOOPBACK, LOOPBACK_VERBS } from "./loopback.ts";
import type { CniAnswer, CniRequest, VerbInput, VerbOutput } from "../spec/request.ts";
import { monotonicMs } from "../../sys/index.ts";
import { status } from "./status.ts";
import { toCniError } from "./translate.ts";
import { NEWEST_VERSION, SUPPORTED_VERSIONS, type Verb } from "../spec/version.ts";

const RUN: Readonly<Record<Exclude<Verb, "VERSION">, (input: VerbInput) => Promise<VerbOutput>>> = {
  ADD: add,
  DEL: del,
  CHECK: check,
  GC: gc,
  STATUS: status,
};

/** VERSION: which versions are spoken. An empty stdin is allowed, since some callers only probe. @throws CniError 6 */
function version(stdin: string | Uint8Array): string {
  const text = requestText(stdin);
  const asked = text.trim() === "" ? NEWEST_VERSION : requestedVersion(decodeObject(text, "the request on stdin"));
  return `${JSON.stringify({ cniVersion: asked, supportedVersions: SUPPORTED_VERSIONS }, undefined, 2)}\n`;
}

/** The version to answer an error in: the request's where it can be told and is one of ours. */
function errorVersion(stdin: string | Uint8Array): string {
  try {
    const asked = requestedVersion(decodeObject(requestText(stdin), "stdin"));
    return SUPPORTED_VERSIONS.includes(asked) ? asked : NEWEST_VERSION;
  } catch {
    return NEWEST_VERSION; // the request is what the error is about
  }
}

/** A request that can be served: its verb and its configuration are known. */
export interface CniCall extends Omit<VerbInput, "host"> {
  verb: Exclude<Verb, "VERSION">;
  /** When it began, on the clock of `monotonicMs()`. */
  startedAt: number;
}

const failed = (error: CniError, stdin: CniRequest["stdin"]): CniAnswer => ({
  exitCode: 1,
  stdout: errorJson(error, errorVersion(stdin)),
});

/**
 * Reads a request: either what is to be done, so that a server can see whether it is the one to do it, or, where nothing is
 * left to do (VERSION, a request that cannot be read), the answer. Never throws.
 */
export function readCall({ env, stdin, startedAt = monotonicMs() }: CniRequest): CniCall | CniAnswer {
  try {
    const verb = readVerb(env);
    requireVariables(env, verb);
    if (verb === "VERSION") return { exitCode: 0, stdout: version(stdin) };
    return { verb, env, config: decodeConfig(stdin, verb), startedAt };
  } catch (error) {
    return failed(toCniError(error), stdin);
  }
}

/** Whether a request that was read needs no serving. */
export const isAnswer = (read: CniCall | CniAnswer): read is CniAnswer => "exitCode" in read;

/** Serves a request that was read. Never throws: a failure is an answer with exit code 1 and an error of the spec's shape. */
export async function serveCall(call: CniCall, host: Host): Promise<CniAnswer> {
  const { verb, startedAt, ...input } = call;
  const { config } = input;
  const isLoopback = get(config.raw, "type") === LOOPBACK;
  let answer: CniAnswer;
  let result = "ok";
  try {
    answer = { exitCode: 0, ...(await (isLoopback ? LOOPBACK_VERBS : RUN)[verb]({ ...input, host })) };
  } catch (error) {
    const failure = toCniError(error);
    result = String(failure.code);
    answer = failed(failure, config.text);
  }
  if (!isLoopback || answer.exitCode !== 0)
    host.recordDuration(config.runDir, { verb, result, ms: monotonicMs() - startedAt });
  return answer;
}

/**
 * Reads and serves one CNI request. Never throws.
 * @param host the machine that it acts on; tests give another one.
 */
export async function handle(request: CniRequest, host: Host = realHost): Promise<CniAnswer> {
  const call = readCall(request);
  if (isAnswer(call)) return call;
  const agentThere = await answerAgent(call.config.runDir, call.env);
  return await serveCall({ ...call, ...(agentThere && { agentThere }) }, host);
}
