/**
 * A CNI request and its answer as plain data: what a process is given by environment and stdin and leaves on
 * stdout, without the process. The executable serves one of them; anything that listens can serve many.
 */
import type { NetConfig } from "./config.ts";
import type { Environment } from "./environment.ts";
import type { Host } from "../host.ts";

/** One call of the plugin. */
export interface CniRequest {
  /** Environment variables; only CNI_* are read, all are passed to a delegated plugin. */
  env: Environment;
  /** The network configuration. */
  stdin: string | Uint8Array;
  /** When the call began, on the clock of `monotonicMs()`; now by default. For the duration that is recorded. */
  startedAt?: number;
}

/** What the runtime gets. */
export interface CniAnswer {
  exitCode: 0 | 1;
  /** A result or an error of the spec's shape, or nothing where success has nothing to say. */
  stdout: string;
  /** After a successful ADD: takes everything back. To be called when the answer could not be delivered. */
  undo?: () => Promise<void>;
}

/** What a verb works with. */
export interface VerbInput {
  env: Environment;
  config: NetConfig;
  host: Host;
  /** Whether the agent is there though it has left this request to the plugin. */
  agentThere?: boolean;
}

/** A verb's success. */
export type VerbOutput = Pick<CniAnswer, "stdout" | "undo">;
