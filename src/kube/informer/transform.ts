/**
 * Objects as the API server sends them, cut down to what Skylane keeps. A Node is some 10 KB and there may be
 * thousands; strict reading here means that nothing behind it has to doubt a type again.
 */
import { familyOf, parseCidr, parseIp } from "../../addr/index.ts";
import { ANNOTATION_PREFIX, type NodeDetails, type NodeMeta, type OwnNodeInfo } from "../types.ts";
import { isObject, type Json } from "../../json/index.ts";

function text(from: Json, key: string): string {
  const value = from[key];
  if (typeof value !== "string" || value === "") throw new TypeError(`metadata.${key} is no text`);
  return value;
}

/** `metadata` of anything, which must be there. @throws TypeError */
export function metadataOf(object: unknown): Json {
  const metadata = isObject(object) ? object["metadata"] : undefined;
  if (!isObject(metadata)) throw new TypeError("an object without metadata");
  return metadata;
}

/** What every object's metadata has. @throws TypeError naming what is missing */
export const transformIdentity = (
  metadata: Json,
): { name: string; uid: string; resourceVersion: string; creationTimestamp: string } => ({
  name: text(metadata, "name"),
  uid: text(metadata, "uid"),
  resourceVersion: text(metadata, "resourceVersion"),
  creationTimestamp: text(metadata, "creationTimestamp"),
});

/** A Node, or its PartialObjectMetadata. @throws TypeError naming what is not as it must be */
export function transformNode(object: unknown): NodeMeta {
  const metadata = metadataOf(object);
  const annotations: Record<string, string> = {};
  const all = metadata["annotations"];
  if (isObject(all)) {
    for (const key in all) {
      if (!key.startsWith(ANNOTATION_PREFIX)) continue;
      const value = all[key];
      if (typeof value === "string") annotations[key] = value;
    }
  }
  return {
    ...transformIdentity(metadata),
    annotations,
  };
}

const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one: unknown): one is string => typeof one === "string") : [];

/** Canonical values in their order; what does not parse is left out, one bad entry must not hide the others. */
export function canonical(values: readonly string[], parse: (one: string) => string): string[] {
  const out: string[] = [];
  for (const value of values) {
    try {
      const one = parse(value);
      if (!out.includes(one)) out.push(one);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
  return out;
}

/** `spec.podCIDRs`, canonical, one a family: if there were more, the first is the one that Kubernetes' controllers use. */
function podCidrsOf(spec: unknown): string[] {
  if (!isObject(spec)) return [];
  const ranges = Array.isArray(spec["podCIDRs"]) ? strings(spec["podCIDRs"]) : strings([spec["podCIDR"]]);
  const podCidrs = canonical(ranges, parseCidr);
  return podCidrs.filter((one, at) => podCidrs.findIndex((other) => familyOf(other) === familyOf(one)) === at);
}

function addressesOf(status: unknown): { type: string; address: string }[] {
  const listed = isObject(status) && Array.isArray(status["addresses"]) ? (status["addresses"] as unknown[]) : [];
  return listed.flatMap((one) =>
    isObject(one) && typeof one["type"] === "string" && typeof one["address"] === "string"
      ? [{ type: one["type"], address: one["address"] }]
      : [],
  );
}

/** `status.conditions`, those that are objects. */
const conditionsOf = (status: unknown): Json[] =>
  isObject(status) && Array.isArray(status["conditions"]) ? (status["conditions"] as unknown[]).filter(isObject) : [];

/** A full Node. @throws TypeError naming what is not as it must be */
export function transformOwnNode(object: unknown): OwnNodeInfo {
  const node = transformNode(object);
  const { spec, status } = object as { spec?: unknown; status?: unknown };
  const addresses = addressesOf(status);
  const ofType = (wanted: string): string[] =>
    canonical(
      addresses.filter(({ type }) => type === wanted).map(({ address }) => address),
      parseIp,
    );
  const [internalIps, externalIps] = [ofType("InternalIP"), ofType("ExternalIP")];
  const unavailable = conditionsOf(status).find(({ type }) => type === "NetworkUnavailable")?.["status"];
  return {
    ...node,
    podCidrs: podCidrsOf(spec),
    addresses,
    internalIps,
    externalIps,
    ...(typeof unavailable === "string" && { networkUnavailable: unavailable }),
  };
}

/** Types of `status.addresses` whose values are addresses. */
const IP_TYPES = ["InternalIP", "ExternalIP"];

/** A list that is kept for each of thousands of Nodes, without the room for sixteen more that V8 gives one that grew. */
const exact = <T>(list: readonly T[]): T[] => list.slice();

/** What a full Node says beside its metadata. @throws TypeError naming what is not as it must be */
export function transformDetails(object: unknown): NodeDetails & { name: string } {
  const metadata = metadataOf(object);
  const { spec, status } = object as { spec?: unknown; status?: unknown };
  const addresses = addressesOf(status).filter(({ type }) => IP_TYPES.includes(type));
  const ready = conditionsOf(status).find(({ type }) => type === "Ready")?.["status"];
  return {
    name: text(metadata, "name"),
    uid: text(metadata, "uid"),
    podCidrs: exact(podCidrsOf(spec)),
    addresses: exact(
      canonical(
        addresses.map(({ address }) => address),
        parseIp,
      ),
    ),
    ...(typeof ready === "string" && { heard: ready !== "Unknown" }),
  };
}

/** Whether nothing changed that concerns Skylane; heartbeats of kubelets do not. */
export function sameNode(a: NodeMeta, b: NodeMeta): boolean {
  if (a.uid !== b.uid || a.creationTimestamp !== b.creationTimestamp) return false;
  let count = 0;
  for (const key in b.annotations) {
    if (a.annotations[key] !== b.annotations[key]) return false;
    count++;
  }
  for (const _ in a.annotations) count--;
  return count === 0;
}

/** Same for a full Node. */
export const sameOwnNode = (a: OwnNodeInfo, b: OwnNodeInfo): boolean =>
  sameNode(a, b) &&
  a.networkUnavailable === b.networkUnavailable &&
  JSON.stringify([a.podCidrs, a.addresses]) === JSON.stringify([b.podCidrs, b.addresses]);
