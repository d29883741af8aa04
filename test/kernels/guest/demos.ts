/** The demos. They check what they show, and say what this machine cannot show. */
import { shown } from "./command.ts";
import type { Trial } from "./main.ts";

type Came = Awaited<ReturnType<Trial>>;

/** What a demo says that this kernel cannot do: its step, and why. */
const CANNOT = /^NOT SHOWN: (.+)$/gm;

/** Of the demo of networks, which shows two features. */
let notShown: string[] | undefined;

/** Runs a demo to its end. @throws Error with what did not hold */
export async function demo(name: "overlay" | "networks" | "policy" | "functions"): Promise<Came> {
  const { status, text } = await shown("dist/bin/skylanectl", "lab", "demo", name);
  if (status !== 0) throw new Error(/^FAILED: (.*)$/m.exec(text)?.[1] ?? `the demo ended with status ${status}`);
  const cannot = [...text.matchAll(CANNOT)].map(([, why = ""]) => why);
  if (name === "networks") notShown = cannot;
  else if (cannot.length > 0) return { outcome: "refused", says: cannot.join("; ") };
  return { says: "" };
}

/** Whether bridged networks were among what the demo of networks showed. @throws Error when that did not get so far */
export async function bridged(): Promise<Came> {
  if (!notShown) throw new Error("the demo of networks did not get to its end");
  const [why] = notShown;
  return why === undefined ? { says: "" } : { outcome: "refused", says: why };
}
