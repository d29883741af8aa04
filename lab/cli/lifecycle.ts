/** `lab up`, `lab down`, `lab status`, `lab list`. */
import {
  age,
  type AgentStatus,
  type Command,
  furtherRow,
  type Input,
  NETWORK_HEADINGS,
  properties,
  table,
  UsageError,
} from "../../src/cli/index.ts";
import { Lab } from "../lab.ts";
import type { LabOptions } from "../cluster/options.ts";
import type { Addressing } from "../cluster/names.ts";
import { labNames, type NodeRecord } from "../cluster/records.ts";
import { ANSWER, answer, interruptible, NAME, print, progress, withLab } from "./common.ts";

/** Options that say what a lab is like. */
const SHAPE = {
  nodes: { value: "N", help: "number of nodes (3)" },
  vni: { value: "N", help: "VXLAN network identifier (4096)" },
  port: { value: "N", help: "UDP port of VXLAN (4789)" },
  "ipv4-only": { help: "nodes and pods have IPv4 addresses only" },
  "ipv6-underlay": { help: "nodes have IPv6 addresses only; pods still have both" },
};

/** Reads them. @throws UsageError */
function labOptions(input: Input): LabOptions {
  if (input.flag("ipv4-only") && input.flag("ipv6-underlay"))
    throw new UsageError("--ipv4-only and --ipv6-underlay exclude each other");
  const addressing: Addressing = input.flag("ipv4-only")
    ? "ipv4-only"
    : input.flag("ipv6-underlay")
      ? "ipv6-underlay"
      : "dual-stack";
  const name = input.text("name");
  const vni = input.number("vni", 1, 16_777_215);
  const port = input.number("port", 1, 65_535);
  return {
    nodes: input.number("nodes", 1, 200) ?? 3,
    addressing,
    ...(name === undefined ? {} : { name }),
    ...(vni === undefined ? {} : { vni }),
    ...(port === undefined ? {} : { port }),
  };
}

const up: Command = {
  words: ["lab", "up"],
  summary: "Makes a cluster of nodes on this machine",
  options: { ...NAME, ...SHAPE },
  details: `Every node is a network namespace with its own mounts, processes and host name, a real agent in it, and a
cable to a switch. Nothing touches this machine's own network. "skylanectl lab down" leaves nothing.`,
  async run(input) {
    const options = labOptions(input);
    const lab = await interruptible((signal) => Lab.up({ ...options, progress: progress(), signal }));
    try {
      await print(await statusText(lab));
    } finally {
      lab.close();
    }
    return 0;
  },
};

const down: Command = {
  words: ["lab", "down"],
  summary: "Takes a lab down and leaves nothing of it",
  options: { ...NAME, all: { help: "all labs of this machine" } },
  async run(input) {
    const names = input.flag("all") ? labNames() : [input.text("name") ?? "lab"];
    for (const name of names) {
      const killed = await Lab.down(name);
      await print(
        killed === undefined ? `there is no lab "${name}"\n` : `lab "${name}" is down; ${killed} processes ended\n`,
      );
    }
    return 0;
  },
};

/** A node and what its agent says, if it says anything. */
interface NodeState {
  node: NodeRecord;
  agent?: AgentStatus;
  /** Why the agent says nothing. */
  silent?: string;
}

/** Asks every node at once. */
async function states(lab: Lab): Promise<NodeState[]> {
  return Promise.all(
    lab.nodes().map(async (node): Promise<NodeState> => {
      if (!node.init) return { node, silent: "the node is off" };
      try {
        return { node, agent: await lab.status(node) };
      } catch (error) {
        return { node, silent: error instanceof Error ? error.message : String(error) };
      }
    }),
  );
}

function stateWord({ node, agent, silent }: NodeState): string {
  if (!node.init) return "off";
  const word = agent ? (agent.ready.ready ? "ready" : "not ready") : silent ? "no agent" : "?";
  return node.partition ? `${word}, ${node.partition === "silent" ? "partitioned" : "unplugged"}` : word;
}

async function statusText(lab: Lab): Promise<string> {
  const { record } = lab.context;
  const pods = lab.pods();
  const all = await states(lab);
  const rows = all.map((state) => {
    const { node, agent } = state;
    const network = agent?.networks[0];
    const programmed = network?.peers.filter((peer) => peer.state === "programmed").length;
    return [
      node.name,
      stateWord(state),
      network?.underlayIp,
      network?.podCidrs.join(" "),
      network ? `${programmed}/${network.peers.length}` : undefined,
      network?.repairs.total,
      pods.filter((pod) => pod.node === node.name).length,
      agent ? age(agent.uptimeSeconds) : undefined,
    ];
  });
  const further = all.flatMap(({ node, agent }) =>
    (agent?.networks ?? []).slice(1).map((network) => [node.name, ...furtherRow(network)]),
  );
  const refused = all.flatMap(({ node, agent }) =>
    (agent?.networks ?? []).flatMap((network) =>
      network.refused.map((refusal) => [node.name, refusal.node, refusal.reason, refusal.message]),
    ),
  );
  return [
    properties([
      ["Lab", `${record.name}, ${record.addressing}, up ${age((Date.now() - Date.parse(record.created)) / 1000)}`],
      ["VXLAN", `VNI ${record.vni}, UDP port ${record.port}`],
    ]),
    "\n",
    table(["NODE", "STATE", "UNDERLAY", "POD CIDRS", "PEERS", "REPAIRS", "PODS", "AGENT UP"], rows),
    further.length > 0 ? `\n${table(["ON", ...NETWORK_HEADINGS], further)}` : "",
    refused.length > 0 ? `\n${table(["ON", "REFUSED", "REASON", "MESSAGE"], refused)}` : "",
  ].join("");
}

const status: Command = {
  words: ["lab", "status"],
  summary: "Shows the nodes of a lab and how their agents are",
  options: ANSWER,
  details: "Exit status 1 when a node that is on is not ready.",
  run: (input) =>
    withLab(input, async (lab) => {
      if (!input.json) await print(await statusText(lab));
      const all = await states(lab);
      if (input.json) await answer(input, { lab: lab.context.record, nodes: all, pods: lab.pods() }, () => "");
      return all.every(({ node, agent }) => !node.init || agent?.ready.ready) ? 0 : 1;
    }),
};

const list: Command = {
  words: ["lab", "list"],
  summary: "Lists the labs of this machine",
  options: { output: ANSWER["output"] as NonNullable<(typeof ANSWER)[string]> },
  async run(input) {
    const names = labNames();
    await answer(input, names, () => (names.length > 0 ? `${names.join("\n")}\n` : "no labs\n"));
    return 0;
  },
};

export const lifecycleCommands: readonly Command[] = [up, status, down, list];
