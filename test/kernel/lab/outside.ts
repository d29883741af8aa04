/** A host outside of a lab's cluster that says whom it sees, and pods that ask it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { entering, run } from "../../../lab/exec.ts";
import type { Lab } from "../../../lab/index.ts";
import { podNetns } from "../../../lab/pods/pods.ts";
import { eventually } from "../../support/eventually.ts";

/** Its addresses; it is not the API server's host. */
export const OUTSIDE = { 4: "172.30.0.9", 6: "fd30::9" } as const;
const PORT = 7070;
/** Says who has called, and then what it is told, for as long as the caller likes. */
const SERVER = `require("node:net").createServer((s)=>{s.write(s.remoteAddress.replace("::ffff:","")+"\\n");s.on("data",(d)=>s.write(d)).on("error",()=>{})}).listen(${PORT},"::",()=>console.log("listening"))`;
const ASK = `const s=require("node:net").connect({host:process.argv[1],port:${PORT}});s.setTimeout(1500,()=>{console.log("nobody");process.exit()});s.on("data",(d)=>{console.log(String(d).trim());process.exit()}).on("error",(e)=>{console.log(e.code);process.exit()})`;
/** One connection on which a byte goes there and back again and again; a dot for each answer. */
const TALK = `const s=require("node:net").connect({host:process.argv[1],port:${PORT}},()=>{s.once("data",()=>{s.on("data",()=>{process.stdout.write(".");setTimeout(()=>s.write("x"),20)});s.write("x")})}).on("error",(e)=>process.stdout.write(e.code))`;

/** What the pods of a suite do with it. */
export interface Outside {
  /** One connection of a pod's that goes on and on. @returns what came of it so far, a dot for each answer */
  talk: (pod: string, ip: string) => () => string;
  /** Whom the host sees when a pod calls it. */
  seenOf: (pod: string, family: 4 | 6) => Promise<string>;
  /** Waits until it sees this address of a pod. */
  sees: (pod: string, family: 4 | 6, address: string) => Promise<unknown>;
}

/** Such a host for a suite, for as long as that lasts. */
export function useOutside(the: () => Lab): Outside {
  const children: ChildProcess[] = [];
  const start = (argv: readonly string[]): (() => string) => {
    const [command, ...args] = argv;
    const { env } = the().context;
    const child = spawn(command as string, args, { stdio: ["ignore", "pipe", "inherit"], detached: true, env });
    children.push(child);
    let said = "";
    child.stdout.on("data", (text: Buffer) => (said += String(text)));
    return () => said;
  };
  const inPod = (name: string, script: string, ...args: string[]): string[] =>
    entering({ netns: podNetns(the().context, the().pod(name)) }, process.execPath, ["-e", script, ...args]);
  const seenOf = async (name: string, family: 4 | 6): Promise<string> =>
    (await run(inPod(name, ASK, OUTSIDE[family]), { env: the().context.env })).trim();

  before("a host outside", async () => {
    for (const prefix of [`${OUTSIDE[4]}/32`, `${OUTSIDE[6]}/128`])
      await run(the().enterFabric("ip", "address", "add", prefix, "dev", "switch0"), { env: the().context.env });
    const listening = start(the().enterFabric(process.execPath, "-e", SERVER));
    await eventually(() => listening().includes("listening"));
  });

  after(async () => {
    for (const child of children.splice(0)) {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      const closed = once(child, "close");
      process.kill(-child.pid, "SIGKILL");
      await closed;
    }
  });

  return {
    talk: (name, ip) => start(inPod(name, TALK, ip)),
    seenOf,
    sees: (name, family, address) =>
      eventually(
        async () => {
          const seen = await seenOf(name, family);
          if (seen !== address) throw new Error(`it sees ${seen}`);
          return true;
        },
        { message: `the host outside does not see ${address} of ${name}` },
      ),
  };
}
