/**
 * NetworkPolicies and what packets meet with: each kind of peer, of port and of subject, in both directions. A step has a policy for each of several subjects,
 * since what one says is no matter of the others.
 */
import type { Case, Known, PolicyObject, Step } from "./cluster-cases.ts";
import { allOf, type Passes, PORTS, type Team, TEAMS } from "./expected.ts";

type Direction = "Ingress" | "Egress";
const DIRECTIONS: readonly Direction[] = ["Ingress", "Egress"];
const PODS = TEAMS.flatMap((team) => [`${team}0`, `${team}1`]);
const ONE = { matchLabels: { number: "1" } };
const BLUE = { matchLabels: { team: "blue" } };

const teamOf = (pod: string): Team => pod.slice(0, -1) as Team;

function policy(name: string, namespace: Team, podSelector: unknown, spec: Record<string, unknown>): PolicyObject {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace },
    spec: { podSelector, ...spec },
  };
}

const directed = (direction: Direction, rules: unknown): Record<string, unknown> => ({
  policyTypes: [direction],
  ...(rules !== undefined && { [direction.toLowerCase()]: rules }),
});

const pair = (direction: Direction, subject: string, other: string): string =>
  direction === "Ingress" ? `${other}>${subject}` : `${subject}>${other}`;

interface PeerKind {
  what: string;
  peer: unknown;
  /** The pods that it is, for a policy of a namespace. */
  are: (own: Team) => readonly string[];
}

function peerKinds({ ipsOf }: Known): PeerKind[] {
  const in1 = (pods: readonly string[]): string[] => pods.filter((pod) => pod.endsWith("1"));
  const of = (...teams: Team[]): string[] => PODS.filter((pod) => teams.includes(teamOf(pod)));
  const blocks = (except: boolean): unknown[] =>
    ["10.0.0.0/8", "fc00::/7"].map((cidr) => ({
      ipBlock: {
        cidr,
        ...(except && {
          except: ipsOf("blue1").flatMap((ip) =>
            ip.includes(":") === cidr.includes(":") ? `${ip}/${ip.includes(":") ? 128 : 32}` : [],
          ),
        }),
      },
    }));
  const single = (what: string, peer: unknown, are: PeerKind["are"]): PeerKind => ({ what, peer: [peer], are });
  return [
    single("all pods of the namespace", { podSelector: {} }, (own) => of(own)),
    single("some pods of the namespace", { podSelector: ONE }, (own) => in1(of(own))),
    single("all namespaces", { namespaceSelector: {} }, () => PODS),
    single("a namespace", { namespaceSelector: BLUE }, () => of("blue")),
    single("some pods of all namespaces", { namespaceSelector: {}, podSelector: ONE }, () => in1(PODS)),
    single("all pods of a namespace", { namespaceSelector: BLUE, podSelector: {} }, () => of("blue")),
    single("some pods of a namespace", { namespaceSelector: BLUE, podSelector: ONE }, () => ["blue1"]),
    single(
      "namespaces but some",
      { namespaceSelector: { matchExpressions: [{ key: "team", operator: "NotIn", values: ["blue", "green"] }] } },
      () => of("red", "gold"),
    ),
    single("nobody", { namespaceSelector: {}, podSelector: { matchLabels: { number: "9" } } }, () => []),
    { what: "blocks", peer: blocks(false), are: () => PODS },
    { what: "blocks without an address", peer: blocks(true), are: () => PODS.filter((pod) => pod !== "blue1") },
    {
      what: "some pods of a namespace, or all of another",
      peer: [{ namespaceSelector: BLUE, podSelector: ONE }, { namespaceSelector: { matchLabels: { team: "gold" } } }],
      are: () => ["blue1", ...of("gold")],
    },
  ];
}

const PORT_KINDS: readonly (readonly [what: string, ports: unknown, passes: string])[] = [
  ["no list", undefined, "all"],
  ["an empty list", [], "all"],
  ["a protocol, TCP where none is named", [{}], allOf("tcp")],
  ["UDP", [{ protocol: "UDP" }], allOf("udp")],
  ["SCTP", [{ protocol: "SCTP" }], allOf("sctp")],
  ["a number", [{ port: 80 }], "tcp/80"],
  ["a number of UDP", [{ protocol: "UDP", port: 53 }], "udp/53"],
  ["a number of SCTP", [{ protocol: "SCTP", port: 9003 }], "sctp/9003"],
  ["a name", [{ port: "web" }], "tcp/80"],
  ["a name of UDP", [{ protocol: "UDP", port: "dns" }], "udp/53"],
  ["a name of another protocol", [{ protocol: "TCP", port: "dns" }], ""],
  ["a name that nobody has", [{ port: "nobody" }], ""],
  ["a range with one of them", [{ port: 79, endPort: 81 }], "tcp/80"],
  ["a range with both", [{ protocol: "UDP", port: 53, endPort: 5353 }], "udp/53 udp/5353"],
  ["a range of SCTP", [{ protocol: "SCTP", port: 9004, endPort: 9006 }], "sctp/9005"],
  ["two of them", [{ port: 8080 }, { protocol: "UDP", port: 5353 }], "tcp/8080 udp/5353"],
];

/** Groups of at most as many as there are subjects. */
const grouped = <T>(all: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));

