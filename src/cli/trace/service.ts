/**
 * A Service as the end of a packet's way: which of its endpoints may get the packet, read from the objects of the API server. Pure. Who translates the
 * Service's address on a node (kube-proxy or what stands in for it) is not ours: what connection tracking made of it is the hop "source.service".
 */
import { isObject, part } from "../../json/index.ts";
import { CommandError } from "../command.ts";

/** One that the Service's packets may be sent to. */
export interface Backend {
  ip: string;
  port: number;
  node?: string;
  /** NAMESPACE/NAME; absent for what is no pod. */
  pod?: string;
}

/** A Service's port, and who is behind it. */
export interface ServiceEnd {
  /** NAMESPACE/NAME */
  name: string;
  /** Its own addresses, none where it is headless. */
  ips: readonly string[];
  port: number;
  /** tcp, udp or sctp. */
  protocol: string;
  /** Those that get packets from the node that was asked about. */
  backends: readonly Backend[];
  /** Why nobody gets any. */
  wrong?: { is: string; means: string; cure: string };
}

/** NAMESPACE and NAME of an end that is written as a Service: `[NAMESPACE/]svc/NAME`, `[NAMESPACE/]service/NAME`. */
export function serviceName(text: string): { namespace: string; name: string } | undefined {
  const [, namespace = "default", name] = /^(?:([^/]+)\/)?(?:svc|services?)\/([^/]+)$/.exec(text) ?? [];
  return name === undefined ? undefined : { namespace, name };
}

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/** Which port of the Service, and of which protocol. */
export interface AskedPort {
  port?: number | undefined;
  protocol?: string | undefined;
}

/** One port of a Service. */
interface ServicePort {
  name: string;
  port: number;
  protocol: string;
}

/**
 * What the API server has of a Service.
 * @param slices the list of its EndpointSlices
 * @param node from which packets are sent, for Services whose packets stay on it
 * @throws CommandError where there is nothing to follow: no such port, or a name in place of addresses
 */
export function serviceEnd(service: unknown, slices: unknown, asked: AskedPort, node: string | undefined): ServiceEnd {
  const name = `${text(part(service, "metadata", "namespace"))}/${text(part(service, "metadata", "name"))}`;
  if (part(service, "spec", "type") === "ExternalName")
    throw new CommandError(
      `Service ${name} is a name alone, ${text(part(service, "spec", "externalName"))}: trace to what that resolves to`,
    );
  const { name: portName, port, protocol } = portOf(name, service, asked);
  const clusterIps = list(part(service, "spec", "clusterIPs") ?? [part(service, "spec", "clusterIP")]);
  const ips = clusterIps.flatMap((one) => (typeof one === "string" && one !== "" && one !== "None" ? [one] : []));
  const all = list(part(slices, "items")).flatMap((slice) => endpointsOf(slice, portName, protocol));
  const able = all.filter(({ ready }) => ready);
  // As kube-proxy does it: those that are about to end, where nobody else is there.
  const serving = able.length > 0 ? able : all.filter((one) => one.serving);
  const stays = part(service, "spec", "internalTrafficPolicy") === "Local";
  const near = stays ? serving.filter(({ backend }) => backend.node === node) : serving;
  const wrong =
    near.length > 0 ? undefined : whyNone(service, all.length, serving.length, `${protocol} port ${port}`, node);
  return {
    name,
    ips,
    port,
    protocol,
    backends: near.map(({ backend }) => backend),
    ...(wrong && { wrong }),
  };
}

/** @throws CommandError when it has no such port, or which one is meant cannot be told */
function portOf(name: string, service: unknown, asked: AskedPort): ServicePort {
  const ports = list(part(service, "spec", "ports")).flatMap((one): ServicePort[] => {
    const port = part(one, "port");
    const protocol = (text(part(one, "protocol")) ?? "TCP").toLowerCase();
    return typeof port === "number" ? [{ name: text(part(one, "name")) ?? "", port, protocol }] : [];
  });
  const has = `it has ${ports.map(({ port, protocol }) => `${port}/${protocol}`).join(", ") || "none"}`;
  const meant = ports.filter(
    ({ port, protocol }) =>
      (asked.port === undefined || port === asked.port) &&
      (asked.protocol === undefined || protocol === asked.protocol),
  );
  const [first] = meant;
  if (!first)
    throw new CommandError(
      `Service ${name} has no ${asked.protocol ?? ""} port ${asked.port ?? ""}: ${has}`.replaceAll(/ +/g, " "),
    );
  if (asked.port === undefined && meant.length > 1)
    throw new CommandError(`Service ${name} has several ports: say which --port; ${has}`);
  return first;
}

interface Endpoint {
  backend: Backend;
  ready: boolean;
  serving: boolean;
}

/** Endpoints of one EndpointSlice at the port of that name. Conditions that are absent count as true (discovery.k8s.io/v1). */
function endpointsOf(slice: unknown, portName: string, protocol: string): Endpoint[] {
  const port = list(part(slice, "ports"))
    .filter(
      (one) =>
        (text(part(one, "name")) ?? "") === portName &&
        (text(part(one, "protocol")) ?? "TCP").toLowerCase() === protocol,
    )
    .map((one) => part(one, "port"))
    .find((one) => typeof one === "number");
  if (port === undefined) return [];
  return list(part(slice, "endpoints")).flatMap((one): Endpoint[] => {
    const [address] = list(part(one, "addresses"));
    if (typeof address !== "string") return [];
    const ready = part(one, "conditions", "ready") !== false;
    const [node, target] = [text(part(one, "nodeName")), part(one, "targetRef")];
    const pod =
      part(target, "kind") === "Pod" ? `${text(part(target, "namespace"))}/${text(part(target, "name"))}` : "";
    return [
      {
        backend: { ip: address, port, ...(node !== undefined && { node }), ...(pod !== "" && { pod }) },
        ready,
        serving: (part(one, "conditions", "serving") ?? ready) !== false,
      },
    ];
  });
}

function whyNone(
  service: unknown,
  all: number,
  serving: number,
  port: string,
  node: string | undefined,
): ServiceEnd["wrong"] {
  const means = "Packets to the Service are refused or dropped on the node that sends them.";
  if (serving > 0)
    return {
      is: `none of its ${serving} endpoints is on ${node ?? "the sender's node"}, which its internalTrafficPolicy asks for`,
      means,
      cure: "Run one of its pods on that node, or set internalTrafficPolicy to Cluster.",
    };
  if (all > 0)
    return {
      is: `none of its ${all} endpoints is ready`,
      means,
      cure: "See why its pods are not ready: kubectl describe pod; their readiness probes have to succeed.",
    };
  const selector = part(service, "spec", "selector");
  const labels = isObject(selector) ? Object.entries(selector).map(([key, value]) => `${key}=${String(value)}`) : [];
  return {
    is: `no pod is behind ${port}`,
    means,
    cure:
      labels.length === 0
        ? "It selects no pods: whoever makes its EndpointSlices has made none for this port."
        : `Its selector is ${labels.join(",")}: kubectl get pods --selector=${labels.join(",")} shows whom it selects; a target port that goes by name has to be one of their containers'.`,
  };
}
