/**
 * The one way in: a request in, an answer out. It ends no process, keeps nothing between requests and never
 * throws, so that an executable, a listening agent and a test use it alike.
 */
import { add } from "./add.ts";
import { check } from "./check.ts";
import { decodeConfig, type NetConfig, requestedVersion, requestText } from "./config.ts";
import { del } from "./del.ts";
import { recordDuration } from "./durations.ts";
import { readVerb, requireVariables } from "./environment.ts";
import { errorJson } from "./errors.ts";
import { gc } from "./gc.ts";
import { type Host, realHost } from "./host.ts";
import { decodeObject, get } from "./json.ts";
import { LOOPBACK, LOOPBACK_VERBS } from "./loopback.ts";
import type { CniAnswer, CniRequest, VerbInput, VerbOutput } from "./request.ts";
import { monotonicMs } from "../sys/index.ts";
import { status } from "./status.ts";
import { toCniError } from "./translate.ts";
import { NEWEST_VERSION, SUPPORTED_VERSIONS, type Verb } from "./version.ts";

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

/**
 * Serves one CNI request. Never throws: a failure is an answer with exit code 1 and an error of the spec's shape.
 * @param host the machine that it acts on; tests give another one.
 */
export async function handle(request: CniRequest, host: Host = realHost): Promise<CniAnswer> {
  const startedAt = request.startedAt ?? monotonicMs();
  let verb: Verb | undefined;
  let config: NetConfig | undefined;
  let answer: CniAnswer;
  let result = "ok";
  try {
    verb = readVerb(request.env);
    requireVariables(request.env, verb);
    if (verb === "VERSION") return { exitCode: 0, stdout: version(request.stdin) };
    config = decodeConfig(request.stdin, verb);
    const isLoopback = get(config.raw, "type") === LOOPBACK;
    answer = { exitCode: 0, ...(await (isLoopback ? LOOPBACK_VERBS : RUN)[verb]({ env: request.env, config, host })) };
    if (isLoopback) return answer;
  } catch (error) {
    const failure = toCniError(error);
    result = String(failure.code);
    answer = { exitCode: 1, stdout: errorJson(failure, errorVersion(request.stdin)) };
  }
  if (verb && config) recordDuration(config.runDir, { verb, result, ms: monotonicMs() - startedAt });
  return answer;
}
