/** `lab pod …` and `lab ping`. */
import { FAMILIES, type Family } from "../../src/addr/index.ts";
import {
  type Command,
  duration,
  type Input,
  renderTrace,
  table,
  liveOption,
  TRACE_OPTIONS,
  trafficOf,
  UsageError,
} from "../../src/cli/index.ts";
import type { Echo } from "../pods/ping.ts";
import { NETWORKS_ANNOTATION } from "../../src/crd/index.ts";
import type { PodOptions } from "../pods/pods.ts";
import type { PodRecord } from "../cluster/records.ts";
import { ANSWER, answer, NAME, print, withLab } from "./common.ts";

/** Pods as a table. */
const podTable = (pods: readonly PodRecord[]): string =>
  pods.length === 0
    ? "no pods\n"
    : table(
        ["POD", "NODE", "ADDRESSES", "SANDBOX"],
        pods.map((pod) => [pod.name, pod.node, pod.ips.join(" "), pod.netns]),
      );

/** What the options ask of the plugins, by capability. @throws UsageError */
function runtimeConfigOf(input: Input): Record<string, unknown> {
  const [ip, mac, port] = [input.text("ip"), input.text("mac"), input.text("host-port")];
  const ports = port === undefined ? undefined : /^(\d{1,5}):(\d{1,5})$/.exec(port);
  if (ports === null) throw new UsageError(`--host-port must be PORT:PORT, not "${port}"`);
  return {
    ...(ip === undefined ? {} : { ips: ip.split(",") }),
    ...(mac === undefined ? {} : { mac }),
    ...(ports
      ? { portMappings: [{ hostPort: Number(ports[1]), containerPort: Number(ports[2]), protocol: "tcp" }] }
      : {}),
  };
}

const add: Command = {
  words: ["lab", "pod", "add"],
  summary: "Makes a pod on a node, as kubelet and its runtime would",
  operands: "NODE [NAME]",
  count: [1, 2],
  options: {
    ...ANSWER,
    count: { value: "N", help: "make that many, with names of their own (1)" },
    ip: { value: "IPS", help: "ask for these addresses, separated by a comma" },
    mac: { value: "MAC", help: "ask for this MAC address" },
    network: { value: "NETWORKS", help: "further networks, as in the annotation: blue,green@eth5" },
    labels: { value: "LABELS", help: "labels of its object, by which policies select it: app=web,tier=front" },
    namespace: { value: "NAMESPACE", help: 'its namespace ("default")' },
    "host-port": { value: "PORT:PORT", help: "lead a TCP port of the node to one of the pod" },
  },
  run: (input) =>
    withLab(input, async (lab) => {
      const [node, name] = input.operands as [string, string | undefined];
      const count = input.number("count", 1, 250) ?? 1;
      const made: PodRecord[] = [];
      const [networks, namespace] = [input.text("network"), input.text("namespace")];
      const labels = labelsOf(input.text("labels"));
      const options: PodOptions = {
        runtimeConfig: runtimeConfigOf(input),
        ...(namespace !== undefined && { namespace }),
        ...(labels && { labels }),
        ...(networks !== undefined && { annotations: { [NETWORKS_ANNOTATION]: networks } }),
      };
      for (let i = 0; i < count; i++) made.push(await lab.addPod(node, count === 1 ? name : undefined, options));
      await answer(input, made, () => podTable(made));
      return 0;
    }),
};

/** Labels as `key=value,key=value`. @throws UsageError for text that is none */
function labelsOf(text: string | undefined): Record<string, string> | undefined {
  if (text === undefined) return undefined;
  const pairs = text.split(",").filter(Boolean);
  const bad = pairs.find((pair) => !/^[^=]+=[^=]*$/.test(pair));
  if (bad !== undefined) throw new UsageError(`a label is KEY=VALUE, not "${bad}"`);
  return Object.fromEntries(pairs.map((pair) => pair.split("=") as [string, string]));
}

const del: Command = {
  words: ["lab", "pod", "del"],
  summary: "Removes pods",
  operands: "NAME…",
  count: [1, 1000],
  options: NAME,
  run: (input) =>
    withLab(input, async (lab) => {
      for (const name of input.operands) await lab.deletePod(name);
      return 0;
    }),
};

