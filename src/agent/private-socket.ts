/**
 * A Unix socket that only its owner may use: made under a name of its own, closed to others, and then renamed into place,
 * so that it is never open to others and a stale one is replaced in one step. The caller must hold the lock that makes it
 * the only agent.
 */
import { chmodSync, renameSync, rmSync } from "node:fs";
import type { Server } from "node:net";

/** Resolves when a server listens where it was told. @throws Error with `code` (EADDRINUSE, EADDRNOTAVAIL) when it cannot */
export function listening(server: Server, where: { host: string; port: number } | { path: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

/** Lets a server listen on the socket of that path. @throws Error with `code` when it cannot listen */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  const aside = `${path}.${process.pid}`;
  rmSync(aside, { force: true });
  const umask = process.umask(0o177); // a path is bound within the call, so nobody else's files see this mask
  const ready = listening(server, { path: aside });
  process.umask(umask);
  await ready;
  chmodSync(aside, 0o600);
  renameSync(aside, path);
}
