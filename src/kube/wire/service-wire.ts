/**
 * Services in the API server's protobuf form (field numbers: api's core/v1/generated.proto), as the same shapes that its JSON has. Who a Service is, under
 * which addresses it is reached and at which ports is all that is read.
 */
import { WireError, type WireReader } from "./wire.ts";

/** As much of a Service as is read. */
export interface WireService {
  metadata: { name: string; namespace: string; uid: string; resourceVersion: string };
  spec: {
    ports: { name: string; protocol: string; port: number; nodePort: number }[];
    clusterIP: string;
    clusterIPs: string[];
    externalIPs: string[];
  };
  status: { loadBalancer: { ingress: { ip: string }[] } };
}

function metadataOf(message: WireReader): WireService["metadata"] {
  const out: WireService["metadata"] = { name: "", namespace: "", uid: "", resourceVersion: "" };
  while (message.next()) {
    if (message.field === 1) out.name = message.text();
    else if (message.field === 3) out.namespace = message.text();
    else if (message.field === 5) out.uid = message.text();
    else if (message.field === 6) out.resourceVersion = message.text();
  }
  return out;
}

function portOf(message: WireReader): WireService["spec"]["ports"][number] {
  const out = { name: "", protocol: "", port: 0, nodePort: 0 };
  while (message.next()) {
    if (message.field === 1) out.name = message.text();
    else if (message.field === 2) out.protocol = message.text();
    else if (message.field === 3) out.port = message.number();
    else if (message.field === 5) out.nodePort = message.number();
  }
  return out;
}

function specOf(message: WireReader): WireService["spec"] {
  const out: WireService["spec"] = { ports: [], clusterIP: "", clusterIPs: [], externalIPs: [] };
  while (message.next()) {
    if (message.field === 1) out.ports.push(portOf(message.message()));
    else if (message.field === 3) out.clusterIP = message.text();
    else if (message.field === 5) out.externalIPs.push(message.text());
    else if (message.field === 18) out.clusterIPs.push(message.text());
  }
  return out;
}

function statusOf(message: WireReader): WireService["status"] {
  const ingress: { ip: string }[] = [];
  while (message.next()) {
    if (message.field !== 1) continue;
    const balancer = message.message();
    while (balancer.next()) {
      if (balancer.field !== 1) continue;
      const entry = balancer.message();
      while (entry.next()) if (entry.field === 1) ingress.push({ ip: entry.text() });
    }
  }
  return { loadBalancer: { ingress } };
}

/** A `Service`. @throws WireError */
export function readService(service: WireReader): WireService {
  let metadata: WireService["metadata"] | undefined;
  let spec: WireService["spec"] = { ports: [], clusterIP: "", clusterIPs: [], externalIPs: [] };
  let status: WireService["status"] = { loadBalancer: { ingress: [] } };
  while (service.next()) {
    if (service.field === 1) metadata = metadataOf(service.message());
    else if (service.field === 2) spec = specOf(service.message());
    else if (service.field === 3) status = statusOf(service.message());
  }
  if (metadata === undefined) throw new WireError("a Service without metadata");
  return { metadata, spec, status };
}
