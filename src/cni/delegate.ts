/**
 * Delegation to an IPAM plugin (CNI 1.1.0, section 4): found in CNI_PATH, started as one process without a
 * shell, given the environment and the configuration that we received. A plugin may speak older versions
 * than the configuration: it is then asked once which ones, called again in the newest that both know, and
 * its result is read in the version that it says.
 */
import { printable } from "../addr/index.ts";
import type { NetConfig } from "./spec/config.ts";
import type { Environment } from "./spec/environment.ts";
import { CniError, CODE } from "./spec/errors.ts";
import { type Finished, findExecutable, runPlugin } from "./executables.ts";
import { decodeObject, get } from "./spec/json.ts";
import { type CniResult, readResult, resultIn } from "./spec/result.ts";
import { hasVerb, newestCommon, SUPPORTED_VERSIONS, type Verb } from "./spec/version.ts";
import { isObject, type Json } from "../json/index.ts";

/** Longest run of a delegated plugin: a DHCP plugin may well wait for half a minute. */
const TIMEOUT_MS = 60_000;

/** The executable of that name in the runtime's plugin directories. @throws CniError 4 or 50 saying where was looked. */
function findPlugin(type: string, env: Environment): string {
  const path = env.CNI_PATH ?? "";
  if (path === "") {
    throw new CniError(
      CODE.invalidEnvironment,
      "missing environment variables: CNI_PATH",
      `The network configuration delegates addresses to IPAM plugin "${type}", which is looked up in CNI_PATH.`,
    );
  }
  const file = findExecutable(type, path);
  if (file !== undefined) return file;
  const message = `IPAM plugin "${type}" is not installed`;
  throw new CniError(CODE.notAvailable, message, `No executable of that name in CNI_PATH (${printable(path)}).`);
}

/** One IPAM plugin for the time of one request. */
export class Delegate {
  readonly type: string;
  readonly #file: string;
  readonly #env: Environment;
  readonly #config: NetConfig;
  readonly #timeoutMs: number;
  /** What we speak with it: the configuration's version until it refuses that one. */
  #version: string;
  #theirs: readonly string[] | undefined;

  /** @throws CniError 4 or 50 when there is no such executable. */
  constructor(config: NetConfig, env: Environment, timeoutMs = TIMEOUT_MS) {
    this.type = config.ipam ?? "";
    this.#file = findPlugin(this.type, env);
    this.#env = env;
    this.#config = config;
    this.#version = config.cniVersion;
    this.#timeoutMs = timeoutMs;
  }

  /** Asks for addresses. @throws CniError: the plugin's own, with our context. */
  async add(): Promise<CniResult> {
    const output = await this.#call("ADD");
    const decoded = this.#decode(output);
    // A plugin that leaves the version out answers in the one that it was asked in.
    const version = get(decoded, "cniVersion") ?? this.#version;
    if (typeof version !== "string" || !SUPPORTED_VERSIONS.includes(version)) {
      throw this.#failure(`answered in CNI version ${printable(JSON.stringify(version))}`);
    }
    try {
      return readResult(decoded, "result");
    } catch (error) {
      if (error instanceof CniError) throw this.#failure(`answered with a bad result: ${error.message}`, error);
      throw error;
    }
  }

  /** Gives the attachment's addresses back. @param env variables that name another attachment than the request's, for GC. */
  async del(env: Environment = {}): Promise<void> {
    await this.#call("DEL", env);
  }

  async check(): Promise<void> {
    await this.#call("CHECK");
  }

  /** Forwards GC or STATUS; a plugin that does not know the verb has nothing to say. */
  async forward(verb: "GC" | "STATUS"): Promise<void> {
    const version = newestCommon(await this.#versions(), this.#config.cniVersion);
    if (version === undefined || !hasVerb(version, verb)) return;
    await this.#call(verb);
  }

  async #call(verb: Verb, env: Environment = {}): Promise<string> {
    const first = await this.#run(verb, env);
    if (first.status === 0) return first.stdout;
    const error = this.#errorOf(first);
    if (error.code !== CODE.incompatibleVersion) throw error;
    const common = newestCommon(await this.#versions(), this.#config.cniVersion);
    if (common === undefined || common === this.#version || !hasVerb(common, verb)) throw error;
    this.#version = common;
    const second = await this.#run(verb, env);
    if (second.status === 0) return second.stdout;
    throw this.#errorOf(second);
  }

  async #run(verb: Verb, env: Environment): Promise<Finished> {
    try {
      const finished = await runPlugin(
        this.#file,
        { ...this.#env, ...env, CNI_COMMAND: verb },
        this.#stdin(),
        this.#timeoutMs,
      );
      // The spec wants a delegated plugin's log lines among ours.
      if (finished.stderr !== "") process.stderr.write(finished.stderr);
      return finished;
    } catch (error) {
      throw this.#failure(error instanceof Error ? error.message : String(error), error);
    }
  }

  /** The configuration as it came, or in the version agreed on. */
  #stdin(): string {
    if (this.#version === this.#config.cniVersion) return this.#config.text;
    const { prevResult, ...rest } = this.#config.raw;
    const config: Json = { ...rest, cniVersion: this.#version };
    if (!isObject(prevResult)) return JSON.stringify(config);
    return JSON.stringify({ ...config, prevResult: resultIn(this.#version, readResult(prevResult, "prevResult")) });
  }

  async #versions(): Promise<readonly string[]> {
    if (this.#theirs) return this.#theirs;
    const { stdout } = await this.#run("VERSION", {});
    const versions = get(this.#decode(stdout), "supportedVersions");
    this.#theirs = Array.isArray(versions) ? versions.filter((version) => typeof version === "string") : [];
    return this.#theirs;
  }

  #decode(stdout: string): Json {
    try {
      return decodeObject(stdout, "its answer");
    } catch (error) {
      throw this.#failure(error instanceof Error ? error.message : String(error), error);
    }
  }

  #failure(what: string, cause?: unknown): CniError {
    return new CniError(CODE.delegate, `IPAM plugin "${this.type}": ${what}`, `Executable: ${this.#file}`, { cause });
  }

  /** The plugin's own error with our context; its code stays, since the runtime may act on it. */
  #errorOf({ status, signal, stdout, stderr }: Finished): CniError {
    let body: Json = {};
    try {
      body = decodeObject(stdout, "its answer");
    } catch {
      // no error of the spec's shape: what it printed is all there is to tell
    }
    const code = get(body, "code");
    const msg = get(body, "msg");
    if (typeof code === "number" && Number.isInteger(code) && code > 0 && typeof msg === "string") {
      const details = get(body, "details");
      const text = typeof details === "string" ? details : "";
      return new CniError(code, `IPAM plugin "${this.type}": ${msg}`, text);
    }
    const how = signal === null ? `exit status ${status}` : signal;
    const said = (stdout.trim() || stderr.trim()).slice(0, 500);
    return this.#failure(`ended with ${how} and no CNI error${said && `: ${printable(said)}`}`);
  }
}
