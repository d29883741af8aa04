/** Nodes that come to a lab and leave it for good, as others are introduced to them and forget them. */
import { CommandError } from "../../src/cli/index.ts";
import { joined } from "./convergence.ts";
import type { Lab } from "../lab.ts";
import { MAX_NODES, nodeName } from "./names.ts";
import { boot, deregister, newNode, powerOff, register } from "./nodes.ts";
import type { NodeRecord } from "./records.ts";

const READY_MS = 60_000;

/** How a node is added. */
export interface AddOptions {
  /** The next free one by default. */
  number?: number;
  /** Its Node object is there; it is being booted. */
  onRegistered?(): void;
  /** Return as soon as it runs, not when every other node has it as a peer. */
  dontWait?: boolean;
}

/** Adds a node. Whatever fails, nothing is left of it. @throws CommandError when there is one of that number, or no room */
export async function addNode(lab: Lab, options: AddOptions): Promise<NodeRecord> {
  const { context } = lab;
  const number = options.number ?? Math.max(0, ...lab.nodes().map((node) => node.number)) + 1;
  if (number > MAX_NODES) throw new CommandError(`a lab has at most ${MAX_NODES} nodes`);
  const name = nodeName(number);
  if (!context.files.claim(newNode(number), "nodes", `${name}.json`))
    throw new CommandError(`there is a ${name} already`);
  try {
    const node = await boot(context, newNode(number), {
      register: async () => {
        await register(context, lab.api, number);
        options.onRegistered?.();
      },
    });
    if (!options.dontWait) await joined(lab, node, { timeoutMs: READY_MS });
    return node;
  } catch (error) {
    await removeNode(lab, lab.node(name));
    throw error;
  }
}

/** Removes a node: its pods, its Node object, its power and its disk. */
export async function removeNode(lab: Lab, node: NodeRecord): Promise<void> {
  const { files } = lab.context;
  for (const pod of lab.pods().filter((pod) => pod.node === node.name)) files.delete("pods", `${pod.name}.json`);
  await powerOff(lab.context, node);
  await deregister(lab.api, node.name);
  files.delete("disks", node.name);
  files.delete("roots", node.name);
  files.delete("nodes", `${node.name}.json`);
}
