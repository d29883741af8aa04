/** Running kubectl, which knows the cluster and the user's rights. */
import { spawn } from "node:child_process";
import { CommandError } from "../command.ts";

const MOST_COMPLAINTS = 8_192;

/** A cluster, as kubectl is told of it. */
export interface Kubectl {
  /** The program. */
  program: string;
  /** Options before everything else: context, kubeconfig, namespace. */
  options: readonly string[];
}

/** Runs it with this process's own input and output. @returns its exit status. @throws CommandError when it cannot be run */
export const kubectl = (cluster: Kubectl, args: readonly string[]): Promise<number> =>
  new Promise((resolve, reject) => {
    const child = spawn(cluster.program, [...cluster.options, ...args], { stdio: "inherit" });
    child.once("error", (cause) => reject(cannotRun(cluster, cause)));
    child.once("close", (code) => resolve(code ?? 1));
  });

/** How much it may say, in bytes, and how long it may take, in milliseconds. */
export interface Limits {
  most: number;
  timeoutMs: number;
  /** What it reads. */
  input?: string;
  /** Ends it before. */
  signal?: AbortSignal | undefined;
  /** In a process group of its own: Ctrl-C at the terminal is for whoever started it, who decides what becomes of it. */
  apart?: boolean;
}

/** How it ended, and all that it said. */
export interface Answer {
  status: number;
  stdout: Buffer;
  stderr: string;
}

/** Its answer, whatever that is. @throws CommandError when it cannot be run, or says or takes more than it may */
export const kubectlAnswer = (cluster: Kubectl, args: readonly string[], limits: Limits): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const { input, signal, apart = false } = limits;
    const child = spawn(cluster.program, [...cluster.options, ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      detached: apart,
    });
    // One that ends without having read what it was given tells by its status whether that was right.
    child.stdin.on("error", () => undefined).end(input);
    const said: Buffer[] = [];
    let [size, stderr] = [0, ""];
    let stopped: string | undefined;
    const stop = (why: string): void => {
      stopped ??= why;
      child.kill("SIGKILL");
    };
    const interrupt = (): void => stop("interrupted");
    signal?.addEventListener("abort", interrupt);
    if (signal?.aborted === true) interrupt();
    const timer = setTimeout(() => stop(`no end within ${limits.timeoutMs} ms`), limits.timeoutMs);
    child.stdout.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > limits.most) stop(`more than ${limits.most} bytes`);
      else said.push(chunk);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(0, MOST_COMPLAINTS)));
    const ended = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", interrupt);
    };
    child.once("error", (cause) => {
      ended();
      reject(cannotRun(cluster, cause));
    });
    child.once("close", (code) => {
      ended();
      if (stopped === undefined) resolve({ status: code ?? 1, stdout: Buffer.concat(said), stderr });
      else reject(new CommandError(`kubectl ${args.join(" ")}: ${stopped}`));
    });
  });

/** What it prints. @throws CommandError as {@link kubectlAnswer}, and with its own words when it fails */
export async function kubectlOutput(cluster: Kubectl, args: readonly string[], limits: Limits): Promise<Buffer> {
  const { status, stdout, stderr } = await kubectlAnswer(cluster, args, limits);
  if (status !== 0) throw new CommandError(`kubectl ${args.join(" ")}: ${stderr.trim() || `status ${status}`}`);
  return stdout;
}

const cannotRun = ({ program }: Kubectl, cause: Error): CommandError =>
  new CommandError(`${program} cannot be run`, { cause });
