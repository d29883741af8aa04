/** The doctor's findings about this node, for its own command and for whoever passes them on. */
import { dirname, join } from "node:path";
import type { AgentConfig } from "../../config/index.ts";
import type { Facts } from "./facts.ts";
import type { Finding } from "./finding.ts";

/** Whom to ask, and about whom. */
export interface DiagnoseOptions {
  /** The agent's socket. */
  socket: string;
  /** How long a probe waits for its answer, in milliseconds. */
  timeoutMs: number;
  /** The one peer to probe; all of them where there is none. */
  only: string | undefined;
}

/** Looks at everything and judges it. */
export async function diagnose(
  config: AgentConfig,
  { socket, timeoutMs, only }: DiagnoseOptions,
): Promise<{ facts: Facts; findings: Finding[] }> {
  // Only this needs the agent's code and what that stands on.
  const [{ gather }, { judge }] = await Promise.all([import("./gather/gather.ts"), import("./judge/judge.ts")]);
  const { vni, port, listen, cni, runDir, dataDir } = config;
  const facts = await gather({
    socket,
    runDir,
    dataDir,
    resultsDir: join(dirname(dataDir), "results"),
    settings: { vni, port, listen, confDir: cni.confDir, confName: cni.confName, binDir: cni.binDir },
    timeoutMs,
    only,
  });
  return { facts, findings: judge(facts) };
}
