/** The made-up cluster of policy-cluster.ts as objects of the API, as large as such objects are. */
import type { JsonObject, KubeObject } from "../../lab/api/index.ts";
import { namespacesOf, type PolicyClusterSize, podNumber, specOf } from "./policy-cluster.ts";

/** An object, and where etcd has it under `/registry`. */
export interface StoredObject {
  resource: "namespaces" | "pods" | "networkpolicies";
  namespace?: string;
  name: string;
  object: KubeObject;
}

const CREATED = "2026-01-01T00:00:00Z";
const uidOf = (kind: number, n: number): string =>
  `${String(kind).padStart(8, "0")}-0000-4000-8000-${String(n).padStart(12, "0")}`;

function podObject(n: number, size: PolicyClusterSize): StoredObject {
  const { namespace, name, labels, ips, ports, node } = podNumber(n, size);
  const token = {
    name: "token",
    projected: { defaultMode: 420, sources: [{ serviceAccountToken: { path: "token" } }] },
  };
  const container = {
    name: "main",
    image: `registry.example/team/${labels["app"] ?? "app"}:1.2.3`,
    ports: ports.map(({ name, protocol, port }) => ({ name, protocol, containerPort: port })),
    env: Array.from({ length: 12 }, (_, at) => ({ name: `SETTING_${at}`, value: `a value of some length ${at}` })),
    resources: { limits: { cpu: "1", memory: "512Mi" }, requests: { cpu: "100m", memory: "128Mi" } },
    volumeMounts: [{ name: "token", mountPath: "/var/run/secrets/kubernetes.io/serviceaccount", readOnly: true }],
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "File",
    imagePullPolicy: "IfNotPresent",
  };
  const conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map((type) => ({
    type,
    status: "True",
    lastTransitionTime: CREATED,
  }));
  const fields = Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`f:field${at}`, {}]));
  const managed = {
    manager: "kubelet",
    operation: "Update" as const,
    apiVersion: "v1",
    time: CREATED,
    fieldsType: "FieldsV1" as const,
  };
  const object = {
    kind: "Pod",
    apiVersion: "v1",
    metadata: {
      name,
      namespace,
      uid: uidOf(1, n),
      creationTimestamp: CREATED,
      labels,
      ownerReferences: [{ apiVersion: "apps/v1", kind: "ReplicaSet", name: "set", uid: uidOf(2, n), controller: true }],
      managedFields: [{ ...managed, fieldsV1: { "f:status": fields } }],
    },
    spec: {
      nodeName: node,
      containers: [container],
      volumes: [token],
      restartPolicy: "Always",
      dnsPolicy: "ClusterFirst",
      serviceAccountName: "default",
      securityContext: {},
      schedulerName: "default-scheduler",
      terminationGracePeriodSeconds: 30,
    },
    status: {
      phase: "Running",
      podIP: ips[0],
      podIPs: ips.map((ip) => ({ ip })),
      conditions,
      qosClass: "Burstable",
      startTime: CREATED,
    },
  };
  return { resource: "pods", namespace, name, object };
}

/** All namespaces, their policies, and then the pods. */
export function* storedObjects(size: PolicyClusterSize): Generator<StoredObject> {
  const { namespaces, policies, pods } = size;
  for (const [n, { name, labels }] of namespacesOf(size).entries()) {
    const metadata = { name, uid: uidOf(3, n), creationTimestamp: CREATED, labels };
    const spec = { finalizers: ["kubernetes"] };
    const object = { kind: "Namespace", apiVersion: "v1", metadata, spec, status: { phase: "Active" } };
    yield { resource: "namespaces", name, object };
  }
  for (let n = 0; n < namespaces * policies; n++) {
    const [namespace, at] = [`team${n % namespaces}`, Math.floor(n / namespaces)];
    const metadata = { name: `policy${at}`, namespace, uid: uidOf(4, n), creationTimestamp: CREATED };
    const object = {
      kind: "NetworkPolicy",
      apiVersion: "networking.k8s.io/v1",
      metadata,
      spec: specOf(at) as JsonObject,
    };
    yield { resource: "networkpolicies", namespace, name: metadata.name, object };
  }
  for (let n = 0; n < pods; n++) yield podObject(n, size);
}
