/**
 * What is tried, from which end to which: pure. With n nodes each tries k others, so that there are n·k pairs and not n², each node is tried from and to
 * k times, and the k are spread over the whole list, in which neighbours are often neighbours of the same rack.
 */
import { type Family, familyOf } from "../../addr/index.ts";
import { PEER_PORT, type Question, type Size } from "./peer/questions.ts";

/** Nodes that are tested, others that each tries, and how long their pods may take to start, unless other numbers are asked for. */
export const DEFAULTS = { nodes: 100, peers: 3, startingSeconds: 120 } as const;

/** A node, as the API server knows it. */
export interface TestNode {
  name: string;
  /** Its own addresses. */
  ips: readonly string[];
  kubeletPort: number;
  /** The agent's pod on it, and its image. */
  agent: string;
  image: string;
}

/** A node with the test's two pods on it. */
export interface TestedNode extends TestNode {
  /** From and to which everything is tried. */
  peer: TestPod;
  /** Beside it: what packets within a node reach, and whom the policy denies. */
  other: TestPod;
}

/** A pod of the test. */
export interface TestPod {
  name: string;
  ips: readonly string[];
}

/** A Service with its addresses. */
export interface Service {
  ips: readonly string[];
  port: number;
}

/** What else is there to be tried. */
export interface Services {
  /** The test's own, over all its pods. */
  own: Service;
  /** The API server's, where it could be read. */
  api: Service | undefined;
  /** Whether there is cluster DNS. */
  dns: boolean;
}

/** What is tried; the order is that of the table. */
export const TITLES = {
  start: "pods of the test start",
  "pod-pod-here": "pod to pod on the same node",
  "pod-pod-tcp": "pod to pod on another node, TCP",
  "pod-pod-udp": "pod to pod on another node, UDP",
  "pod-pod-full": "pod to pod on another node, UDP, full size (DF)",
  "pod-pod-over": "pod to pod on another node, UDP, one byte more",
  "node-pod": "node to pod",
  "pod-node-here": "pod to its own node",
  "pod-node": "pod to another node",
  "pod-service": "pod to Service",
  "node-service": "node to Service",
  api: "pod to the API server's Service",
  dns: "names by cluster DNS",
  "policy-allow": "a policy lets the allowed peer in",
  "policy-deny": "a policy keeps the denied peer out",
} as const;
export type Kind = keyof typeof TITLES;

/** Who asks: a pod of the test, or the agent's pod, whose network is its node's. */
export interface Asker {
  where: "test" | "agent";
  pod: string;
}

/** One end of a check. */
export interface End {
  /** Absent for a Service. */
  node?: string;
  /** In words: pod, node, Service. */
  is: string;
}

/** One thing to try. */
export interface Check {
  kind: Kind;
  family?: Family;
  from: End & { node: string };
  to: End;
  asker: Asker;
  question: Question;
  /** The pod at the other end, where it can tell what it has got. */
  far?: string;
  /** What `kubectl skylane trace` is to be asked where it fails; {@link NAMESPACE} stands for the test's own. */
  trace?: readonly string[];
}

/** Stands for the namespace of the test. */
export const NAMESPACE = "NAMESPACE";
export const SERVICE_NAME = "peers";
export const SERVICE_PORT = 80;
const API_NAME = "kubernetes.default.svc";

/** @returns at most so many, spread evenly over all of them, the first among them */
export const sample = <T>(all: readonly T[], most: number): T[] =>
  all.length <= most ? [...all] : Array.from({ length: most }, (_, i) => all[Math.floor((i * all.length) / most)] as T);

/** How far the partners of each are from it in a circle of so many: at most k distances, spread evenly, 1 among them. */
function distances(count: number, k: number): number[] {
  const most = Math.min(k, count - 1);
  return Array.from({ length: Math.max(0, most) }, (_, i) => 1 + Math.floor((i * (count - 1)) / most));
}

/** Those whom each tries. @returns for each node of the list its partners; every node is somebody's as often as it has some */
const partnersOf = <T>(nodes: readonly T[], k: number): Map<T, T[]> =>
  new Map(
    nodes.map((node, i) => [
      node,
      distances(nodes.length, k).map((distance) => nodes[(i + distance) % nodes.length] as T),
    ]),
  );

/** Addresses of families that somebody has as well, with the family. */
const shared = (ips: readonly string[], own: readonly string[]): { ip: string; family: Family }[] =>
  ips.map((ip) => ({ ip, family: familyOf(ip) })).filter(({ family }) => own.some((one) => familyOf(one) === family));

const podEnd = (node: TestedNode, pod: TestPod): End & { node: string } => ({ node: node.name, is: `pod ${pod.name}` });
const nodeEnd = (node: TestedNode): End & { node: string } => ({ node: node.name, is: "the host" });
const inPod = ({ name }: TestPod): Asker => ({ where: "test", pod: name });
const onNode = ({ agent }: TestNode): Asker => ({ where: "agent", pod: agent });

const traceTo = (from: TestPod, to: string, family: Family, protocol: "tcp" | "udp", port = PEER_PORT): string[] => [
  `${NAMESPACE}/${from.name}`,
  to,
  `--family=${family}`,
  `--protocol=${protocol}`,
  `--port=${port}`,
];

/** What is tried before there is a policy. @param k how many others each node tries */
export const planChecks = (nodes: readonly TestedNode[], k: number, services: Services): Check[] =>
  [...partnersOf(nodes, k)].flatMap(([node, partners]) => [
    ...withinNode(node),
    ...partners.flatMap((partner) => betweenPods(node, partner)),
    ...[node, ...partners].flatMap((partner) => [...fromNode(node, partner), ...toNode(node, partner)]),
    ...toServices(node, services),
  ]);

