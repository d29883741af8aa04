/** The lab's own processes; people do not call them. */
import { type Command, CommandError } from "../../ctl/index.ts";

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

export const hiddenCommands: readonly Command[] = [
  process_("machine", async () => (await import("../machine/main.ts")).runMachine),
  process_("serve-api", async () => (await import("../control.ts")).runControl),
];
