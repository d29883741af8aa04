/** Requests to the lab's control plane, beside its API server. */
import { request } from "node:http";
import type { LabContext } from "../cluster/context.ts";
import type { NodeCredentials } from "./main.ts";

/** A machine that is emulated, or crowded, has let it wait for ten seconds; what takes as long as this hangs. */
const TIMEOUT_MS = 60_000;

/** One request; the answer's JSON. @throws Error with what the control plane says, or when it does not answer */
export function callControl(lab: LabContext, method: string, path: string, body?: unknown): Promise<unknown> {
  const socketPath = lab.files.path("control.sock");
  return new Promise((resolve, reject) => {
    const fail = (cause: Error): void =>
      reject(new Error(`the lab's control plane does not answer (${cause.message})`, { cause }));
    const ask = request({ socketPath, method, path, agent: false, timeout: TIMEOUT_MS }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", fail);
      response.on("end", () => {
        const answer = JSON.parse(Buffer.concat(chunks).toString()) as { error?: string };
        if (response.statusCode === 200) resolve(answer);
        else reject(new Error(answer.error ?? `the lab's control plane answered ${response.statusCode}`));
      });
    });
    ask.on("timeout", () => ask.destroy(new Error(`no answer within ${TIMEOUT_MS} ms`)));
    ask.on("error", fail);
    ask.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** New tokens for a node's kubelet and agent. */
export const newCredentials = async (lab: LabContext, node: string): Promise<NodeCredentials> =>
  (await callControl(lab, "POST", "/credentials", node)) as NodeCredentials;
