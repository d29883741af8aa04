/**
 * Traffic of a pod that a thousand policies select, of which the last one allows it, on one node and in turns:
 *
 * - ours; and the same without any policy;
 * - the layout of kube-router: a chain a pod with a jump to a chain a policy, which match sets of addresses (iptables and ipset) and mark what they allow;
 * - one chain a policy in nftables, as Calico's nftables mode has it.
 *
 * All of them let pass what belongs to a connection before they look at policies, so a stream and requests of a connection say what that
 * costs, and new connections what the policies do.
 */
import { execFileSync } from "node:child_process";
import { type Pod, PolicyModel, PolicyTable } from "../../../src/policy/index.ts";
import { policyOf } from "../../simulator/policy-cluster.ts";
import { type Context, type Measurement, native } from "../../support/context.ts";
import type { Namespace } from "../../support/namespace.ts";
import { measureFlow, nodeWithPods, PODS, serve } from "../../support/pods.ts";
import { compared, type Row, type Target } from "../../support/row.ts";

const POLICIES = 1_000;
const PORT = "5201";
const CONNECT_PORT = "5202";
const MODES = ["stream", "request", "connect"] as const;
type Mode = (typeof MODES)[number];
const portOf = (mode: Mode): string => (mode === "connect" ? CONNECT_PORT : PORT);

interface Contestant {
  name: string;
  node: Namespace;
  client: Namespace;
}

const pod = (name: keyof typeof PODS): Pod => ({
  namespace: "shop",
  name,
  labels: { app: name },
  ips: [PODS[name]],
  ports: [],
  node: "here",
  hostNetwork: false,
  ended: false,
});

async function ours(context: Context, { node }: { node: Namespace }): Promise<void> {
  const model = new PolicyModel("here", ["10.0.0.0/24"]);
  const policies = Array.from({ length: POLICIES }, (_, n) => {
    const last = n === POLICIES - 1;
    const from = [{ podSelector: { matchLabels: { app: last ? "client" : `nobody${n}` } } }];
    const ports = last ? [{ port: Number(PORT), endPort: Number(CONNECT_PORT) }] : [{ port: 6_000 + n }];
    return policyOf("shop", `policy${n}`, { podSelector: {}, ingress: [{ from, ports }] });
  });
  const namespaces = [{ name: "shop", labels: {}, audit: false }];
  model.replace({ pods: [pod("client"), pod("server")], namespaces, policies });
  const table = new PolicyTable({ netns: node.path });
  context.onEnd(() => table[Symbol.dispose]());
  await table.put(model.ruleset);
}

/** Address of somebody who is not there: each policy but the last one is about another one. */
const nobody = (n: number): string => `10.1.${n >> 8}.${n & 0xff}`;

function kubeRouter({ node }: { node: Namespace }): void {
  const sets: string[] = [];
  const chains: string[] = [];
  const rules: string[] = [];
  const jumps: string[] = [];
  for (let n = 0; n < POLICIES; n++) {
    const last = n === POLICIES - 1;
    sets.push(`create src${n} hash:ip`, `add src${n} ${last ? PODS.client : nobody(n)}`);
    sets.push(`create dst${n} hash:ip`, `add dst${n} ${PODS.server}`);
    chains.push(`:POLICY${n} - [0:0]`);
    const ports = last ? `${PORT}:${CONNECT_PORT}` : String(6_000 + n);
    const match = `-m set --match-set src${n} src -m set --match-set dst${n} dst -p tcp -m tcp --dport ${ports}`;
    rules.push(`-A POLICY${n} ${match} -j MARK --set-xmark 0x10000/0x10000`);
    rules.push(`-A POLICY${n} -m mark --mark 0x10000/0x10000 -j RETURN`);
    jumps.push(`-A POD -j POLICY${n}`, `-A POD -m mark --mark 0x10000/0x10000 -j ACCEPT`);
  }
  const input = (command: string, args: string[], text: string): void => {
    execFileSync("nsenter", [`--net=${node.path}`, "--", command, ...args], {
      input: text,
      stdio: ["pipe", "ignore", "inherit"],
    });
  };
  input("ipset", ["restore"], `${sets.join("\n")}\n`);
  const first = ["-A POD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"];
  const text = [
    "*filter",
    ":POD - [0:0]",
    ...chains,
    ...rules,
    ...first,
    ...jumps,
    "-A POD -j DROP",
    `-A FORWARD -d ${PODS.server} -j POD`,
    "COMMIT",
  ];
  input("iptables-legacy-restore", [], `${text.join("\n")}\n`);
}