function withinNode(node: TestedNode): Check[] {
  return shared(node.other.ips, node.peer.ips).map(({ ip, family }) => ({
    kind: "pod-pod-here",
    family,
    from: podEnd(node, node.peer),
    to: podEnd(node, node.other),
    asker: inPod(node.peer),
    question: { kind: "http", ip, port: PEER_PORT, peer: node.other.name },
    trace: traceTo(node.peer, `${NAMESPACE}/${node.other.name}`, family, "tcp"),
  }));
}

const SIZES: readonly (readonly [Kind, Size])[] = [
  ["pod-pod-udp", "small"],
  ["pod-pod-full", "full"],
  ["pod-pod-over", "over"],
];

/** The key by which a datagram is known at both ends. */
const keyOf = (from: TestPod, to: TestPod, family: Family, size: Size): string =>
  `${from.name}>${to.name}/${family}/${size}`;

function betweenPods(node: TestedNode, partner: TestedNode): Check[] {
  return shared(partner.peer.ips, node.peer.ips).flatMap(({ ip, family }): Check[] => {
    const ends = {
      family,
      from: podEnd(node, node.peer),
      to: podEnd(partner, partner.peer),
      asker: inPod(node.peer),
    };
    const to = `${NAMESPACE}/${partner.peer.name}`;
    return [
      {
        ...ends,
        kind: "pod-pod-tcp",
        question: { kind: "http", ip, port: PEER_PORT, peer: partner.peer.name },
        trace: traceTo(node.peer, to, family, "tcp"),
      },
      ...SIZES.map(
        ([kind, size]): Check => ({
          ...ends,
          kind,
          far: partner.peer.name,
          question: { kind: "udp", ip, port: PEER_PORT, size, key: keyOf(node.peer, partner.peer, family, size) },
          trace: traceTo(node.peer, to, family, "udp"),
        }),
      ),
    ];
  });
}

const fromNode = (node: TestedNode, partner: TestedNode): Check[] =>
  // Of IPv6 a node may have an address that its Node object does not tell.
  shared(partner.peer.ips, node.ips).map(({ ip, family }) => ({
    kind: "node-pod",
    family,
    from: nodeEnd(node),
    to: podEnd(partner, partner.peer),
    asker: onNode(node),
    question: { kind: "http", ip, port: PEER_PORT, peer: partner.peer.name },
  }));

/** To the port that every node has: its kubelet's. A refusal comes from the node as well. */
const toNode = (node: TestedNode, partner: TestedNode): Check[] =>
  shared(partner.ips, node.peer.ips).map(({ ip, family }) => ({
    kind: partner === node ? "pod-node-here" : "pod-node",
    family,
    from: podEnd(node, node.peer),
    to: nodeEnd(partner),
    asker: inPod(node.peer),
    question: { kind: "connect", ip, port: partner.kubeletPort, refusalCounts: true },
  }));

function toServices(node: TestedNode, { own, api, dns }: Services): Check[] {
  const service = { is: "the test's Service" };
  const pod = podEnd(node, node.peer);
  return [
    ...shared(own.ips, node.peer.ips).map(
      ({ ip, family }): Check => ({
        kind: "pod-service",
        family,
        from: pod,
        to: service,
        asker: inPod(node.peer),
        question: { kind: "http", ip, port: own.port, peer: "" },
        trace: traceTo(node.peer, `${NAMESPACE}/svc/${SERVICE_NAME}`, family, "tcp", own.port),
      }),
    ),
    ...shared(own.ips, node.ips).map(
      ({ ip, family }): Check => ({
        kind: "node-service",
        family,
        from: nodeEnd(node),
        to: service,
        asker: onNode(node),
        question: { kind: "http", ip, port: own.port, peer: "" },
      }),
    ),
    ...shared(api?.ips ?? [], node.peer.ips).map(
      ({ ip, family }): Check => ({
        kind: "api",
        family,
        from: pod,
        to: { is: "the API server's Service" },
        asker: inPod(node.peer),
        question: { kind: "connect", ip, port: api?.port ?? 0, refusalCounts: false },
        trace: traceTo(node.peer, "default/svc/kubernetes", family, "tcp", api?.port),
      }),
    ),
    ...(dns && api
      ? [
          {
            kind: "dns",
            from: pod,
            to: { is: `the name ${API_NAME}` },
            asker: inPod(node.peer),
            question: { kind: "name", name: API_NAME, ips: api.ips },
          } satisfies Check,
        ]
      : []),
  ];
}

/** What is tried while the policy stands, which lets in those alone from which everything is tried: on every node one that may and one that may not. */
export const planPolicyChecks = (nodes: readonly TestedNode[]): Check[] =>
  [...partnersOf(nodes, 1)].flatMap(([node, [partner = node]]) =>
    // On the only node there are two pods to choose from: each tries the other.
    [
      { kind: "policy-allow" as const, from: node.peer, to: partner.other },
      { kind: "policy-deny" as const, from: node.other, to: partner === node ? node.peer : partner.other },
    ].flatMap(({ kind, from, to }) =>
      shared(to.ips, from.ips).map(
        ({ ip, family }): Check => ({
          kind,
          family,
          from: podEnd(node, from),
          to: podEnd(partner, to),
          asker: inPod(from),
          question:
            kind === "policy-allow"
              ? { kind: "http", ip, port: PEER_PORT, peer: to.name }
              : { kind: "closed", ip, port: PEER_PORT },
          trace: traceTo(from, `${NAMESPACE}/${to.name}`, family, "tcp"),
        }),
      ),
    ),
  );
