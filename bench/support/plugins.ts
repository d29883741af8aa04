/** Calls CNI plugins through bench/native/meter.c, as a runtime does: one process a call, configuration on stdin. */
import { execFileSync } from "node:child_process";

/** One call of a plugin. */
export interface Call {
  path: string;
  command: "ADD" | "DEL";
  containerId: string;
  netns: string;
  config: object;
}

/** What it took. */
export interface CallResult {
  /** Milliseconds from the fork to the end. */
  wall: number;
  /** Milliseconds of processor time of it and its children. */
  cpu: number;
  stdout: string;
}

/** Runs calls in their order inside a namespace. @throws Error when one fails */
export function runCalls(
  meter: string,
  netns: string,
  calls: readonly Call[],
  atATime = 1,
): { results: CallResult[]; all: number } {
  const input = calls.map(({ path, command, containerId, netns, config }) => {
    const folders = new Set([path.replace(/\/[^/]*$/, ""), "/usr/lib/cni"]);
    const environment = [
      `CNI_COMMAND=${command}`,
      `CNI_CONTAINERID=${containerId}`,
      `CNI_NETNS=${netns}`,
      "CNI_IFNAME=eth0",
      `CNI_PATH=${[...folders].join(":")}`,
      `PATH=${process.env["PATH"] ?? ""}`,
    ];
    const stdin = JSON.stringify(config);
    return `${environment.length} ${Buffer.byteLength(stdin)} ${path}\n${environment.join("\n")}\n${stdin}`;
  });
  const out = execFileSync(meter, [netns, String(atATime)], { input: input.join(""), maxBuffer: 1 << 28 });
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
