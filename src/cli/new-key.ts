/** `skylanectl encryption new-key`: another key for this node, as after the one before was stolen. */
import { AGENT_SOCKET, askAgent } from "./agent/client.ts";
import type { Command } from "./command.ts";

/** The command. */
export const newKeyCommand: Command = {
  words: ["encryption", "new-key"],
  summary: "Gives this node a new key for encryption between nodes",
  options: { socket: { value: "PATH", help: `the agent's socket (${AGENT_SOCKET})` } },
  details:
    "Prints the public half. The key before is worth nothing from then on; packets to and from this node's pods are lost until the other nodes have heard of the new one, as a rule for less than a second.",
  async run(input) {
    process.stdout.write(await askAgent("/encryption/new-key", input.text("socket") ?? AGENT_SOCKET, undefined, "PUT"));
    return 0;
  },
};
