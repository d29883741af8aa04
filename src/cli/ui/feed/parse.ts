/** Objects of the API server as facts. Whoever may write an object may write anything into it: what makes no sense is left out, and the rest is taken. */
import { isIP } from "node:net";
import { parseIPClaim, parsePodNetwork, STATUS_ANNOTATION } from "../../../crd/index.ts";
import { isObject, keyOf } from "../../../json/index.ts";
import type { ClaimFacts, EventFacts, NodeFacts, PodFacts } from "../model/facts.ts";
import type { MapNetwork } from "../wire.ts";

/** What every object is known by. */
export interface Identity {
  name: string;
  namespace?: string;
  uid: string;
  resourceVersion: string;
}

/** Addresses of one thing that are shown at most, and networks of a pod. */
const MOST_IPS = 8;
const MOST_NETWORKS = 16;

const part = (value: unknown, ...keys: string[]): unknown =>
  keys.reduce((at, key) => (isObject(at) ? at[key] : undefined), value);
const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const ipsIn = (values: readonly unknown[]): string[] =>
  values.filter((one): one is string => typeof one === "string" && isIP(one) !== 0).slice(0, MOST_IPS);

/** @throws TypeError when it is no object of the API */
function identity(object: unknown): Identity {
  const meta = part(object, "metadata");
  const [name, uid, version] = ["name", "uid", "resourceVersion"].map((key) => text(part(meta, key)));
  if (!name || !uid || version === undefined) throw new TypeError("the object has no name, uid or resourceVersion");
  const namespace = text(part(meta, "namespace"));
  return { name, uid, resourceVersion: version, ...(namespace !== undefined && { namespace }) };
}

/** A Node. @throws TypeError */
export function nodeFacts(object: unknown): Identity & { facts: NodeFacts } {
  const id = identity(object);
  const ready = list(part(object, "status", "conditions")).find((one) => part(one, "type") === "Ready");
  const status = text(part(ready, "status"));
  const kubelet = status === "True" ? "ready" : status === "False" ? "not ready" : "unknown";
  const addresses = list(part(object, "status", "addresses")).filter((one) => part(one, "type") === "InternalIP");
  const ips = ipsIn(addresses.map((one) => part(one, "address")));
  return { ...id, facts: { name: id.name, ips, ...(status !== undefined && { kubelet }) } };
}

/** A pod; without facts where it has, or needs, no address of ours. @throws TypeError */
export function podFacts(object: unknown): Identity & { facts?: PodFacts } {
  const id = identity(object);
  const phase = text(part(object, "status", "phase")) ?? "Pending";
  const over = phase === "Succeeded" || phase === "Failed";
  if (over || part(object, "spec", "hostNetwork") === true) return id;
  const node = text(part(object, "spec", "nodeName"));
  const ips = ipsIn(list(part(object, "status", "podIPs")).map((one) => part(one, "ip")));
  const further = furtherOf(text(part(object, "metadata", "annotations", STATUS_ANNOTATION)));
  return {
    ...id,
    facts: { key: keyOf({ namespace: id.namespace, name: id.name }), phase, ips, further, ...(node && { node }) },
  };
}

function furtherOf(annotation: string | undefined): PodFacts["further"] {
  if (annotation === undefined) return [];
  let interfaces: unknown;
  try {
    interfaces = JSON.parse(annotation);
  } catch {
    return []; // whoever may write the pod may write that
  }
  return list(interfaces)
    .filter((one) => part(one, "default") !== true)
    .slice(0, MOST_NETWORKS)
    .flatMap((one) => {
      const network = text(part(one, "name"));
      return network === undefined ? [] : [{ network: network.slice(0, 100), ips: ipsIn(list(part(one, "ips"))) }];
    });
}

/** A PodNetwork. @throws ObjectError naming what is wrong with it */
export function networkFacts(object: unknown): Identity & { facts: MapNetwork } {
  const { name, vni, mode, cidrs, mtu, deleting } = parsePodNetwork(object);
  const facts = { name, vni, mode, cidrs, ...(mtu !== undefined && { mtu }), ...(deleting && { deleting }) };
  return { ...identity(object), facts };
}

/** An IPClaim. @throws ObjectError naming what is wrong with it */
export function claimFacts(object: unknown): Identity & { facts: ClaimFacts } {
  const { namespace, name, network, status } = parseIPClaim(object);
  const { ips, mac, node, pod, ready } = status;
  const facts = {
    key: keyOf({ namespace, name }),
    network,
    ips,
    ...(mac !== undefined && { mac }),
    ...(node !== undefined && { node }),
    ...(pod !== undefined && { pod }),
    ...(ready?.status === "False" && { fault: ready.message }),
  };
  return { ...identity(object), facts };
}

/** An Event. @throws TypeError */
export function eventFacts(object: unknown): Identity & { facts: EventFacts } {
  const id = identity(object);
  const count = part(object, "count");
  const namespace = text(part(object, "involvedObject", "namespace"));
  const facts = {
    key: id.uid,
    at: timeOf(object),
    bad: part(object, "type") === "Warning",
    reason: text(part(object, "reason")) ?? "",
    subject: keyOf({ namespace, name: text(part(object, "involvedObject", "name")) ?? "" }),
    message: text(part(object, "message")) ?? "",
    count: typeof count === "number" ? count : 1,
  };
  return { ...id, facts };
}

/** When it happened last; a time that is none is the beginning of time. */
function timeOf(object: unknown): number {
  const times = [["lastTimestamp"], ["eventTime"], ["metadata", "creationTimestamp"]];
  for (const keys of times) {
    const at = Date.parse(text(part(object, ...keys)) ?? "");
    if (!Number.isNaN(at)) return at;
  }
  return 0;
}
