/** Calls CNI plugins through bench/native/meter.c, as a runtime does: one process a call, configuration on stdin. */
import { spawn } from "node:child_process";

/** One call of a plugin. */
export interface Call {
  path: string;
  command: "ADD" | "DEL" | "STATUS";
  containerId: string;
  netns: string;
  config: object;
  /** The pod, as a kubelet names it; nobody's by default. */
  pod?: { namespace: string; name: string };
}

/** What it took. */
export interface CallResult {
  /** Milliseconds from the fork to the end. */
  wall: number;
  /** Milliseconds of processor time of it and its children. */
  cpu: number;
  stdout: string;
}

/** What some calls took, each and all together (milliseconds). */
export interface CallResults {
  results: CallResult[];
  all: number;
}

/** Runs calls in their order inside a namespace, so many at a time. @throws Error when one fails */
export async function runCalls(
  meter: string,
  netns: string,
  calls: readonly Call[],
  atATime = 1,
): Promise<CallResults> {
  const input = calls.map(({ path, command, containerId, netns, config, pod }) => {
    const folders = new Set([path.replace(/\/[^/]*$/, ""), "/usr/lib/cni"]);
    const environment = [
      `CNI_COMMAND=${command}`,
      ...(command === "STATUS" ? [] : [`CNI_CONTAINERID=${containerId}`, `CNI_NETNS=${netns}`, "CNI_IFNAME=eth0"]),
      ...(pod ? [`CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=${pod.namespace};K8S_POD_NAME=${pod.name}`] : []),
      `CNI_PATH=${[...folders].join(":")}`,
      `PATH=${process.env["PATH"] ?? ""}`,
    ];
    const stdin = JSON.stringify(config);
    return `${environment.length} ${Buffer.byteLength(stdin)} ${path}\n${environment.join("\n")}\n${stdin}`;
  });
  const out = await outputOf(meter, [netns, String(atATime)], input.join(""));
  let at = 0;
  const line = (): number[] => {
    const end = out.indexOf(10, at);
    const numbers = out.toString("latin1", at, end).split(" ").map(Number);
    at = end + 1;
    return numbers;
  };
  const results = calls.map(({ path, command, containerId }) => {
    const [wall = 0, cpu = 0, status = 1, length = 0] = line();
    const stdout = out.toString("utf8", at, at + length);
    at += length;
    if (status !== 0) throw new Error(`${path} ${command} ${containerId}: exit ${status}: ${stdout}`);
    return { wall: wall / 1e6, cpu: cpu / 1e3, stdout };
  });
  return { results, all: (line()[0] ?? 0) / 1e6 };
}

function outputOf(command: string, args: readonly string[], input: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.once("error", reject);
    child.once("close", (status) => {
      if (status === 0) resolve(Buffer.concat(chunks));
      else reject(new Error(`${command} ${args.join(" ")}: exit ${status}`));
    });
    child.stdin.end(input);
  });
}