const peers = (direction: Direction, known: Known): Case => ({
  title: `NetworkPolicy: peers, ${direction}`,
  steps: grouped(peerKinds(known), TEAMS.length).map((kinds) => ({
    what: kinds.map(({ what }) => what).join("; "),
    policies: kinds.map(({ peer }, i) =>
      policy("peers", TEAMS[i] as Team, {}, directed(direction, [{ [direction === "Ingress" ? "from" : "to"]: peer }])),
    ),
    passes: Object.fromEntries(
      kinds.flatMap(({ are }, i) =>
        PODS.map((pod) => [pair(direction, TEAMS[i] as Team, pod), are(TEAMS[i] as Team).includes(pod) ? "all" : ""]),
      ),
    ),
  })),
});

const ports = (direction: Direction): Case => ({
  title: `NetworkPolicy: ports, ${direction}`,
  steps: grouped(PORT_KINDS, PODS.length).map((kinds) => ({
    what: kinds.map(([what]) => what).join("; "),
    policies: kinds.map(([, list], i) => {
      const pod = PODS[i] as string;
      const selector = { matchLabels: { number: pod.slice(-1) } };
      return policy(
        `ports-${pod}`,
        teamOf(pod),
        selector,
        directed(direction, [list === undefined ? {} : { ports: list }]),
      );
    }),
    passes: Object.fromEntries(kinds.map(([, , passes], i) => [pair(direction, PODS[i] as string, "*"), passes])),
  })),
});

const everything = [{}];

/** Rules for nobody, for everybody, for one direction and both, and several policies on one pod. */
const rules = (direction: Direction): Case => {
  const of = (name: string, list: unknown): PolicyObject => policy(name, "red", {}, directed(direction, list));
  const toGreen = [
    { [direction === "Ingress" ? "from" : "to"]: [{ namespaceSelector: { matchLabels: { team: "green" } } }] },
  ];
  const toBlue = [{ [direction === "Ingress" ? "from" : "to"]: [{ namespaceSelector: BLUE }], ports: [{ port: 80 }] }];
  const none: Passes = { [pair(direction, "red", "*")]: "" };
  const steps: [string, PolicyObject[], Passes][] = [
    ["no list", [of("one", undefined)], none],
    ["an empty list", [of("one", [])], none],
    ["a rule that says nothing", [of("one", everything)], {}],
    ["nobody and everybody", [of("one", []), of("two", everything)], {}],
    [
      "two rules",
      [of("one", [...toGreen, ...toBlue])],
      { ...none, [pair(direction, "red", "green")]: "all", [pair(direction, "red", "blue")]: "tcp/80" },
    ],
    [
      "two policies",
      [of("one", toGreen), of("two", toBlue)],
      { ...none, [pair(direction, "red", "green")]: "all", [pair(direction, "red", "blue")]: "tcp/80" },
    ],
    ["one of them deleted", [of("two", toBlue)], { ...none, [pair(direction, "red", "blue")]: "tcp/80" }],
  ];
  return {
    title: `NetworkPolicy: rules, ${direction}`,
    steps: steps.map(([what, policies, passes]): Step => ({ what, policies, passes })),
  };
};

/** What one end allows the other may still deny. */
const bothEnds: Case = {
  title: "NetworkPolicy: both ends",
  steps: [
    {
      what: "one denies to send, the other allows to get",
      policies: [
        policy("send", "red", {}, directed("Egress", [])),
        policy("get", "blue", {}, directed("Ingress", everything)),
      ],
      passes: { "red>*": "" },
    },
    {
      what: "one allows to send, the other denies to get",
      policies: [
        policy("send", "red", {}, directed("Egress", everything)),
        policy("get", "blue", {}, directed("Ingress", [])),
      ],
      passes: { "*>blue": "" },
    },
    {
      what: "both directions in one policy",
      policies: [
        policy(
          "both",
          "red",
          {},
          { policyTypes: ["Ingress", "Egress"], egress: [{ to: [{ namespaceSelector: BLUE }] }] },
        ),
      ],
      passes: { "*>red": "", "red>*": "", "red>blue": "all", "red>red": "" },
    },
  ],
};

/** Who is a subject, as labels change. */
const subjects: Case = {
  title: "NetworkPolicy: subjects, and labels that change",
  steps: [
    {
      what: "a pod by its label",
      policies: [policy("subject", "red", ONE, directed("Ingress", []))],
      passes: { "*>red1": "" },
    },
    {
      what: "another pod gets the label",
      policies: [policy("subject", "red", ONE, directed("Ingress", []))],
      labels: { red0: { number: "1" }, red1: { number: "0" } },
      passes: { "*>red0": "" },
    },
    {
      what: "a peer's namespace gets a label",
      policies: [
        policy(
          "subject",
          "red",
          {},
          directed("Ingress", [{ from: [{ namespaceSelector: { matchLabels: { guest: "yes" } } }] }]),
        ),
      ],
      labels: { green: { guest: "yes" } },
      passes: { "*>red": "", "green>red": "all" },
    },
    {
      what: "and loses it",
      policies: [
        policy(
          "subject",
          "red",
          {},
          directed("Ingress", [{ from: [{ namespaceSelector: { matchLabels: { guest: "yes" } } }] }]),
        ),
      ],
      passes: { "*>red": "" },
    },
    { what: "no policy", policies: [], passes: { "*>*": PORTS.join(" ") } },
  ],
};

/** All cases. */
export const podCases = (known: Known): Case[] => [
  ...DIRECTIONS.flatMap((direction) => [peers(direction, known), ports(direction), rules(direction)]),
  bothEnds,
  subjects,
];
