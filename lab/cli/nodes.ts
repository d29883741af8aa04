/** `lab node …`, `lab partition`, `lab heal`, `lab exec`, `lab logs`. */
import { createReadStream, existsSync } from "node:fs";
import { pipeline } from "node:stream/promises";
import { type Command, CommandError, UsageError } from "../../src/cli/index.ts";
import { runAttached } from "../exec.ts";
import { NAME, print, progress, withLab } from "./common.ts";

const add: Command = {
  words: ["lab", "node", "add"],
  summary: "Adds a node, live",
  operands: "[NODE]",
  count: [0, 1],
  options: NAME,
  run: (input) =>
    withLab(input, async (lab) => {
      const [name] = input.operands;
      const number = name === undefined ? undefined : Number(/^(?:node)?([1-9]\d*)$/.exec(name)?.[1]);
      if (Number.isNaN(number)) throw new UsageError(`a node is called node1, node2 …, not "${name}"`);
      const node = await lab.addNode(number === undefined ? {} : { number });
      await print(`${node.name} is ready; every node has it as a peer\n`);
      return 0;
    }),
};

const remove: Command = {
  words: ["lab", "node", "remove"],
  summary: "Removes a node for good: power, disk and Node object",
  operands: "NODE",
  count: [1, 1],
  options: NAME,
  run: (input) =>
    withLab(input, async (lab) => {
      await lab.removeNode(input.operands[0] as string);
      return 0;
    }),
};

const kill: Command = {
  words: ["lab", "node", "kill"],
  summary: "Cuts a node's power; its disk stays",
  operands: "NODE",
  count: [1, 1],
  options: NAME,
  run: (input) =>
    withLab(input, async (lab) => {
      await lab.killNode(input.operands[0] as string);
      return 0;
    }),
};

const restart: Command = {
  words: ["lab", "node", "restart"],
  summary: "Boots a node again; its pods get new sandboxes",
  operands: "NODE",
  count: [1, 1],
  options: NAME,
  run: (input) =>
    withLab(input, async (lab) => {
      const say = progress();
      const node = await lab.restartNode(input.operands[0] as string);
      say(`${node.name} runs, boot ${node.boots}`);
      return 0;
    }),
};

const partition: Command = {
  words: ["lab", "partition"],
  summary: "Cuts a node off from all others and from the API server",
  operands: "NODE",
  count: [1, 1],
  options: { ...NAME, unplug: { help: "take its carrier away too, instead of losing its packets silently" } },
  run: (input) =>
    withLab(input, async (lab) => {
      await lab.partition(input.operands[0] as string, input.flag("unplug") ? "unplugged" : "silent");
      return 0;
    }),
};

const heal: Command = {
  words: ["lab", "heal"],
  summary: "Undoes partitions: of one node, or all",
  operands: "[NODE]",
  count: [0, 1],
  options: NAME,
  run: (input) =>
    withLab(input, async (lab) => {
      const healed = await lab.heal(input.operands[0]);
      await print(healed.length > 0 ? `${healed.join(", ")} healed\n` : "nothing was partitioned\n");
      return 0;
    }),
};

const exec: Command = {
  words: ["lab", "exec"],
  summary: "Runs a command on a node, or in a pod's network",
  operands: "NODE|POD -- COMMAND [ARGUMENT…]",
  count: [1, 1],
  options: NAME,
  details: `Its exit status is the command's. A shell on a node: skylanectl lab exec node1 -- bash`,
  run: (input) =>
    withLab(input, async (lab) => {
      const [command, ...args] = input.rest;
      if (command === undefined) throw new UsageError("needs a command after --");
      const target = input.operands[0] as string;
      const isPod = lab.pods().some((pod) => pod.name === target);
      const argv = isPod ? lab.enterPod(target, command, ...args) : lab.enter(target, command, ...args);
      return runAttached(argv, lab.context.env);
    }),
};

const logs: Command = {
  words: ["lab", "logs"],
  summary: "Prints what a node's agent logged",
  operands: "NODE|api",
  count: [1, 1],
  options: { ...NAME, boot: { help: "what the node's first process logged instead" } },
  run: (input) =>
    withLab(input, async (lab) => {
      const { files } = lab.context;
      const target = input.operands[0] as string;
      const name = target === "api" ? "api" : lab.node(target).name;
      const file =
        target === "api" || input.flag("boot")
          ? files.path("log", `${name}.log`)
          : files.path("disks", name, "var/log/skylane-agent.log");
      if (!existsSync(file)) throw new CommandError(`there is no ${file}`);
      await pipeline(createReadStream(file), process.stdout, { end: false });
      return 0;
    }),
};

export const nodeCommands: readonly Command[] = [add, remove, kill, restart, partition, heal, exec, logs];
