/** The demo of network policies: a shop whose parts may talk to each other as somebody has written it down, and in no other way. */
import { setTimeout as delay } from "node:timers/promises";
import { table } from "../../src/cli/index.ts";
import type { Lab } from "../lab.ts";
import { ask, Talk } from "../pods/talk.ts";
import { check, ctl, indented, ofFamily, type Step } from "./step.ts";

/** The shop's pods: on which node, and the port on which it answers. */
const SHOP = {
  front: { node: "node1", port: 8000 },
  back: { node: "node2", port: 8080 },
  database: { node: "node3", port: 5432 },
  stranger: { node: "node2", port: 9999 },
} as const;
type Part = keyof typeof SHOP;
const PARTS = Object.keys(SHOP) as Part[];
/** How long an answer is waited for, in milliseconds: as long as the machine's pace is not known, and at least from then on. */
const FIRST_MS = 20_000;
const LEAST_MS = 500;
/** How long news may take to be in force everywhere; generous, for a loaded machine. */
const NEWS_MS = 60_000;

const DENY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: deny-all }
spec: { podSelector: {}, policyTypes: [Ingress] }
`;

const allow = (to: Part, from: Part): string => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: ${from}-to-${to} }
spec:
  podSelector: { matchLabels: { app: ${to} } }
  ingress: [{ from: [{ podSelector: { matchLabels: { app: ${from} } } }], ports: [{ port: ${SHOP[to].port} }] }]
`;

const AUDITED = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: front-stays-inside, annotations: { skylane.dev/policy-mode: audit } }
spec: { podSelector: { matchLabels: { app: front } }, policyTypes: [Egress] }
`;

const WAYS: readonly (readonly [Part, Part])[] = [
  ["front", "back"],
  ["back", "database"],
  ["front", "database"],
  ["stranger", "back"],
  ["stranger", "database"],
];

/** How long somebody who may ask has taken to be answered, as slow as this machine is; nobody who is not answered for so long ever is. */
const paces = new WeakMap<Lab, number>();
const patienceOf = (lab: Lab): number => paces.get(lab) ?? FIRST_MS;

const addressOf = (lab: Lab, pod: string): string => ofFamily(lab.pod(pod).ips, 4) as string;

/** What runs in the shop as long as the demo does. */
const running = new WeakMap<Lab, Talk[]>();

const add = async (lab: Lab, part: Part, name: string = part): Promise<void> => {
  await lab.addPod(SHOP[part].node, name, { labels: { app: part } });
  const talk = await Talk.answering(lab.context, lab.pod(name), SHOP[part].port);
  running.set(lab, [...(running.get(lab) ?? []), talk]);
};

const asked = (lab: Lab, from: string, to: Part, pod: string = to): Promise<string> =>
  ask(lab.context, lab.pod(from), addressOf(lab, pod), SHOP[to].port, patienceOf(lab));

/** Asks until the answers are those, and shows the last ones. @throws Error naming who is answered and should not be, or the other way round */
async function shown(lab: Lab, allowed: readonly (readonly [Part, Part])[]): Promise<string> {
  const expected = (from: Part, to: Part): boolean => allowed.some(([a, b]) => a === from && b === to);
  const deadline = performance.now() + NEWS_MS;
  for (;;) {
    const answers = await Promise.all(WAYS.map(([from, to]) => asked(lab, from, to)));
    const wrong = WAYS.findIndex(([from, to], i) => (answers[i] === "answered") !== expected(from, to));
    if (wrong < 0)
      return table(
        ["FROM", "TO", "TCP PORT", "CAME OF IT"],
        WAYS.map(([from, to], i) => [from, to, SHOP[to].port, answers[i]]),
      );
    const [from, to] = WAYS[wrong] as readonly [Part, Part];
    check(performance.now() < deadline, `${from} to ${to}: ${answers[wrong]}`);
  }
}

const shop: Step = {
  title: "A shop",
  why: `Four pods on three nodes, each of which answers on a TCP port. There are no policies, so each reaches each; and the