function chainAPolicy({ node }: { node: Namespace }): void {
  const numbers = Array.from({ length: POLICIES }, (_, n) => n);
  const last = POLICIES - 1;
  const set = (n: number): string =>
    `set s${n} { type ipv4_addr; elements = { ${n === last ? PODS.client : nobody(n)} }; }`;
  const chain = (n: number): string =>
    `chain p${n} { ip saddr @s${n} tcp dport ${n === last ? `${PORT}-${CONNECT_PORT}` : 6_000 + n} meta mark set meta mark | 0x10000 return; }`;
  const text = `table ip calico {
    ${numbers.map(set).join("\n")}
    ${numbers.map(chain).join("\n")}
    chain pod {
      ct state established,related accept
      ${numbers.map((n) => `jump p${n}\n meta mark & 0x10000 == 0x10000 accept`).join("\n")}
      drop
    }
    chain forward { type filter hook forward priority filter; ip daddr ${PODS.server} jump pod; }
  }`;
  execFileSync("nsenter", [`--net=${node.path}`, "--", "nft", "-f", "-"], { input: text });
}

const WORDS: Readonly<Record<Mode, string>> = {
  stream: "TCP stream between pods",
  request: "requests of 1 byte between pods",
  connect: "new connections between pods",
};

export const policyTraffic: Measurement = {
  name: "policy-traffic",
  title: "Traffic of a pod that 1,000 policies select",
  async run(context) {
    const flow = native(context, "flow");
    const layouts: [string, (made: { node: Namespace }) => void | Promise<void>][] = [
      ["Skylane", (made) => ours(context, made)],
      ["no policies", () => undefined],
      ["iptables + ipset, as kube-router's", kubeRouter],
      ["nft with a chain a policy, as Calico's", chainAPolicy],
    ];
    const contestants: Contestant[] = [];
    for (const [at, [name, put]] of layouts.entries()) {
      const made = nodeWithPods(context, `p${at}`);
      await put(made);
      await serve(context, flow, made.pods.server, "serve", PORT);
      await serve(context, flow, made.pods.server, "accept", CONNECT_PORT);
      contestants.push({ name, node: made.node, client: made.pods.client });
    }
    const series = Object.fromEntries(MODES.map((mode) => [mode, contestants.map((): number[] => [])])) as Record<
      Mode,
      number[][]
    >;
    for (const { client } of contestants) for (const mode of MODES) measureFlow(flow, client, mode, portOf(mode));
    for (let round = 0; round < (context.quick ? 3 : 30); round++)
      for (const mode of MODES)
        for (let turn = 0; turn < contestants.length; turn++) {
          const at = (turn + round) % contestants.length;
          series[mode][at]?.push(measureFlow(flow, (contestants[at] as Contestant).client, mode, portOf(mode)));
        }
    const targets: Partial<Record<Mode, readonly (number | undefined)[]>> = {
      stream: [undefined, 0.97],
      request: [undefined, 0.93],
      connect: [undefined, undefined, 1.5, 1.5],
    };
    return MODES.flatMap((mode) =>
      contestants.slice(1).map(({ name }, i): Row => {
        const atLeast = targets[mode]?.[i + 1];
        const target: Target | undefined = atLeast === undefined ? undefined : { of: "ratio", atLeast };
        const head = {
          group: "policy traffic",
          measure: WORDS[mode],
          unit: mode === "stream" ? ("Gbit/s" as const) : ("1/s" as const),
          ...(target && { target }),
        };
        return compared(head, series[mode][0] ?? [], name, series[mode][i + 1] ?? []);
      }),
    );
  },
};
