/**
 * The embedded API server as a process of its own, so that it can stand inside a network namespace where agents reach
 * it. The test talks to it over IPC: requests are made from here, faults are set here.
 */
import { Agent, request } from "node:https";
import { startApiServer } from "../../../lab/api/index.ts";
import type { FaultSettings } from "../../../lab/api/faults.ts";

/** A call of the test's. */
export type ApiCall =
  | { id: number; kind: "request"; method: string; path: string; body?: unknown; contentType?: string }
  | { id: number; kind: "create"; path: string; objects: readonly unknown[] }
  | { id: number; kind: "faults"; settings: FaultSettings };

/** Its answer. */
export type ApiReply = { id: number; value?: unknown; error?: string };

const host = process.argv[2] as string;
const server = await startApiServer({ host, port: 6443, bookmarkIntervalMs: 2_000 });

/** Thousands of objects: a connection for each would take longer than all the rest. */
async function create(path: string, objects: readonly unknown[]): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const waiting = objects.values();
  const one = async (): Promise<void> => {
    for (const body of waiting) {
      const { status, text } = await send({ method: "POST", path, body }, agent);
      if (status >= 300) throw new Error(`POST ${path}: ${status} ${text}`);
    }
  };
  try {
    await Promise.all([one(), one(), one(), one()]);
  } finally {
    agent.destroy();
  }
}

async function serve(call: ApiCall): Promise<unknown> {
  if (call.kind === "faults") return server.faults.set(call.settings);
  if (call.kind === "create") return create(call.path, call.objects);
  const { status, text } = await send(call);
  if (status >= 300) throw new Error(`${call.method} ${call.path}: ${status} ${text}`);
  return JSON.parse(text) as unknown;
}

type Request = Omit<Extract<ApiCall, { kind: "request" }>, "id" | "kind">;

function send(call: Request, agent: Agent | false = false): Promise<{ status: number; text: string }> {
  const { method, path, body, contentType = "application/json" } = call;
  const headers = { authorization: `Bearer ${server.adminToken}`, "content-type": contentType };
  return new Promise((resolve, reject) => {
    const ask = request(`${server.url}${path}`, { method, headers, ca: server.caPem, agent }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      response.on("error", reject);
    });
    ask.on("error", reject);
    ask.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

process.on("message", (call: ApiCall) => {
  void serve(call).then(
    (value) => process.send?.({ id: call.id, value } satisfies ApiReply),
    (error: Error) => process.send?.({ id: call.id, error: error.message } satisfies ApiReply),
  );
});
process.on("disconnect", () => process.exit(0));
process.send?.({ id: 0, value: server.kubeconfig() } satisfies ApiReply);