kernel has no rule for policies that do not exist.`,
  async run(lab, print) {
    for (const part of PARTS) await add(lab, part);
    const start = performance.now();
    const answers = await shown(lab, WAYS);
    paces.set(lab, Math.max(LEAST_MS, performance.now() - start));
    await print(answers);
    const tables = await lab.exec("node1", "nft", "list", "tables");
    check(!tables.includes("skylane_policy"), "there is a table of policies without a policy");
  },
};

const deny: Step = {
  title: "Nobody, unless somebody says so",
  why: `A NetworkPolicy that selects all pods and allows nothing. It is in force where its pods are, in the kernel of each node.`,
  async run(lab, print) {
    await lab.applyPolicies(DENY);
    await print(indented(DENY));
    await print(`\n${await shown(lab, [])}`);
  },
};

const allowed: Step = {
  title: "What the shop needs",
  why: `Two more policies: front may talk to back, and back to the database, each to one port. What is newly allowed works at once.`,
  async run(lab, print) {
    const policies = [allow("back", "front"), allow("database", "back")].join("---\n");
    await lab.applyPolicies(policies);
    await print(indented(policies));
    await print(
      `\n${await shown(lab, [
        ["front", "back"],
        ["back", "database"],
      ])}`,
    );
  },
};

const first: Step = {
  title: "From the first packet on",
  why: `A further database. When its ADD has answered, its policies are in force: the first packet of a stranger is dropped, the
first one of back is not.`,
  async run(lab, print) {
    await add(lab, "database", "database2");
    const [stranger, back] = [
      await asked(lab, "stranger", "database", "database2"),
      await asked(lab, "back", "database", "database2"),
    ];
    await print(
      table(
        ["FROM", "TO", "CAME OF THE FIRST PACKET"],
        [
          ["stranger", "database2", stranger],
          ["back", "database2", back],
        ],
      ),
    );
    check(stranger === "no answer", `stranger to database2: ${stranger}`);
    check(back === "answered", `back to database2: ${back}`);
  },
};

const why: Step = {
  title: "Why?",
  why: `The agent of any node explains what comes of a packet, at both ends, and which policy says so.`,
  async run(lab, print) {
    const { port } = SHOP.database;
    const said = await ctl(lab, "node3", "policy", "explain", "database", "--from", "stranger", "--port", String(port));
    await print(indented(said));
    check(
      /Verdict: +it is DENIED/.test(said) && said.includes("isolated by NetworkPolicy"),
      "the verdict is not explained",
    );
    check(said.includes("the rules in the kernel say the same"), "the rules in the kernel say something else");
    await print(`\n${indented(await ctl(lab, "node3", "policy", "list"))}`);
  },
};

const cut: Step = {
  title: "What is not allowed any more ends",
  why: `back has a connection to the database, and sends on it all the time. The policy that allowed it is deleted: also what goes
on ends.`,
  async run(lab, print) {
    const { port } = SHOP.database;
    await using talk = await Talk.connected(lab.context, lab.pod("back"), addressOf(lab, "database"), port);
    const before = talk.lines;
    await delay(patienceOf(lab));
    check(talk.lines > before, "the connection is silent");
    await lab.deletePolicies(allow("database", "back"));
    const start = performance.now();
    let last = talk.lines;
    for (;;) {
      await delay(patienceOf(lab));
      if (talk.lines === last) break;
      last = talk.lines;
      check(performance.now() - start < NEWS_MS, "the connection goes on");
    }
    await print(`answers on the connection before: ${before + 1} and more; after the policy went: none\n`);
    await print(`\n${await shown(lab, [["front", "back"]])}`);
  },
};

const audit: Step = {
  title: "Try it first",
  why: `A policy in audit mode (annotation skylane.dev/policy-mode: audit) denies nothing. What it would have denied is in the agent's
log, and counted.`,
  async run(lab, print) {
    await lab.applyPolicies(AUDITED);
    await print(indented(AUDITED));
    const start = performance.now();
    for (;;) {
      check((await asked(lab, "front", "back")) === "answered", "a policy in audit mode denies");
      const lines = (await lab.exec("node1", "cat", "/var/log/skylane-agent.log")).split("\n");
      const line = lines.find((one) => one.includes("audit mode would deny"));
      if (line !== undefined) {
        await print(`\n${indented(line)}`);
        break;
      }
      check(performance.now() - start < NEWS_MS, "nothing is told of what the policy would deny");
    }
    await print(`\n${indented(await ctl(lab, "node1", "policy", "list"))}`);
  },
};

const gone: Step = {
  title: "And nothing is left",
  why: `With the last policy the rules go out of the kernel.`,
  async run(lab, print) {
    await lab.deletePolicies([DENY, allow("back", "front"), AUDITED].join("---\n"));
    await print(await shown(lab, WAYS));
    const start = performance.now();
    while ((await lab.exec("node1", "nft", "list", "tables")).includes("skylane_policy"))
      check(performance.now() - start < NEWS_MS, "there is a table of policies without a policy");
    for (const talk of running.get(lab) ?? []) await talk[Symbol.asyncDispose]();
  },
};

/** In the order in which they are shown. */
export const POLICY: readonly Step[] = [shop, deny, allowed, first, why, cut, audit, gone];
