/** The demo of what else a network does for pods: ports of the node, bandwidth, a known address on the way out, and encryption. */
import { setTimeout as delay } from "node:timers/promises";
import { duration, table } from "../../src/cli/index.ts";
import { run, tryRun } from "../exec.ts";
import { Lab } from "../lab.ts";
import { answering, call, type Caller } from "./calls.ts";
import { check, ctl, indented, NotShown, ofFamily, type Step } from "./step.ts";

/** A host outside of the cluster, on the nodes' network. */
const OUTSIDE = "172.30.0.9";
const PORT = 7070;
const GATEWAYS = "/apis/skylane.dev/v1alpha1/egressgateways";
const EGRESS = "172.30.0.100";
const MERGE = "application/merge-patch+json";
/** How long news may take to hold; generous, for a loaded machine. */
const NEWS_MS = 120_000;

/** Asks until the answer is as it should be. @throws Error with what it was last */
async function until(what: string, ask: () => Promise<string>, isRight: (answer: string) => boolean): Promise<string> {
  for (const deadline = performance.now() + NEWS_MS; ; await delay(100)) {
    const answer = await ask();
    if (isRight(answer)) return answer;
    check(performance.now() < deadline, `${what}: ${answer}`);
  }
}

const underlayOf = async (lab: Lab, node: string): Promise<string> =>
  (await lab.status(lab.node(node))).networks[0]?.underlayIp as string;

const hostPort: Step = {
  title: "A port of the node",
  why: `A pod with hostPort 8080. Whoever reaches the node reaches the pod by it: from outside, from another node's pod, and from a pod
beside it. The pod sees who really calls, except where the answer would not find back.`,
  async run(lab, print) {
    await run(lab.enterFabric("ip", "address", "add", `${OUTSIDE}/32`, "dev", "switch0"), { env: lab.context.env });
    const portMappings = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }];
    const web = await lab.addPod("node1", "web", { runtimeConfig: { portMappings } });
    await answering(lab, { pod: "web" }, "web", 80);
    for (const [node, name] of [
      ["node1", "beside"],
      ["node2", "far"],
    ] as const)
      await lab.addPod(node, name);
    const node = await underlayOf(lab, "node1");
    const rows: string[][] = [];
    for (const from of ["outside", { pod: "far" }, { pod: "beside" }] satisfies Caller[]) {
      const answer = await call(lab, from, node, 8080);
      rows.push([from === "outside" ? "a host outside" : from.pod, `${node}:8080`, answer]);
      check(answer.startsWith("web sees "), `port 8080 of node1 does not lead to the pod: ${answer}`);
    }
    await print(table(["FROM", "TO", "CAME OF IT"], rows));
    const second = await lab.addPod("node1", "second", { runtimeConfig: { portMappings } }).then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    check(second !== undefined, "two pods have one port of the node");
    await print(`\nA second pod that wants the port is refused by name:\n${indented(second)}`);
    await lab.deletePod(web.name);
    const gone = await call(lab, "outside", node, 8080);
    check(!gone.startsWith("web"), "the port leads to a pod that is gone");
    await print(`\nThe pod goes, and with it the port: ${gone}.\n`);
  },
};

/** A stream for about so many seconds at a rate in Mbit/s. @returns what it had, in Mbit/s */
async function rateOf(lab: Lab, from: string, to: string, limit: number): Promise<number> {
  const [sender, receiver] = [lab.pod(from), lab.pod(to)];
  const bytes = Math.round((limit * 1e6 * 2) / 8);
  const { same, rate } = await lab.transfer(sender, receiver, ofFamily(receiver.ips, 4) as string, bytes);
  check(same, "what arrived is not what was sent");
  return rate * 8;
}

