/** `lab network …`. */
import { type Command, type Input, table, UsageError } from "../../src/cli/index.ts";
import type { LabNetwork, NetworkOptions } from "../pods/networks.ts";
import { ANSWER, answer, NAME, print, withLab } from "./common.ts";

/** Networks as a table. */
export const networkTable = (networks: readonly LabNetwork[]): string =>
  networks.length === 0
    ? "no pod networks beside the default one\n"
    : table(
        ["NETWORK", "VNI", "MODE", "CIDRS"],
        networks.map(({ name, vni, mode, cidrs }) => [name, String(vni), mode, cidrs.join(" ")]),
      );

/** "team=a,env=prod" as labels. @throws UsageError */
function labelsOf(text: string | undefined): Record<string, string> | undefined {
  if (text === undefined) return undefined;
  const pairs = text.split(",").map((pair) => pair.split("="));
  if (pairs.some(({ length, 0: key }) => length !== 2 || key === ""))
    throw new UsageError(`--namespaces must be KEY=VALUE[,…], not "${text}"`);
  return Object.fromEntries(pairs) as Record<string, string>;
}

function optionsOf(input: Input): NetworkOptions {
  const cidr = input.text("cidr");
  if (cidr === undefined) throw new UsageError("a pod network needs --cidr");
  const [vni, mtu, blockSize] = [
    input.number("vni", 1, 0xff_ffff),
    input.number("mtu", 576, 65_535),
    input.number("block-size", 4, 65_536),
  ];
  const namespaceLabels = labelsOf(input.text("namespaces"));
  return {
    cidrs: cidr.split(","),
    ...(input.flag("bridged") && { mode: "Bridged" as const }),
    ...(input.flag("direct") && { directRouting: "auto" as const }),
    ...(vni !== undefined && { vni }),
    ...(input.flag("masquerade") && { masquerade: true }),
    ...(mtu !== undefined && { mtu }),
    ...(blockSize !== undefined && { blockSize }),
    ...(namespaceLabels && { namespaceLabels }),
  };
}

const add: Command = {
  words: ["lab", "network", "add"],
  summary: "Defines a pod network beside the default one",
  operands: "NETWORK",
  count: [1, 1],
  options: {
    ...ANSWER,
    cidr: { value: "CIDRS", help: "its CIDRs, one a family, separated by a comma" },
    vni: { value: "VNI", help: "its VNI (the first free one from 5000 on)" },
    bridged: { help: "one subnet stretched over all nodes, instead of routed blocks" },
    direct: { help: "no encapsulation between nodes on one underlay segment" },
    masquerade: { help: "its pods reach what is outside, behind their node's address" },
    mtu: { value: "BYTES", help: "MTU of its pods (what the underlay carries)" },
    "block-size": { value: "N", help: "addresses that a node claims at once, a power of two (64)" },
    namespaces: { value: "KEY=VALUE,…", help: "only pods of namespaces with these labels may attach (all)" },
  },
  run: (input) =>
    withLab(input, async (lab) => {
      const network = await lab.addNetwork(input.operands[0] as string, optionsOf(input));
      await answer(input, network, () => networkTable([network]));
      return 0;
    }),
};

const list: Command = {
  words: ["lab", "network", "list"],
  summary: "Lists the pod networks",
  options: ANSWER,
  run: (input) =>
    withLab(input, async (lab) => {
      const networks = await lab.networks();
      await answer(input, networks, () => networkTable(networks));
      return 0;
    }),
};

const remove: Command = {
  words: ["lab", "network", "remove"],
  summary: "Removes a pod network",
  operands: "NETWORK",
  count: [1, 1],
  options: NAME,
  run: (input) =>
    withLab(input, async (lab) => {
      const [name] = input.operands as [string];
      await lab.removeNetwork(name);
      await print(`${name} is removed\n`);
      return 0;
    }),
};

export const networkCommands: readonly Command[] = [add, list, remove];
