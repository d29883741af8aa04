/** `skylanectl encryption new-key` and `rotate-key`: another key for this node, at once, or without a lost packet. */
import { AGENT_SOCKET, askAgent } from "./agent/client.ts";
import type { Command } from "./command.ts";

const SOCKET = { socket: { value: "PATH", help: `the agent's socket (${AGENT_SOCKET})` } } as const;

/** As after the key was stolen. */
export const newKeyCommand: Command = {
  words: ["encryption", "new-key"],
  summary: "Gives this node a new key for encryption between nodes",
  options: SOCKET,
  details:
    "Prints the public half. The key before is worth nothing from then on, and neither is one that the node was going over to; packets to and from this node's pods are lost until the other nodes have heard of the new one, as a rule for less than a second. Where the key was not stolen, rotate-key loses none.",
  async run(input) {
    process.stdout.write(await askAgent("/encryption/new-key", input.text("socket") ?? AGENT_SOCKET, undefined, "PUT"));
    return 0;
  },
};

/** As by age. */
export const rotateKeyCommand: Command = {
  words: ["encryption", "rotate-key"],
  summary: "Has this node go over to a new key for encryption between nodes, without a lost packet",
  options: {
    ...SOCKET,
    finish: {
      help: "forget the old key now, whatever uses it: packets to nodes that skylanectl status names are lost",
    },
  },
  details:
    "Prints the public half of the next key, and returns as soon as that is announced; skylanectl status shows how far it is, as a rule half a minute to two minutes. The old key is forgotten when no node that is there uses it any more. The UDP ports behind wireguardPort, three of them, must pass between the nodes. One that goes on already is left to go on.",
  async run(input) {
    const path = input.flag("finish") ? "/encryption/finish-rotation" : "/encryption/rotate-key";
    process.stdout.write(await askAgent(path, input.text("socket") ?? AGENT_SOCKET, undefined, "PUT"));
    return 0;
  },
};
