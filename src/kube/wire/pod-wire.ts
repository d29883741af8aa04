/**
 * Pods in the API server's protobuf form (field numbers: api's core/v1/generated.proto), as the same shapes that its JSON has.
 * Who a Pod is, its labels, node, addresses and named ports are all that is read: of 5 KB and more, most are volumes, environments and
 * states of containers.
 */
import { textPair, WireError, type WireReader } from "./wire.ts";

/** A container, as much as is read. */
export interface WireContainer {
  ports: { name: string; containerPort: number; protocol: string }[];
  restartPolicy?: string;
}

/** As much of a Pod as is read. */
export interface WirePod {
  metadata: {
    name: string;
    namespace: string;
    uid: string;
    resourceVersion: string;
    deletionTimestamp?: true;
    labels: Record<string, string>;
  };
  spec: { nodeName?: string; hostNetwork?: boolean; containers: WireContainer[]; initContainers: WireContainer[] };
  status: { phase?: string; podIP?: string; podIPs: { ip: string }[] };
}

function metadataOf(message: WireReader): WirePod["metadata"] {
  const out: WirePod["metadata"] = { name: "", namespace: "", uid: "", resourceVersion: "", labels: {} };
  while (message.next()) {
    switch (message.field) {
      case 1:
        out.name = message.text();
        break;
      case 3:
        out.namespace = message.text();
        break;
      case 5:
        out.uid = message.text();
        break;
      case 6:
        out.resourceVersion = message.text();
        break;
      case 9:
        out.deletionTimestamp = true;
        break;
      case 11: {
        const [key, value] = textPair(message.message());
        out.labels[key] = value;
        break;
      }
      default:
    }
  }
  return out;
}

function portOf(message: WireReader): WireContainer["ports"][number] {
  const out = { name: "", containerPort: 0, protocol: "" };
  while (message.next()) {
    if (message.field === 1) out.name = message.text();
    else if (message.field === 3) out.containerPort = message.number();
    else if (message.field === 4) out.protocol = message.text();
  }
  return out;
}

function containerOf(message: WireReader): WireContainer {
  const out: WireContainer = { ports: [] };
  while (message.next()) {
    if (message.field === 6) out.ports.push(portOf(message.message()));
    else if (message.field === 24) out.restartPolicy = message.text();
  }
  return out;
}

function specOf(message: WireReader): WirePod["spec"] {
  const out: WirePod["spec"] = { containers: [], initContainers: [] };
  while (message.next()) {
    if (message.field === 2) out.containers.push(containerOf(message.message()));
    else if (message.field === 10) out.nodeName = message.text();
    else if (message.field === 11) out.hostNetwork = message.number() !== 0;
    else if (message.field === 20) out.initContainers.push(containerOf(message.message()));
  }
  return out;
}

function statusOf(message: WireReader): WirePod["status"] {
  const out: WirePod["status"] = { podIPs: [] };
  while (message.next()) {
    if (message.field === 1) out.phase = message.text();
    else if (message.field === 6) out.podIP = message.text();
    else if (message.field === 12) {
      const entry = message.message();
      while (entry.next()) if (entry.field === 1) out.podIPs.push({ ip: entry.text() });
    }
  }
  return out;
}

/** A `Pod`. @throws WireError */
export function readPod(pod: WireReader): WirePod {
  let metadata: WirePod["metadata"] | undefined;
  let spec: WirePod["spec"] = { containers: [], initContainers: [] };
  let status: WirePod["status"] = { podIPs: [] };
  while (pod.next()) {
    if (pod.field === 1) metadata = metadataOf(pod.message());
    else if (pod.field === 2) spec = specOf(pod.message());
    else if (pod.field === 3) status = statusOf(pod.message());
  }
  if (metadata === undefined) throw new WireError("a Pod without metadata");
  return { metadata, spec, status };
}