type Words = [command: string, ...args: string[]];
/** A device that is there for a moment, away from the nodes. */
const TRIAL = "trial";
const device = (kind: string): Words => ["ip", "link", "add", TRIAL, "type", kind];
const queue = (...what: string[]): Words => ["tc", "qdisc", "add", "dev", TRIAL, ...what];
/** One instruction of classic BPF, which matches all. */
const ALL = ["bpf", "bytecode", "1,6 0 0 65535"];
const REDIRECT = ["action", "mirred", "egress", "redirect", "dev", TRIAL];
/** What a limit is made of: a device that takes what a pod sends, a queue there, and the filter that hands it over. */
const LIMIT: Words[] = [
  device("ifb"),
  queue("root", "tbf", "rate", "5mbit", "burst", "10000", "latency", "25ms"),
  queue("ingress"),
  ["tc", "filter", "add", "dev", TRIAL, "ingress", "protocol", "all", ...ALL, ...REDIRECT],
];

/** What of some commands this machine's kernel does not do, in its words; undefined where it does all. */
async function refusal(lab: Lab, commands: readonly Words[]): Promise<string | undefined> {
  const inside = (words: Words) => tryRun(lab.enterFabric(...words), { env: lab.context.env });
  try {
    for (const words of commands) {
      const { status, stderr } = await inside(words);
      if (status !== 0) return `${words.join(" ")}: ${stderr.trim().split("\n", 1)[0]}`;
    }
    return undefined;
  } finally {
    await inside(["ip", "link", "del", TRIAL]);
  }
}

const bandwidth: Step = {
  title: "A limit that changes while it holds",
  why: `A pod may send 5 Mbit/s, says its annotation. Then somebody changes that to 20 in the running pod. Frames are counted, so that TCP has
some 95 % of it for itself.`,
  async run(lab, print) {
    const why = await refusal(lab, LIMIT);
    if (why !== undefined) throw new NotShown(`this machine's kernel limits no bandwidth (${why})`);
    const key = "kubernetes.io/egress-bandwidth";
    await lab.addPod("node1", "sender", { annotations: { [key]: "5M" } });
    const rows: string[][] = [];
    const shown = async (limit: number): Promise<void> => {
      const close = (rate: number): boolean => rate > 0.7 * limit && rate < 1.05 * limit;
      let rate = 0;
      await until(
        `the stream of ${limit} Mbit/s has`,
        async () => `${((rate = await rateOf(lab, "sender", "far", limit))).toFixed(1)} Mbit/s`,
        () => close(rate),
      );
      rows.push([`${limit}M`, `${rate.toFixed(1)} Mbit/s`]);
    };
    await shown(5);
    await lab.api.call(
      "PATCH",
      "/api/v1/namespaces/default/pods/sender",
      { metadata: { annotations: { [key]: "20M" } } },
      MERGE,
    );
    await shown(20);
    await print(table(["ANNOTATION", "THE STREAM HAD"], rows));
  },
};

const egress: Step = {
  title: "Out of the cluster behind a known address",
  why: `A firewall knows addresses and not pods. An EgressGateway leads the pods of an app out through two nodes, behind an address that is
theirs and nobody else's; and when the node that has it loses its power, the other one takes it.`,
  async run(lab, print) {
    await answering(lab, "outside", "the host outside", PORT);
    for (const node of ["node2", "node3"])
      await lab.api.call("PATCH", `/api/v1/nodes/${node}`, { metadata: { labels: { egress: "yes" } } }, MERGE);
    await lab.addPod("node1", "payments", { labels: { app: "payments" } });
    await lab.addPod("node1", "others", { labels: { app: "others" } });
    const spec = {
      podSelector: { matchLabels: { app: "payments" } },
      nodeSelector: { matchLabels: { egress: "yes" } },
      egressAddresses: [EGRESS],
    };
    const rows: string[][] = [];
    const see = async (pod: string, when: string, expected: string): Promise<void> => {
      const seen = await until(
        `${pod} is seen ${when} as`,
        () => call(lab, { pod }, OUTSIDE, PORT),
        (answer) => answer.endsWith(` sees ${expected}`),
      );
      rows.push([pod, when, seen]);
    };
    const own = await underlayOf(lab, "node1");
    await see("payments", "without a gateway", own);
    await lab.api.call("POST", GATEWAYS, {
      apiVersion: "skylane.dev/v1alpha1",
      kind: "EgressGateway",
      metadata: { name: "payments" },
      spec,
    });
    await see("payments", "with it", EGRESS);
    await see("others", "with it", own);
    const holder = async (): Promise<string> => {
      const { status } = await lab.api.call<{ status?: { addresses?: { address: string; node: string }[] } }>(
        "GET",
        `${GATEWAYS}/payments`,
      );
      return status?.addresses?.find(({ address }) => address === EGRESS)?.node ?? "nobody";
    };
    const first = await holder();
    await lab.killNode(first);
    const killed = performance.now();
    const second = await until("who has the address after its node's death is", holder, (node) => node !== first);
    await see("payments", `after the death of ${first}, by ${second}`, EGRESS);
    await print(table(["POD", "WHEN", "CAME OF IT"], rows));
    await print(`\nIt was seen again ${duration(performance.now() - killed)} after the power had gone.\n`);
    await lab.restartNode(first);
  },
};

