/**
 * Running nft and the legacy iptables tools: arguments as a list and rules on standard input, so nothing is ever read by
 * a shell, however long it is; a time limit on everything; standard error in the error.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { withNetns } from "../../sys/index.ts";

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** How long a tool may take, in milliseconds: a table of ten thousand peers takes a tenth of a second. */
const TIMEOUT_MS = 15_000;
const MAX_OUTPUT = 64 * 1024 * 1024;
const MAX_STDERR = 4_096;

/** A tool failed, could not be started, or took too long. */
export class NftError extends Error {
  /** The program. */
  readonly program: string;
  /** `missing`: it is not installed; `refused`: it ended with an error; `timeout`. */
  readonly reason: "missing" | "refused" | "timeout";
  /** What it wrote to standard error, cut. */
  readonly stderr: string;

  constructor(program: string, reason: NftError["reason"], stderr: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "NftError";
    this.program = program;
    this.reason = reason;
    this.stderr = stderr;
  }
}

/** Where tools run. */
export interface ToolOptions {
  /** Network namespace, as path or descriptor; the process's own when absent. */
  netns?: number | string | undefined;
  timeoutMs?: number;
}

/** Runs a tool to its end and returns what it printed. @throws NftError (as a rejection) */
export type RunTool = (program: string, args: readonly string[], input?: string) => Promise<string>;

/** A function that runs tools in a namespace. The child is made by the calling thread, so it is born there. */
export function toolRunner({ netns, timeoutMs = TIMEOUT_MS }: ToolOptions = {}): RunTool {
  return (program, args, input = "") => {
    const start = (): Child => spawn(program, [...args], { stdio: ["pipe", "pipe", "pipe"] });
    return finish(netns === undefined ? start() : withNetns(netns, start), program, args, input, timeoutMs);
  };
}

function finish(
  child: Child,
  program: string,
  args: readonly string[],
  input: string,
  timeoutMs: number,
): Promise<string> {
  const command = `${program} ${args.join(" ")}`.trimEnd();
  return new Promise((resolve, reject) => {
    const output: Buffer[] = [];
    let size = 0;
    let stderr = "";
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    child.stdout.on("data", (data: Buffer) => {
      size += data.length;
      if (size <= MAX_OUTPUT) output.push(data);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (stderr.length < MAX_STDERR) stderr = (stderr + text).slice(0, MAX_STDERR);
    });
    // A tool that ends before it has read everything closes the pipe; its exit status says why.
    child.stdin.on("error", () => undefined);
    child.once("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      const missing = error.code === "ENOENT";
      const message = missing
        ? `${program} is not installed, or not in PATH`
        : `cannot start ${program}: ${error.message}`;
      reject(new NftError(program, missing ? "missing" : "refused", "", message, { cause: error }));
    });
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      const said = stderr.trim();
      if (late)
        reject(new NftError(program, "timeout", said, `${command} took longer than ${timeoutMs} ms and was ended`));
      else if (code === 0) resolve(Buffer.concat(output).toString("utf8"));
      else
        reject(
          new NftError(
            program,
            "refused",
            said,
            `${command} failed (${signal ?? `status ${code}`}): ${said || "it said nothing"}`,
          ),
        );
    });
    child.stdin.end(input);
  });
}
