/** A made-up cluster with network policies as teams write them: a namespace's default deny, what its parts may say to each other, and the way out. */
import { bigIntToIp, ipToBigInt } from "../../src/addr/index.ts";
import { type Namespace, type Pod, type Policy, readNetworkPolicy } from "../../src/policy/index.ts";

export interface PolicyClusterSize {
  pods: number;
  namespaces: number;
  /** Of each namespace. */
  policies: number;
  /** Pods of each node. */
  perNode: number;
}

/** Name of the node that is measured. */
export const HERE = "node0";
const APPS = 5;
const FIRST = { 4: ipToBigInt("10.0.0.0"), 6: ipToBigInt("fd00::") } as const;

export const ipsOf = (n: number): [string, string] => [
  bigIntToIp(FIRST[4] + BigInt(n) + 256n, 4),
  bigIntToIp(FIRST[6] + BigInt(n) + 256n, 6),
];

/** A pod by its number; neighbours are in different namespaces, and those of a node in as many as it has pods. */
export function podNumber(n: number, { namespaces, perNode }: PolicyClusterSize, labels: object = {}): Pod {
  const inNamespace = Math.floor(n / namespaces);
  return {
    namespace: `team${n % namespaces}`,
    name: `pod${n}`,
    labels: { app: `app${(n + inNamespace) % APPS}`, release: `r${inNamespace % 4}`, ...labels },
    ips: ipsOf(n),
    ports: [{ name: "http", protocol: "TCP", port: 8080 }],
    node: `node${Math.floor(n / perNode)}`,
    hostNetwork: false,
    ended: false,
  };
}

export const namespacesOf = ({ namespaces }: PolicyClusterSize): Namespace[] =>
  Array.from({ length: namespaces }, (_, n) => ({
    name: `team${n}`,
    labels: { "kubernetes.io/metadata.name": `team${n}`, group: `group${n % 10}` },
    audit: false,
  }));

/** What a policy of a namespace says, by its number among the namespace's. */
export function specOf(n: number): object {
  const app = (k: number): object => ({ matchLabels: { app: `app${k % APPS}` } });
  const ports = [{ port: 8000 + n }];
  switch (n % 5) {
    case 0:
      return { podSelector: {}, policyTypes: ["Ingress"] };
    case 1:
      return { podSelector: app(n), ingress: [{ from: [{ podSelector: app(n + 1) }], ports }] };
    case 2:
      return {
        podSelector: {},
        ingress: [{ from: [{ namespaceSelector: { matchLabels: { group: "group1" } } }], ports: [{ port: "http" }] }],
      };
    case 3:
      return {
        podSelector: app(n),
        policyTypes: ["Egress"],
        egress: [
          { to: [{ ipBlock: { cidr: "0.0.0.0/0", except: ["169.254.169.254/32"] } }, { podSelector: {} }] },
          { ports: [{ protocol: "UDP", port: 53 }] },
        ],
      };
    default:
      return { podSelector: app(n), ingress: [{ from: [{ namespaceSelector: {}, podSelector: app(0) }], ports }] };
  }
}

export const policyOf = (namespace: string, name: string, spec: object): Policy => {
  const { policy, faults } = readNetworkPolicy({ metadata: { namespace, name }, spec });
  if (!policy || faults.length > 0) throw new Error(faults.join("; "));
  return policy;
};

export const policiesOf = ({ namespaces, policies }: PolicyClusterSize): Policy[] =>
  Array.from({ length: namespaces * policies }, (_, n) =>
    policyOf(`team${n % namespaces}`, `policy${Math.floor(n / namespaces)}`, specOf(Math.floor(n / namespaces))),
  );
