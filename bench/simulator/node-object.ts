/** Synthetic Nodes of a realistic size: what a kubelet reports of a machine with 50 images, as the API server keeps it. */
import type { KubeObject } from "../../lab/api/index.ts";

export const nodeName = (n: number): string => `node-${String(n).padStart(5, "0")}`;

/** Where node n of up to 60,000 is. */
export const addressesOf = (n: number): { ip: string; mac: string; podCidr: string } => {
  const [high, low] = [n >> 8, n & 255];
  const hex = (value: number): string => value.toString(16).padStart(2, "0");
  return {
    ip: `172.17.${high}.${low}`,
    mac: `02:00:00:01:${hex(high)}:${hex(low)}`,
    podCidr: `10.${1 + high}.${low}.0/24`,
  };
};

const TIME = "2026-01-01T00:00:00Z";
const CONDITIONS = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

/** What a heartbeat changes. */
export const conditions = (heartbeat: string): KubeObject["status"] =>
  CONDITIONS.map((type) => ({
    type,
    status: type === "Ready" ? "True" : "False",
    lastHeartbeatTime: heartbeat,
    lastTransitionTime: TIME,
    reason: `Kubelet${type}`,
    message: `kubelet has sufficient resources available: ${type}`,
  }));

const RESOURCES = {
  cpu: "8",
  "ephemeral-storage": "101430960Ki",
  "hugepages-2Mi": "0",
  memory: "32660384Ki",
  pods: "110",
};

/** A Node with its VTEP published by another agent. `managedFields` only where no API server makes them itself. */
export function nodeObject(n: number, managedFields: boolean): KubeObject {
  const name = nodeName(n);
  const { ip, mac, podCidr } = addressesOf(n);
  const vtep = { default: { vni: 4096, mac, ips: [ip], podCidrs: [podCidr], port: 4789 } };
  const images = Array.from({ length: 50 }, (_, image) => ({
    names: [
      `registry.example.com/platform/service-${image}@sha256:${String(image).padStart(64, "0")}`,
      `registry.example.com/platform/service-${image}:v1.${image}.0`,
    ],
    sizeBytes: 100_000_000 + image,
  }));
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name,
      uid: `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`,
      creationTimestamp: TIME,
      labels: {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": "m5.2xlarge",
        "topology.kubernetes.io/region": "region-1",
        "topology.kubernetes.io/zone": `region-1${"abc"[n % 3]}`,
      },
      annotations: {
        "node.alpha.kubernetes.io/ttl": "0",
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
        "skylane.dev/vtep": JSON.stringify(vtep),
      },
      ...(managedFields && { managedFields: fields() }),
    },
    spec: { podCIDR: podCidr, podCIDRs: [podCidr], providerID: `example:///region-1/i-${String(n).padStart(17, "0")}` },
    status: {
      addresses: [
        { type: "InternalIP", address: ip },
        { type: "Hostname", address: name },
      ],
      capacity: RESOURCES,
      allocatable: RESOURCES,
      conditions: conditions(TIME) ?? [],
      daemonEndpoints: { kubeletEndpoint: { Port: 10250 } },
      images,
      nodeInfo: {
        architecture: "amd64",
        bootID: "5c2b2b7e-0000-4000-8000-000000000000",
        containerRuntimeVersion: "containerd://2.1.0",
        kernelVersion: "6.12.0",
        kubeProxyVersion: "",
        kubeletVersion: "v1.36.2",
        machineID: "ec2d1f00000000000000000000000000",
        operatingSystem: "linux",
        osImage: "Debian GNU/Linux 12 (bookworm)",
        systemUUID: "ec2d1f00-0000-4000-8000-000000000000",
      },
    },
  };
}

/** managedFields as the real server keeps them for a Node: one entry of the agent, two of kubelet. */
function fields(): NonNullable<KubeObject["metadata"]["managedFields"]> {
  const entry = { operation: "Update" as const, apiVersion: "v1", time: TIME, fieldsType: "FieldsV1" as const };
  const condition = { ".": {}, "f:lastHeartbeatTime": {}, "f:message": {}, "f:reason": {}, "f:status": {} };
  const status = Object.fromEntries(CONDITIONS.map((type) => [`k:{"type":"${type}"}`, condition]));
  return [
    {
      ...entry,
      manager: "skylane-agent",
      fieldsV1: { "f:metadata": { "f:annotations": { "f:skylane.dev/vtep": {} } } },
    },
    {
      ...entry,
      manager: "kubelet",
      fieldsV1: {
        "f:metadata": {
          "f:annotations": { ".": {}, "f:volumes.kubernetes.io/controller-managed-attach-detach": {} },
          "f:labels": { ".": {}, "f:kubernetes.io/arch": {}, "f:kubernetes.io/hostname": {}, "f:kubernetes.io/os": {} },
        },
        "f:spec": { "f:podCIDR": {}, "f:podCIDRs": { ".": {}, 'v:"10.1.0.0/24"': {} }, "f:providerID": {} },
      },
    },
    {
      ...entry,
      manager: "kubelet",
      subresource: "status",
      fieldsV1: {
        "f:status": {
          "f:allocatable": { "f:ephemeral-storage": {}, "f:memory": {} },
          "f:capacity": { "f:ephemeral-storage": {}, "f:memory": {} },
          "f:conditions": status,
          "f:images": {},
        },
      },
    },
  ];
}
