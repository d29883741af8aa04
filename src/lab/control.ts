/**
 * The lab's control plane: the embedded API server on the fabric's address, and a Unix socket that leads to the
 * same port, since this machine has no way into the lab's network. Runs as a process of its own inside the fabric.
 */
import { writeSync } from "node:fs";
import { connect, createServer } from "node:net";
import { startApiServer } from "./api/index.ts";
import type { ApiRecord } from "./records.ts";

/** What the control plane is told, and what it answers once it serves. */
export interface ControlSpec {
  host: string;
  port: number;
  socketPath: string;
}
export type FromControl = { api: Omit<ApiRecord, "process"> } | { failed: string };

/** Pipes each connection of the Unix socket to the server's port. */
function bridgeSocket({ host, port, socketPath }: ControlSpec): Promise<void> {
  const server = createServer((client) => {
    const upstream = connect({ host, port });
    const close = (): void => {
      client.destroy();
      upstream.destroy();
    };
    client.on("error", close).on("close", close);
    upstream.on("error", close).on("close", close);
    client.pipe(upstream).pipe(client);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath, () => resolve());
  });
}

/** Serves until it is killed; resolves with the exit status when it cannot start. */
export function runControl(): Promise<number> {
  return new Promise((resolve) => {
    const start = async (spec: ControlSpec): Promise<void> => {
      const server = await startApiServer({ host: spec.host, port: spec.port });
      await bridgeSocket(spec);
      const { url, caPem, adminToken } = server;
      process.send?.({ api: { url, caPem, token: adminToken, kubeconfig: server.kubeconfig() } } satisfies FromControl);
    };
    process.once("message", (spec: ControlSpec) => {
      start(spec).catch((error: unknown) => {
        const failed = error instanceof Error ? (error.stack ?? error.message) : String(error);
        writeSync(2, `${failed}\n`);
        process.send?.({ failed } satisfies FromControl);
        resolve(1);
      });
    });
  });
}
