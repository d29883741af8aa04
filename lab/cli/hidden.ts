/** The lab's own processes; people do not call them. */
import { isIP } from "node:net";
import { type Command, CommandError, UsageError } from "../../src/cli/index.ts";

const NEEDS_LAB = "this is a part of the lab; make one with: skylanectl lab up";

/** A process that talks to the lab while it starts, and ends when its work does. */
const process_ = (word: string, load: () => Promise<() => Promise<number>>): Command => ({
  words: ["lab", word],
  summary: "A process of the lab",
  hidden: true,
  async run() {
    if (!process.send) throw new CommandError(NEEDS_LAB);
    const run = await load();
    process.exit(await run());
  },
});

/** One side of a TCP transfer between pods. */
const transfer: Command = {
  words: ["lab", "transfer"],
  summary: "One side of a transfer between pods",
  operands: "receive ADDRESS | send ADDRESS PORT BYTES MS",
  count: [2, 5],
  hidden: true,
  async run(input) {
    const { receive, send } = await import("../pods/transfer.ts");
    const [side, address, ...numbers] = input.operands as [string, string, ...string[]];
    const [port = Number.NaN, bytes = 0, overMs = 0] = numbers.map(Number);
    if (isIP(address) === 0) throw new UsageError(`"${address}" is not an address`);
    if (side === "receive") await receive(address);
    else if (side === "send") await send(address, port, bytes, overMs);
    else throw new UsageError(`a side is "receive" or "send", not "${side}"`);
    return 0;
  },
};

export const hiddenCommands: readonly Command[] = [
  process_("machine", async () => (await import("../machine/main.ts")).runMachine),
  process_("serve-api", async () => (await import("../control/main.ts")).runControl),
  transfer,
];
