/**
 * Being told that something has arrived on a socket, for as many sockets as there are and without a thread for any. The
 * kernel sends SIGIO when a socket marked O_ASYNC has got something (fcntl(2), F_SETOWN); Node hands the
 * signal to the event loop, and poll(2) says which sockets it was. Signals that come before one is handled are one signal,
 * which does no harm: all sockets are looked at, and what arrives afterwards is a signal again.
 *
 * A process that nobody prepared is ended by SIGIO, so the handler, once there, stays.
 */
import { SysError } from "../errors.ts";
import { libc } from "../libc.ts";

/** fcntl(2), open(2), poll(2) */
const F_GETFL = 3;
const F_SETFL = 4;
const F_SETOWN = 8;
const O_ASYNC = 0o20000;
const POLLIN = 1;
const POLLFD = 8;
/** What nobody has announced is found this much later, in milliseconds. */
const LOOK_UP_MS = 5_000;

const watched = new Map<number, () => void>();
let prepared = false;

function look(): void {
  if (watched.size === 0) return;
  const fds = [...watched];
  const asked = Buffer.alloc(fds.length * POLLFD);
  for (const [n, [fd]] of fds.entries()) {
    asked.writeInt32LE(fd, n * POLLFD);
    asked.writeInt16LE(POLLIN, n * POLLFD + 4);
  }
  if (libc().call.poll(asked, BigInt(fds.length), 0) <= 0) return;
  // one that is no longer watched may have gone in the course of another one's call
  for (const [n, [fd, onArrival]] of fds.entries())
    if (asked.readInt16LE(n * POLLFD + 6) !== 0 && watched.get(fd) === onArrival) onArrival();
}

function prepare(): void {
  if (prepared) return;
  prepared = true;
  process.on("SIGIO", look);
  setInterval(look, LOOK_UP_MS).unref();
}

function control(fd: number, command: number, argument: number): number {
  const { call, errno } = libc();
  const result = call.fcntl(fd, command, argument);
  if (result < 0) throw new SysError(errno(), "fcntl", "asking for a signal when something arrives on a socket");
  return result;
}

/**
 * Calls `onArrival`, from the event loop, whenever there is something to read on a socket or it has failed; also for what is
 * there already. It is called again only after more has arrived, so it must read all, or come back by itself. Does not keep
 * the process running. Dispose of it when the socket is closed at the latest. @throws SysError
 */
export function watchArrivals(fd: number, onArrival: () => void): Disposable {
  prepare();
  watched.set(fd, onArrival);
  try {
    control(fd, F_SETOWN, process.pid);
    control(fd, F_SETFL, control(fd, F_GETFL, 0) | O_ASYNC);
  } catch (error) {
    watched.delete(fd);
    throw error;
  }
  setImmediate(look);
  return {
    [Symbol.dispose]: () => {
      // The number may be another socket's by now.
      if (watched.get(fd) !== onArrival) return;
      watched.delete(fd);
      try {
        control(fd, F_SETFL, control(fd, F_GETFL, 0) & ~O_ASYNC);
      } catch (error) {
        if (!(error instanceof SysError && error.code === "EBADF")) throw error;
      }
    },
  };
}
