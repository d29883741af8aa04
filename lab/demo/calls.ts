/** Programs that say who has called them, and callers; in pods, and on a host outside of the cluster. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Lab } from "../lab.ts";
import { entering, run } from "../exec.ts";
import { podNetns } from "../pods/pods.ts";

/** Says its name and who has called, and ends the call. */
const ANSWER = `
  const [name, port] = process.argv.slice(1);
  require("node:net").createServer((socket) => {
    socket.on("error", () => {}).end(name + " sees " + socket.remoteAddress.replace("::ffff:", ""));
  }).listen(Number(port), "::", () => console.log("ready"));
`;
/** Calls, and says what it is told, or why it is told nothing. */
const CALL = `
  const [host, port, ms] = process.argv.slice(1);
  const socket = require("node:net").connect({ host, port: Number(port) });
  const say = (text) => { console.log(text); process.exit(); };
  setTimeout(say, Number(ms), "no answer");
  socket.on("error", ({ code }) => say(code === "ECONNREFUSED" ? "refused" : code));
  socket.on("data", (data) => say(String(data)));
`;

/** The name of a pod, or the host outside. */
export type Caller = { pod: string } | "outside";

const argvOf = (lab: Lab, who: Caller, program: string, args: readonly string[]): string[] =>
  who === "outside"
    ? lab.enterFabric(process.execPath, "-e", program, ...args)
    : // A program of this machine in a pod's network: a node's own files need not have it.
      entering({ netns: podNetns(lab.context, lab.pod(who.pod)) }, process.execPath, ["-e", program, ...args]);

/** Has somebody answer calls on a TCP port, for as long as the lab is up. @throws Error when that cannot be */
export async function answering(lab: Lab, who: Caller, name: string, port: number): Promise<ChildProcess> {
  const [command = "", ...args] = argvOf(lab, who, ANSWER, [name, String(port)]);
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], env: lab.context.env });
  const ended = once(child, "close").then(() => Promise.reject(new Error(`${name} cannot answer on port ${port}`)));
  await Promise.race([once(child.stdout, "data"), ended]);
  // Nobody waits for it any more.
  ended.catch(() => undefined);
  child.unref();
  return child;
}

/** Calls once, and waits at most so many milliseconds. @returns "NAME sees ADDRESS", or why there is no answer */
export const call = async (lab: Lab, who: Caller, host: string, port: number, ms = 3_000): Promise<string> =>
  (await run(argvOf(lab, who, CALL, [host, String(port), String(ms)]), { env: lab.context.env })).trim();
