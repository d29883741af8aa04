/**
 * ClusterNetworkPolicies and what packets meet with: both tiers, both directions, each protocol, actions in each order, peers of every kind, ports by number,
 * range and name, priorities, and the way through Admin, NetworkPolicy and Baseline.
 */
import type { Port } from "./crowd.ts";
import { allBut, type Passes, type Team, TEAMS } from "./expected.ts";

/** An object as an administrator applies it. */
export interface PolicyObject {
  apiVersion: string;
  kind: "ClusterNetworkPolicy" | "NetworkPolicy";
  metadata: { name: string; namespace?: string };
  spec: Record<string, unknown>;
}

/** What is there, and what comes of it. Steps of a case follow each other. */
export interface Step {
  what: string;
  /** All policies; what is not among them any more is deleted. */
  policies: readonly PolicyObject[];
  passes: Passes;
  /** Of IPv6, where it is another one. */
  passes6?: Passes;
  /** Whether nodes are asked as well. */
  nodes?: boolean;
  /** Labels that namespaces or pods have besides their own; "team" in place of their own. */
  labels?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

export interface Case {
  title: string;
  steps: readonly Step[];
}

/** What cases must know of pods. */
export interface Known {
  ipsOf: (pod: string) => readonly string[];
}

type Tier = "Admin" | "Baseline";
type Direction = "ingress" | "egress";
const DIRECTIONS: readonly Direction[] = ["egress", "ingress"];
const TIERS: readonly Tier[] = ["Admin", "Baseline"];

interface Gress {
  action: "Accept" | "Deny" | "Pass";
  peers: readonly unknown[];
  protocols?: readonly unknown[];
}

const namespace = (team: Team): unknown => ({ namespaces: { matchLabels: { team } } });
const podsOf = (team: Team): unknown => ({
  pods: { namespaceSelector: { matchLabels: { team } }, podSelector: { matchLabels: { team } } },
});
const EVERYWHERE = { networks: ["0.0.0.0/0", "::/0"] };
const LINUX = { nodes: { matchLabels: { "kubernetes.io/os": "linux" } } };

/** A port as the API has it. */
function at(port: Port): unknown {
  const [protocol, number] = port.split("/") as [string, string];
  return { [protocol]: { destinationPort: { number: Number(number) } } };
}

const rule = (action: Gress["action"], peer: unknown, ...protocols: unknown[]): Gress => ({
  action,
  peers: [peer],
  ...(protocols.length > 0 && { protocols }),
});

function cluster(
  name: string,
  tier: Tier,
  priority: number,
  subject: unknown,
  gress: Partial<Record<Direction, readonly Gress[]>>,
): PolicyObject {
  const rules = (direction: Direction, side: string): unknown =>
    gress[direction]?.map(({ action, peers, protocols }, i) => ({
      name: `${direction}-${i}`,
      action,
      [side]: peers,
      ...(protocols && { protocols }),
    }));
  const [ingress, egress] = [rules("ingress", "from"), rules("egress", "to")];
  return {
    apiVersion: "policy.networking.k8s.io/v1alpha2",
    kind: "ClusterNetworkPolicy",
    metadata: { name },
    spec: {
      tier,
      priority,
      subject,
      ...(ingress !== undefined && { ingress }),
      ...(egress !== undefined && { egress }),
    },
  };
}

const between = (direction: Direction, subject: Team, other: Team): string =>
  direction === "egress" ? `${subject}>${other}` : `${other}>${subject}`;

/** Orders in which an Accept, a Deny and a Pass of the same traffic are written; the first one counts. */
const ORDERS: readonly (readonly Gress["action"][])[] = [
  ["Accept", "Deny", "Pass"],
  ["Deny", "Accept", "Pass"],
  ["Pass", "Deny", "Accept"],
];

interface Ports {
  /** Denied, or passed over, to blue. */
  blue: readonly Port[];
  /** The only ones to green. */
  green: readonly Port[];
}

/** Rules about three others: gold at all ports, blue at some, green at no others than some. Baseline has no Pass. */
function ordered(tier: Tier, order: readonly Gress["action"][], { blue, green }: Ports): Gress[] {
  const known = order.filter((action) => tier === "Admin" || action !== "Pass");
  return [
    ...known.map((action) => rule(action, namespace("gold"))),
    ...known.filter((action) => action !== "Accept").map((action) => rule(action, namespace("blue"), ...blue.map(at))),
    rule("Accept", namespace("green"), ...green.map(at)),
    rule("Deny", namespace("green")),
  ];
}

function expectedOf(subject: Team, direction: Direction, first: Gress["action"], { blue, green }: Ports): Passes {
  return {
    [between(direction, subject, "gold")]: first === "Deny" ? "" : "all",
    [between(direction, subject, "blue")]: first === "Pass" ? "all" : allBut(...blue),
    [between(direction, subject, "green")]: green.join(" "),
  };
}

const ofTier = (tier: Tier): readonly (readonly Gress["action"][])[] =>
  tier === "Admin" ? ORDERS : ORDERS.slice(0, 2);

const byProtocol = (tier: Tier): Case[] =>
  (
    [
      ["tcp", { blue: ["tcp/80"], green: ["tcp/8080"] }],
      ["udp", { blue: ["udp/5353"], green: ["udp/53"] }],
      ["sctp", { blue: ["sctp/9003"], green: ["sctp/9003"] }],
    ] satisfies [string, Ports][]
  ).flatMap(([protocol, ports]) =>
    DIRECTIONS.map((direction) => ({
      title: `${tier}: ${direction} of ${protocol}, the first rule that matches`,
      steps: ofTier(tier).map((order) => ({
        what: order.join(", "),
        policies: [cluster("by-protocol", tier, 6, namespace("red"), { [direction]: ordered(tier, order, ports) })],
        passes: expectedOf("red", direction, order[0] as Gress["action"], ports),
      })),
    })),
  );

/** Both directions and all protocols in one policy. */
function combined(tier: Tier): Case {
  const out: Ports = {
    blue: ["tcp/80", "udp/53", "sctp/9003"],
    green: ["tcp/8080", "udp/5353", "sctp/9003"],
  };
  const into: Ports = { blue: out.blue, green: ["tcp/80", "udp/5353", "sctp/9003"] };
  return {
    title: `${tier}: both directions and all protocols in one policy`,
    steps: ofTier(tier).map((order) => ({
      what: order.join(", "),
      policies: [
        cluster("both-directions", tier, 15, namespace("red"), {
          egress: ordered(tier, order, out),
          ingress: ordered(tier, order, into),
        }),
      ],
      passes: {
        ...expectedOf("red", "egress", order[0] as Gress["action"], out),
        ...expectedOf("red", "ingress", order[0] as Gress["action"], into),
      },
    })),
  };
}

/** Blocks, with pods in front of them that are allowed, whose namespace loses its label; and addresses one by one. */
function networks(tier: Tier, { ipsOf }: Known): Case {
  const egress = [rule("Accept", podsOf("blue")), rule("Deny", EVERYWHERE)];
  const policy = (...more: Gress[]): PolicyObject =>
    cluster("networks", tier, 85, podsOf("red"), { egress: [...more, ...egress] });
  const single = {
    networks: ["gold0", "green0"].flatMap((pod) => ipsOf(pod).map((ip) => `${ip}/${ip.includes(":") ? 128 : 32}`)),
  };
  const closed = { "red>*": "" };
  return {
    title: `${tier}: egress to networks`,
    steps: [
      { what: "everything but some pods", policies: [policy()], passes: { ...closed, "red>blue": "all" } },
      {
        what: "a namespace that has another label",
        policies: [policy()],
        labels: { blue: { team: "nobody" } },
        passes: closed,
      },
      { what: "the label is back", policies: [policy()], passes: { ...closed, "red>blue": "all" } },
      {
        what: "single addresses",
        policies: [policy(rule("Accept", single))],
        passes: { ...closed, "red>blue": "all", "red>gold0": "all", "red>green0": "all" },
      },
      {
        what: "networks of one family",
        policies: [
          cluster("networks", tier, 85, podsOf("red"), { egress: [rule("Deny", { networks: ["0.0.0.0/0"] })] }),
        ],
        passes: closed,
        passes6: {},
      },
    ],
  };
}

/** Nodes as peers: by port, by range, passed over, and with networks in one rule. */
function nodes(tier: Tier): Case {
  const deny = { ...rule("Deny", LINUX), peers: [podsOf("blue"), LINUX, EVERYWHERE] };
  const range = { tcp: { destinationPort: { range: { start: 36_080, end: 36_081 } } } };
  const policy = (...egress: Gress[]): PolicyObject => cluster("nodes", tier, 75, podsOf("red"), { egress });
  return {
    title: `${tier}: egress to nodes`,
    steps: [
      {
        what: "a port that is allowed and one that is passed over",
        policies: [
          policy(
            rule("Accept", LINUX, at("tcp/36080")),
            ...(tier === "Admin" ? [rule("Pass", LINUX, at("udp/36053"))] : [rule("Accept", LINUX, at("udp/36053"))]),
            deny,
          ),
        ],
        nodes: true,
        passes: { "red>*": "", "red>node": "tcp/36080 udp/36053" },
      },
      {
        what: "a range of ports",
        policies: [policy(rule("Accept", LINUX, range), deny)],
        nodes: true,
        passes: { "red>*": "", "red>node": "tcp/36080 tcp/36081" },
      },
      {
        what: "nodes that are no such nodes",
        policies: [policy(rule("Deny", { nodes: { matchLabels: { "kubernetes.io/os": "plan9" } } }))],
        nodes: true,
        passes: {},
      },
      {
        what: "one node",
        policies: [policy(rule("Deny", { nodes: { matchLabels: { "kubernetes.io/hostname": "node2" } } }))],
        nodes: true,
        passes: { "red>node2": "" },
      },
    ],
  };
}

/** Ports by the names that pods' containers have for them: web is 80 of TCP, dns 53 of UDP. */
const namedPorts = (tier: Tier): Case[] =>
  DIRECTIONS.map((direction) => ({
    title: `${tier}: ${direction} at named ports`,
    steps: (
      [
        ["web", "tcp/80"],
        ["dns", "udp/53"],
        ["nobody", ""],
      ] as const
    ).map(([name, ports]) => ({
      what: name,
      policies: [
        cluster("named", tier, 6, namespace("red"), {
          [direction]: [
            rule("Accept", namespace("green"), { destinationNamedPort: name }),
            rule("Deny", namespace("green")),
          ],
        }),
      ],
      passes: { [between(direction, "red", "green")]: ports },
    })),
  }));

const both = (action: Gress["action"], peer: unknown): Partial<Record<Direction, Gress[]>> => ({
  ingress: [rule(action, peer)],
  egress: [rule(action, peer)],
});

/** A policy that passes over what another denies, before and after it is asked first. */
function priorities(): Case {
  const policies = (priority: number): PolicyObject[] => [
    cluster("denies", "Admin", 50, podsOf("red"), both("Deny", podsOf("blue"))),
    cluster("passes", "Admin", priority, podsOf("red"), both("Pass", podsOf("blue"))),
    cluster("baseline", "Baseline", 10, podsOf("red"), both("Accept", podsOf("blue"))),
  ];
  return {
    title: "Admin: policies by priority",
    steps: [
      { what: "the one that denies first", policies: policies(60), passes: { "red>blue": "", "blue>red": "" } },
      { what: "the one that passes over first", policies: policies(40), passes: {} },
      { what: "the one that denies first again", policies: policies(51), passes: { "red>blue": "", "blue>red": "" } },
    ],
  };
}

const isolating = (name: string, team: Team, rules: Record<string, unknown>): PolicyObject => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name, namespace: team },
  spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"], ...rules },
});

