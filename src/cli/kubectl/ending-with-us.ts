/**
 * A program that ends with this process however that ends, SIGKILL included, on any system with a POSIX shell: the shell that runs it waits for
 * the end of a pipe from here, which the kernel closes when nobody is here any more.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";

/**
 * $1 is a directory that goes when nobody is here any more; the rest is the program. What is started with & does not hear of Ctrl-C, so the shell ignores it
 * as well. It does not hold the program's output open, so that the end of that tells that the program has ended; a line that is read then says that
 * somebody is here still, and that the number of the program's process may be another's by now.
 */
const SHELL = `
trap '' INT
dir=$1
shift
"$@" </dev/null &
program=$!
trap 'kill "$program"' TERM HUP
exec >/dev/null 2>&1
read -r ended
[ -n "$ended" ] || kill "$program"
wait "$program"
status=$?
[ -n "$ended" ] || rm -rf "$dir"
exit "$status"
`;

/** The shell: its outputs are the program's, its status is the program's, 127 where that cannot be found, and it ends the program when its input ends. */
export type EndingWithUs = ChildProcessByStdio<Writable, Readable, Readable>;

/** Runs a program. @param dir a directory of the program's, removed when this process has ended before it */
export function endingWithUs(dir: string, program: string, args: readonly string[]): EndingWithUs {
  const child = spawn("/bin/sh", ["-c", SHELL, "sh", dir, program, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  // The shell has ended before.
  child.stdin.on("error", () => undefined);
  child.stdout.once("end", () => child.stdin.end("ended\n"));
  return child;
}
