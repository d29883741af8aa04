/**
 * A Unix socket that only its owner may use: made under a name of its own, closed to others, and then renamed into place,
 * so that it is never open to others and a stale one is replaced in one step. The caller must hold the lock that makes it
 * the only agent.
 */
import { chmodSync, lstatSync, renameSync, rmSync } from "node:fs";
import type { Server } from "node:net";

/** Permission bits of the socket. */
export const SOCKET_MODE = 0o600;

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

/**
 * Lets a server listen on the socket of that path. A directory in its place is not touched.
 * @returns the file that is the socket. @throws Error with `code` when it cannot listen
 */
export async function listenPrivately(server: Server, path: string): Promise<{ dev: bigint; ino: bigint }> {
  const aside = `${path}.${process.pid}`;
  rmSync(aside, { force: true });
  const umask = process.umask(0o177); // a path is bound within the call, so nobody else's files see this mask
  const ready = listening(server, { path: aside });
  process.umask(umask);
  await ready;
  try {
    chmodSync(aside, SOCKET_MODE);
    const file = lstatSync(aside, { bigint: true });
    renameSync(aside, path);
    return file;
  } catch (error) {
    server.close();
    throw error;
  }
}