const move: Command = {
  words: ["lab", "pod", "move"],
  summary: "Moves a pod to another node with its sandbox and all connections in it, as a live migration would",
  operands: "POD NODE",
  count: [2, 2],
  options: ANSWER,
  details: "What an IPClaim gave the pod stays; its other addresses are those of the new node.",
  run: (input) =>
    withLab(input, async (lab) => {
      const [name, node] = input.operands as [string, string];
      const moved = await lab.movePod(name, node);
      await answer(input, moved, () => podTable([moved]));
      return 0;
    }),
};

const list: Command = {
  words: ["lab", "pod", "list"],
  summary: "Lists the pods",
  options: ANSWER,
  run: (input) =>
    withLab(input, async (lab) => {
      const pods = lab.pods();
      await answer(input, pods, () => podTable(pods));
      return 0;
    }),
};

const check: Command = {
  words: ["lab", "pod", "check"],
  summary: "Asks the CNI plugin whether pods are as it made them (all by default)",
  operands: "[NAME…]",
  count: [0, 1000],
  options: NAME,
  run: (input) =>
    withLab(input, async (lab) => {
      let bad = 0;
      for (const name of input.operands.length > 0 ? input.operands : lab.pods().map((pod) => pod.name)) {
        try {
          await lab.checkPod(name);
          await print(`${name}: fine\n`);
        } catch (error) {
          bad++;
          await print(`${name}: ${error instanceof Error ? error.message : String(error)}\n`);
        }
      }
      return bad === 0 ? 0 : 1;
    }),
};

/** The matrices of one ping run, one a family: rows send, columns answer, cells are round-trip times. */
export function pingMatrix(echoes: readonly Echo[]): string {
  const families = FAMILIES.filter((family) => echoes.some((echo) => echo.family === family));
  return families
    .map((family) =>
      matrixOf(
        family,
        echoes.filter((echo) => echo.family === family),
      ),
    )
    .join("\n");
}

function matrixOf(family: Family, echoes: readonly Echo[]): string {
  const names = [...new Set(echoes.flatMap(({ from, to }) => [from, to]))].sort((a, b) =>
    a.localeCompare(b, "en", { numeric: true }),
  );
  const cell = (from: string, to: string): string => {
    if (from === to) return "·";
    const echo = echoes.find((e) => e.from === from && e.to === to);
    return echo === undefined ? "-" : echo.rttMs === undefined ? "LOST" : duration(echo.rttMs);
  };
  return table(
    [`IPv${family} from / to`, ...names],
    names.map((from) => [from, ...names.map((to) => cell(from, to))]),
  );
}

/** "30 of 30 echo requests answered". */
export const pingSummary = (echoes: readonly Echo[]): string =>
  `${echoes.filter((echo) => echo.rttMs !== undefined).length} of ${echoes.length} echo requests answered\n`;

const ping: Command = {
  words: ["lab", "ping"],
  summary: "Pings every pod from every other one, both families",
  options: ANSWER,
  details: "Exit status 1 when an echo request was lost.",
  run: (input) =>
    withLab(input, async (lab) => {
      const echoes = await lab.ping();
      await answer(input, echoes, () =>
        echoes.length === 0
          ? "fewer than two pods; make some: skylanectl lab pod add NODE\n"
          : `${pingMatrix(echoes)}\n${pingSummary(echoes)}`,
      );
      return echoes.every((echo) => echo.rttMs !== undefined) ? 0 : 1;
    }),
};

const trace: Command = {
  words: ["lab", "trace"],
  summary: "Follows a packet from pod to pod over both nodes, hop by hop, and names the first that is wrong",
  operands: "POD POD|IP",
  count: [2, 2],
  options: {
    ...ANSWER,
    ...TRACE_OPTIONS,
    ifname: { value: "NAME", help: "the pods' interface in the network (eth0)" },
  },
  details: "Exit status 1 when a hop is wrong.",
  run: (input) =>
    withLab(input, async (lab) => {
      const [from, to] = input.operands as [string, string];
      const family = input.number("family", 4, 6);
      if (family === 5) throw new UsageError("--family must be 4 or 6");
      const options = (["port", "protocol", "network"] as const).flatMap((name) => {
        const value = input.text(name);
        return value === undefined ? [] : [`--${name}=${value}`];
      });
      const traffic = trafficOf(input);
      const found = await lab.trace(from, to, {
        live: liveOption(input, traffic) ? traffic : undefined,
        ifname: input.text("ifname"),
        family: family as Family | undefined,
        options,
      });
      await answer(input, found, () => renderTrace(found));
      return found.ok ? 0 : 1;
    }),
};

export const podCommands: readonly Command[] = [add, del, move, list, check, ping, trace];
