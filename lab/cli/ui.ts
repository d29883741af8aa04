/** `lab ui`: the live map of a lab. */
import { type Command, liveMap } from "../../src/cli/index.ts";
import { NAME, print, withLab } from "./common.ts";

export const uiCommand: Command = {
  words: ["lab", "ui"],
  summary: "Shows a live map of a lab in a browser, until Ctrl-C",
  options: { ...NAME, port: { value: "N", help: "serve it on this port (one that is free)" } },
  details:
    "Serves a page on 127.0.0.1 to whoever has the address that it prints. What skylanectl ui shows of a cluster.",
  run: (input) =>
    withLab(input, async (lab) => {
      const map = await lab.show(input.number("port", 0, 65_535));
      await print(`The live map: ${map.url}\n`);
      await (await liveMap()).interrupted();
      await map.close();
      return 0;
    }),
};