/** Admin before NetworkPolicy before Baseline. */
function integration(): Case {
  const admin = (ingress: Gress["action"], egress: Gress["action"]): PolicyObject =>
    cluster("admin", "Admin", 10, namespace("red"), {
      ingress: [rule(ingress, namespace("blue"))],
      egress: [rule(egress, namespace("blue"))],
    });
  const peers = [{ namespaceSelector: { matchLabels: { team: "blue" } } }];
  const allow = isolating("allow-blue", "red", { ingress: [{ from: peers }], egress: [{ to: peers }] });
  const baseline = (action: Gress["action"]): PolicyObject =>
    cluster("baseline", "Baseline", 10, namespace("red"), both(action, namespace("blue")));
  const isolated = { "*>red": "", "red>*": "" };
  return {
    title: "Admin, NetworkPolicy and Baseline in this order",
    steps: [
      {
        what: "Admin denies",
        policies: [admin("Deny", "Deny"), allow, baseline("Deny")],
        passes: isolated,
      },
      {
        what: "Admin passes over to a NetworkPolicy inwards",
        policies: [admin("Pass", "Deny"), allow, baseline("Deny")],
        passes: { ...isolated, "blue>red": "all" },
      },
      {
        what: "in both directions",
        policies: [admin("Pass", "Pass"), allow, baseline("Deny")],
        passes: { ...isolated, "blue>red": "all", "red>blue": "all" },
      },
      {
        what: "without it Baseline denies",
        policies: [admin("Pass", "Pass"), baseline("Deny")],
        passes: { "blue>red": "", "red>blue": "" },
      },
      { what: "Baseline allows", policies: [admin("Pass", "Pass"), baseline("Accept")], passes: {} },
      {
        what: "a NetworkPolicy that isolates comes before a Baseline that allows",
        policies: [isolating("deny-all", "red", {}), baseline("Accept")],
        passes: isolated,
      },
      {
        what: "Admin allows whom a NetworkPolicy isolates",
        policies: [admin("Accept", "Accept"), isolating("deny-all", "red", {}), baseline("Deny")],
        passes: { ...isolated, "blue>red": "all", "red>blue": "all" },
      },
    ],
  };
}

