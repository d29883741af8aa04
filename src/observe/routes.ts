/** The agent's HTTP routes, on its TCP address and on its Unix socket. */
import { json, type Routes, text } from "../http/index.ts";
import { LOG_LEVELS, type LogLevel } from "../log/index.ts";
import type { Readiness } from "./readiness.ts";
import type { AgentStatus } from "./status.ts";

/** What the routes answer from. */
export interface RouteSources {
  /** Why the agent counts as stuck; undefined while it lives. */
  stuck: () => string | undefined;
  readiness: () => Readiness;
  metrics: () => Promise<string>;
  status: () => AgentStatus;
  /** Further answers on the Unix socket. */
  more: Routes;
  /** What is logged. */
  level: { get: () => LogLevel; set: (level: LogLevel) => void };
}

const isLogLevel = (text: string | null): text is LogLevel => (LOG_LEVELS as readonly (string | null)[]).includes(text);

/** `/healthz`, `/readyz`, `/metrics`; on the socket also `/status`, `/log-level` and what others answer. */
export function agentRoutes({ stuck, readiness, metrics, status, more, level }: RouteSources): {
  tcp: Routes;
  unix: Routes;
} {
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
  const unix: Routes = {
    ...tcp,
    ...more,
    "/status": () => json(200, status()),
    "/log-level": () => text(200, `${level.get()}\n`),
    "PUT /log-level": (query) => {
      const wanted = query.get("level");
      if (!isLogLevel(wanted)) return text(400, `the level must be one of ${LOG_LEVELS.join(", ")}\n`);
      level.set(wanted);
      return text(200, `${wanted}\n`);
    },
  };
  return { tcp, unix };
}
