/** Runs a program whose output is shown and kept. */
import { spawn } from "node:child_process";
import { once } from "node:events";

/** @returns its exit status and all that it printed */
export async function shown(command: string, ...args: string[]): Promise<{ status: number | null; text: string }> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  child.stdout.on("data", (data: Buffer) => {
    text += String(data);
    process.stdout.write(data);
  });
  const [status] = (await once(child, "close")) as [number | null];
  return { status, text };
}