/** Subjects and peers by selectors with expressions. */
function selectors(): Case {
  const others = { namespaces: { matchExpressions: [{ key: "team", operator: "NotIn", values: ["red", "blue"] }] } };
  const ones = {
    pods: {
      namespaceSelector: {},
      podSelector: { matchExpressions: [{ key: "number", operator: "In", values: ["1"] }] },
    },
  };
  return {
    title: "Admin: selectors with expressions, of subjects and of peers",
    steps: [
      {
        what: "all namespaces but some, as subject",
        policies: [cluster("selectors", "Admin", 1, others, { ingress: [rule("Deny", namespace("red"))] })],
        passes: { "red>green": "", "red>gold": "" },
      },
      {
        what: "pods of all namespaces, as peer",
        policies: [cluster("selectors", "Admin", 1, namespace("red"), { egress: [rule("Deny", ones)] })],
        passes: Object.fromEntries(TEAMS.map((team) => [`red>${team}1`, ""])),
      },
      {
        what: "a pod that has another label",
        policies: [cluster("selectors", "Admin", 1, namespace("red"), { egress: [rule("Deny", ones)] })],
        labels: { blue1: { number: "2" }, gold0: { number: "1" } },
        passes: { "red>red1": "", "red>green1": "", "red>gold1": "", "red>gold0": "" },
      },
    ],
  };
}

/** All cases. */
export const clusterCases = (known: Known): Case[] => [
  ...TIERS.flatMap((tier) => [
    ...byProtocol(tier),
    combined(tier),
    networks(tier, known),
    nodes(tier),
    ...namedPorts(tier),
  ]),
  priorities(),
  integration(),
  selectors(),
];
