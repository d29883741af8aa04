/** Packets on the underlay as tcpdump(8) sees them: what really is on the wire between nodes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Lab } from "../lab.ts";

/** A running capture. */
export interface Capture {
  /** Ends it and returns the lines printed so far. */
  stop(): Promise<string[]>;
  /** Resolves when that many lines came. @throws Error when they have not within `timeoutMs` */
  lines(count: number, timeoutMs?: number): Promise<string[]>;
}

/** Every packet begins with the time when it was seen. */
const TIME = /^\d\d:\d\d:\d\d\.\d{6} /;

/** tcpdump is not on this machine. */
export class NoTcpdump extends Error {
  override readonly name = "NoTcpdump";
}

/**
 * Starts capturing on a device of the fabric ("any" is none); resolves once it listens.
 * @throws NoTcpdump; Error with tcpdump's words, such as for a bad filter
 */
export async function capture(
  lab: Lab,
  device: string,
  filter: readonly string[],
  options: readonly string[] = [],
): Promise<Capture> {
  const argv = lab.enterFabric("tcpdump", "-i", device, "-n", "-l", "-U", "--immediate-mode", ...options, ...filter);
  const [command, ...args] = argv as [string, ...string[]];
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: lab.context.env });
  const lines: string[] = [];
  const ended = once(child, "close");
  let arrived = (): void => undefined;
  const output = createInterface({ input: child.stdout });
  output.on("line", (line) => {
    // What is inside a packet comes on lines of its own, without a time.
    if (TIME.test(line)) lines.push(line.replace(TIME, ""));
    else if (lines.length > 0) lines.push(`${lines.pop()}\n${line.trim()}`);
    arrived();
  });
  const said: string[] = [];
  await new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    createInterface({ input: child.stderr }).on("line", (line) => {
      said.push(line);
      if (/listening on/.test(line)) resolve();
    });
    child.once("close", () => {
      const words = said.join("\n");
      reject(/No such file|not found/i.test(words) ? new NoTcpdump(words) : new Error(`tcpdump: ${words}`));
    });
  });
  return {
    async stop() {
      child.kill("SIGINT");
      await ended;
      return lines;
    },
    lines(count, timeoutMs = 5000) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`${lines.length} of ${count} packets seen within ${timeoutMs} ms`)),
          timeoutMs,
        );
        arrived = () => {
          if (lines.length < count) return;
          clearTimeout(timer);
          resolve(lines);
        };
        arrived();
      });
    },
  };
}
