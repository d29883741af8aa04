/**
 * The CNI plugin as an executable: environment and stdin in, stdout and exit status out. All of the work is
 * `handle`; here is only what a process adds to it.
 */
import { readSync, writeSync } from "node:fs";
import { type CniAnswer, handle, SUPPORTED_VERSIONS } from "../../src/cni/index.ts";
import { monotonicMs } from "../../src/sys/index.ts";

/** One byte more than is accepted, so that a larger request is seen to be one. */
const MAX_STDIN = 1024 * 1024 + 1;

/** All of stdin, read to its end or to the limit; a runtime's pipe or file, so reading blocks and may. */
function readStdin(): Buffer {
  const chunks: Buffer[] = [];
  for (let size = 0; size < MAX_STDIN; ) {
    const chunk = Buffer.allocUnsafe(64 * 1024);
    let length: number;
    try {
      length = readSync(0, chunk, 0, chunk.length, null);
    } catch (error) {
      // A closed stdin, or a terminal set to non-blocking with nothing to say, is an empty request.
      if (error instanceof Error && "code" in error && (error.code === "EBADF" || error.code === "EAGAIN")) break;
      throw error;
    }
    if (length === 0) break;
    chunks.push(chunk.subarray(0, length));
    size += length;
  }
  return Buffer.concat(chunks);
}

/** Writes the whole answer; a pipe that another process made non-blocking is waited for a little. @throws EPIPE and others */
function writeStdout(text: string): void {
  const bytes = Buffer.from(text);
  const giveUpAt = monotonicMs() + 5000;
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(1, bytes, written);
    } catch (error) {
      const full = error instanceof Error && "code" in error && error.code === "EAGAIN";
      if (!full || monotonicMs() > giveUpAt) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

async function main(): Promise<void> {
  // No runtime: somebody at a terminal, who is told what this is, as the reference plugins do.
  if (!process.env.CNI_COMMAND) {
    const version = process.env.SKYLANE_VERSION ?? "dev";
    process.stderr.write(`CNI skylane plugin ${version}\n`);
    process.stderr.write(`CNI protocol versions supported: ${SUPPORTED_VERSIONS.join(", ")}\n`);
    return;
  }
  const answer: CniAnswer = await handle({
    env: process.env,
    stdin: readStdin(),
    startedAt: monotonicMs() - process.uptime() * 1000,
  });
  process.exitCode = answer.exitCode;
  try {
    writeStdout(answer.stdout);
  } catch (error) {
    // Nobody will ever know of an attachment whose result nobody read.
    process.exitCode = 1;
    process.stderr.write(`skylane: the answer could not be written: ${String(error)}; taking everything back\n`);
    await answer.undo?.();
  }
}

main().catch((error: unknown) => {
  process.exitCode = 1;
  process.stderr.write(`skylane: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
});
