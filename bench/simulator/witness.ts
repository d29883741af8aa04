/** From the moment when a watch event reaches the agent's machine to the one when its route is in the kernel. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { type Context, native } from "../support/context.ts";
import type { Namespace } from "../support/namespace.ts";
import { ended } from "../support/process.ts";

/** The API server's port. */
const PORT = "6443";
/** An event of a Node is longer; acknowledgements, pings and bookmarks are shorter. */
const EVENT_BYTES = 500;

/** Watches a machine's cable and routes. */
export class Witness {
  readonly #child: ChildProcess;
  #text = "";

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding("utf8").on("data", (text: string) => (this.#text += text));
  }

  static async start(context: Context, ns: Namespace): Promise<Witness> {
    const child = ns.spawn(native(context, "witness"), ["eth0", PORT], { stdio: ["ignore", "pipe", "inherit"] });
    context.onEnd(() => ended(child, "SIGKILL"));
    const witness = new Witness(child);
    await once(child.stdout ?? child, "data");
    return witness;
  }

  /**
   * Ends it. For Nodes that came one after the other: how long each took from the first packet of its event to its route.
   * @returns milliseconds, in the order of the routes
   */
  async stop(podCidrs: ReadonlySet<string>): Promise<number[]> {
    await ended(this.#child, "SIGTERM");
    // A packet has the time of its arrival, whenever it was read.
    const seen = this.#text
      .split("\n")
      .map((line) => line.split(" ") as [what: string, at?: string, about?: string])
      .flatMap(([what, at, about]) => (at && about ? [{ what, at: BigInt(at), about }] : []))
      .sort((a, b) => (a.at < b.at ? -1 : 1));
    const times: number[] = [];
    let arrived: bigint | undefined;
    for (const { what, at, about } of seen) {
      if (what === "packet" && Number(about) >= EVENT_BYTES) arrived ??= at;
      if (what !== "route" || !podCidrs.has(about) || arrived === undefined) continue;
      times.push(Number(at - arrived) / 1e6);
      arrived = undefined;
    }
    return times;
  }
}