/** Counts what passes the switch between the nodes: tunnels, and WireGuard. */
const WIRE = `table bridge wire { chain c { type filter hook forward priority 0; udp dport 4789 counter; udp dport 51871-51874 counter; }; }`;

const encryption: Step = {
  title: "Nothing in the clear",
  why: `Two more nodes, with encryption: strict. Their pods' packets go through WireGuard; a counter on the wire between them says whether a
tunnel's packet is among them that anybody could read. Then a node changes its key under a stream.`,
  async run(other, print) {
    const why = await refusal(other, [device("wireguard")]);
    if (why !== undefined) throw new NotShown(`this machine's kernel has no WireGuard (${why})`);
    const name = `${other.name}-wg`;
    await Lab.down(name);
    const lab = await Lab.up({ name, nodes: 2, agentConfig: { encryption: "strict" }, dontWait: true });
    try {
      await until(
        "the nodes encrypt",
        // Its agent may not have started yet.
        () =>
          lab.status(lab.node("node1")).then(
            ({ encryption }) => encryption?.message ?? "not known",
            (error: unknown) => String(error),
          ),
        (message) => message.startsWith("1 of 1"),
      );
      const [from, to] = [await lab.addPod("node1", "one"), await lab.addPod("node2", "two")];
      await run(lab.enterFabric("nft", WIRE), { env: lab.context.env });
      const key = async (): Promise<string> => (await lab.status(lab.node("node1"))).encryption?.publicKey ?? "";
      const before = await key();
      let rotating: Promise<string> | undefined;
      for (const ip of to.ips) {
        const { same } = await lab.transfer(from, to, ip, 4 << 20, {
          overMs: 2_000,
          onStart: () => {
            rotating ??= ctl(lab, "node1", "encryption", "rotate-key");
          },
        });
        check(same, "what arrived is not what was sent");
      }
      await print(`${indented((await rotating) ?? "")}\n`);
      const after = await until("node1 has the key", key, (one) => one !== "" && one !== before);
      const counted = await run(lab.enterFabric("nft", "list", "table", "bridge", "wire"), { env: lab.context.env });
      const packets = (port: string): number =>
        Number(new RegExp(`udp dport ${port} counter packets (\\d+)`).exec(counted)?.[1]);
      await print(
        table(
          ["ON THE WIRE", "PACKETS"],
          [
            ["WireGuard", String(packets("51871-51874"))],
            ["tunnels in the clear", String(packets("4789"))],
          ],
        ),
      );
      check(packets("4789") === 0 && packets("51871-51874") > 0, "the wire has seen tunnels in the clear");
      await print(`\nnode1 had the key ${before}, and has ${after} now.\n`);
    } finally {
      await lab.down();
    }
  },
};

/** In their order. */
export const FUNCTIONS: readonly Step[] = [hostPort, bandwidth, egress, encryption];
