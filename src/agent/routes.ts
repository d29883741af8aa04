/** The agent's HTTP routes, on its TCP address and on its Unix socket. */
import { json, type Routes, text } from "./http.ts";
import type { Readiness } from "./readiness.ts";
import type { AgentStatus } from "./status.ts";

/** What the routes answer from. */
export interface RouteSources {
  /** Why the agent counts as stuck; undefined while it lives. */
  stuck: () => string | undefined;
  readiness: () => Readiness;
  metrics: () => Promise<string>;
  status: () => AgentStatus;
}

/** `/healthz`, `/readyz`, `/metrics` and `/status`. */
export function agentRoutes({ stuck, readiness, metrics, status }: RouteSources): { tcp: Routes; unix: Routes } {
  const tcp: Routes = {
    "/healthz": () => {
      const why = stuck();
      return why === undefined ? text(200, "ok\n") : text(503, `${why}\n`);
    },
    "/readyz": () => {
      const answer = readiness();
      return json(answer.ready ? 200 : 503, answer);
    },
    "/metrics": async () => ({
      status: 200,
      type: "text/plain; version=0.0.4; charset=utf-8",
      body: await metrics(),
    }),
  };
  // Names and addresses of all nodes are for the operator of this one only.
  return { tcp, unix: { ...tcp, "/status": () => json(200, status()) } };
}
