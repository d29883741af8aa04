/**
 * The agent's process: from the command line to an exit status. 0 after SIGTERM or SIGINT, 1 when it could not
 * start or go on, each with a message for the operator; logs are flushed before it ends.
 */
import { agentUsage, ConfigError, loadAgentConfig, wantsHelp } from "../config/index.ts";
import { createLogger, errorText, type RootLogger } from "../log/index.ts";
import { Agent } from "./agent.ts";
import { returnMemory } from "../observe/index.ts";

/** Longest time that stopping may take, in milliseconds; what is not closed by then is left to the kernel. */
const STOP_MS = 1_500;

/** Where the process's words come from and go to. */
export interface Process {
  /** Arguments without the program's own name. */
  argv: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  version: string;
}

/** Runs an agent until it is told to stop. @returns the exit status; never rejects. */
export async function runAgent({ argv, env, version }: Process): Promise<number> {
  // Watching the kernel keeps threads of the pool waiting; file and name look-ups must not queue behind them.
  process.env["UV_THREADPOOL_SIZE"] ??= "8";
  if (argv.includes("--version")) return say(`${version}\n`, 0);
  if (wantsHelp(argv)) return say(agentUsage(), 0);
  let log: RootLogger | undefined;
  try {
    const config = loadAgentConfig({ argv, env });
    log = createLogger({ level: config.logLevel, format: config.logFormat, base: { node: config.nodeName } });
    const told = stopSignal();
    const agent = await Agent.start(config, log, version);
    let started = false;
    const endReturning = returnMemory(() => !(started ||= agent.readiness().ready));
    const end = await Promise.race([told, agent.failed]);
    endReturning();
    if (end instanceof Error) log.error("skylane-agent cannot go on; the data path stays as it is", { error: end });
    else log.info(`${end}: stopping; the data path stays as it is`);
    await Promise.race([agent.stop(), new Promise((resolve) => setTimeout(resolve, STOP_MS).unref())]);
    await log.drain(400);
    return end instanceof Error ? 1 : 0;
  } catch (error) {
    if (error instanceof ConfigError || !log) return say(`skylane-agent: ${errorText(error)}\n`, 1);
    log.error("skylane-agent cannot start", { error });
    await log.drain(400);
    return 1;
  }
}

function say(text: string, status: number): number {
  (status === 0 ? process.stdout : process.stderr).write(text);
  return status;
}

function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => resolve(signal));
  });
}
