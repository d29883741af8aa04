/** The objects of the test, all in a namespace of their own, with which they go: pure. */
import { PEER_PORT } from "./peer/questions.ts";
import { SERVICE_NAME, SERVICE_PORT, type TestNode } from "./plan.ts";

/** Whose they are: `--cleanup` looks for it. */
export const OWNER_LABEL = "app.kubernetes.io/managed-by";
export const OWNER = "skylane-connectivity-test";
const ROLE = "skylane.dev/connectivity-role";
const CONTAINER = "peer";
const SKYLANECTL = "/opt/skylane/bin/skylanectl";
/** After so many seconds the pods end by themselves, also where whoever started them is gone. */
const LONGEST = 3600;
/** nobody, whom the image has no need to know. */
const UID = 65_534;

const labels = { [OWNER_LABEL]: OWNER };

/** Who makes pods there is held to the strictest standard of Kubernetes. */
export const namespaceObject = (name: string): object => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels: { ...labels, "pod-security.kubernetes.io/enforce": "restricted" } },
});

/** Names of the two pods on the node of that number. */
export const podNames = (number: number): { peer: string; other: string } => ({
  peer: `peer-${number}`,
  other: `other-${number}`,
});

/** Everything that is there from the beginning, as one list. */
export const testObjects = (namespace: string, nodes: readonly TestNode[], token: string): object => ({
  apiVersion: "v1",
  kind: "List",
  items: [
    {
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: CONTAINER, namespace, labels },
      automountServiceAccountToken: false,
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: SERVICE_NAME, namespace, labels },
      spec: {
        selector: labels,
        ipFamilyPolicy: "PreferDualStack",
        ports: [{ name: "http", port: SERVICE_PORT, targetPort: PEER_PORT }],
      },
    },
    ...nodes.flatMap((node, i) =>
      Object.entries(podNames(i + 1)).map(([role, name]) => pod({ name, namespace, role, node, token })),
    ),
  ],
});

interface PodOptions {
  name: string;
  namespace: string;
  role: string;
  node: TestNode;
  token: string;
}

/** It goes straight to its node, whatever the scheduler would think of that: it is the node that is asked about. */
const pod = ({ name, namespace, role, node, token }: PodOptions): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace, labels: { ...labels, [ROLE]: role } },
  spec: {
    nodeName: node.name,
    restartPolicy: "Never",
    activeDeadlineSeconds: LONGEST,
    terminationGracePeriodSeconds: 1,
    serviceAccountName: CONTAINER,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    tolerations: [{ operator: "Exists" }],
    securityContext: {
      runAsNonRoot: true,
      runAsUser: UID,
      runAsGroup: UID,
      seccompProfile: { type: "RuntimeDefault" },
    },
    containers: [
      {
        name: CONTAINER,
        // The agent's own, which is on the node.
        image: node.image,
        imagePullPolicy: "IfNotPresent",
        command: [SKYLANECTL, "connectivity", "peer", "serve", `--name=${name}`, `--token=${token}`],
        ports: [
          { containerPort: PEER_PORT, protocol: "TCP" },
          { containerPort: PEER_PORT, protocol: "UDP" },
        ],
        resources: { requests: { cpu: "10m", memory: "48Mi" } },
        securityContext: {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        },
      },
    ],
  },
});

/** Lets those in from which everything is tried, and nobody else. */
export const policyObject = (namespace: string): object => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "peers-alone", namespace, labels },
  spec: {
    podSelector: {},
    policyTypes: ["Ingress"],
    ingress: [{ from: [{ podSelector: { matchLabels: { [ROLE]: "peer" } } }] }],
  },
});
