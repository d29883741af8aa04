/**
 * Metadata in the API server's protobuf form, as clients of thousands of objects ask for it: field numbers are those of
 * apimachinery's meta/v1/generated.proto and runtime/generated.proto. Of whole objects, Nodes, Pods (pod-message.ts) and Services (service-message.ts) are given in it and others in JSON alone.
 */
import type { Json, JsonObject, KubeObject, ManagedFields, Metadata } from "../types.ts";

/** The media type, and that of a watch. */
export const WIRE_TYPE = "application/vnd.kubernetes.protobuf";

const MAGIC = Buffer.from("k8s\0");
const VARINT = 0;
const DELIMITED = 2;

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let left = value;
  for (; left > 0x7f; left = Math.floor(left / 128)) bytes.push((left % 128) | 0x80);
  return Buffer.from([...bytes, left]);
}

export const number = (field: number, value: number): Buffer =>
  Buffer.concat([varint((field << 3) | VARINT), varint(value)]);
export const bytes = (field: number, value: Buffer): Buffer =>
  Buffer.concat([varint((field << 3) | DELIMITED), varint(value.length), value]);
export const text = (field: number, value: string | undefined): Buffer => bytes(field, Buffer.from(value ?? ""));
const time = (field: number, value: string): Buffer =>
  bytes(field, Buffer.concat([number(1, Math.floor(Date.parse(value) / 1000)), number(2, 0)]));
const entries = (field: number, map: Readonly<Record<string, string>> | undefined): Buffer[] =>
  Object.entries(map ?? {}).map(([key, value]) => bytes(field, Buffer.concat([text(1, key), text(2, value)])));

function managed(entry: ManagedFields): Buffer {
  return Buffer.concat([
    text(1, entry.manager),
    text(2, entry.operation),
    text(3, entry.apiVersion),
    ...(entry.time === undefined ? [] : [time(4, entry.time)]),
    text(6, entry.fieldsType),
    bytes(7, text(1, JSON.stringify(entry.fieldsV1))),
    ...(entry.subresource === undefined ? [] : [text(8, entry.subresource)]),
  ]);
}

/** A `PartialObjectMetadata`, the message alone. */
export function metadataMessage(metadata: Partial<Metadata>): Buffer {
  const { name, generateName, namespace, uid, resourceVersion, generation, creationTimestamp } = metadata;
  const meta = Buffer.concat([
    text(1, name),
    text(2, generateName),
    text(3, namespace),
    text(5, uid),
    text(6, resourceVersion),
    number(7, generation ?? 0),
    creationTimestamp ? time(8, creationTimestamp) : bytes(8, Buffer.alloc(0)),
    ...(metadata.deletionTimestamp ? [time(9, metadata.deletionTimestamp)] : []),
    ...entries(11, metadata.labels),
    ...entries(12, metadata.annotations),
    ...(metadata.finalizers ?? []).map((one) => text(14, one)),
    ...(metadata.managedFields ?? []).map((one) => bytes(17, managed(one))),
  ]);
  return bytes(1, meta);
}

export const object = (value: Json | undefined): JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
export const list = (value: Json | undefined): JsonObject[] => (Array.isArray(value) ? value.map(object) : []);
export const say = (value: Json | undefined): string => (typeof value === "string" ? value : "");
/** Many texts of one field at once: of each Node there are a hundred names of images. */
export function texts(field: number, values: Json | undefined): Buffer {
  const all = Array.isArray(values) ? values.map(say) : [];
  // A tag of one byte and a length of at most two.
  const out = Buffer.allocUnsafe(all.reduce((sum, value) => sum + 3 + 3 * value.length, 0));
  let at = 0;
  for (const value of all) {
    const length = Buffer.byteLength(value);
    out[at++] = (field << 3) | DELIMITED;
    if (length > 0x7f) out[at++] = (length & 0x7f) | 0x80;
    out[at++] = length > 0x7f ? length >> 7 : length;
    at += out.write(value, at);
  }
  return out.subarray(0, at);
}

const quantities = (field: number, of: Json | undefined): Buffer[] =>
  Object.entries(object(of)).map(([key, value]) =>
    bytes(field, Buffer.concat([text(1, key), bytes(2, text(1, say(value)))])),
  );

/**
 * A `Node`, the message alone, with what kubelets and controllers write of it (core/v1/generated.proto). Daemon endpoints
 * and volumes are left out.
 */
export function nodeMessage(node: KubeObject): Buffer {
  const [spec, status] = [object(node["spec"]), object(node["status"])];
  const podCidrs = Array.isArray(spec["podCIDRs"]) ? spec["podCIDRs"].map(say) : [];
  const unschedulable = spec["unschedulable"] === true ? 1 : 0;
  const when = (field: number, value: Json | undefined): Buffer[] => (value ? [time(field, say(value))] : []);
  const info = object(status["nodeInfo"]);
  const images = Array.isArray(status["images"]) ? list(status["images"]) : [];
  const parts = {
    spec: [
      text(1, say(spec["podCIDR"])),
      text(3, say(spec["providerID"])),
      number(4, unschedulable),
      ...podCidrs.map((one) => text(7, one)),
    ],
    status: [
      ...quantities(1, status["capacity"]),
      ...quantities(2, status["allocatable"]),
      text(3, say(status["phase"])),
      ...list(status["conditions"]).map((one) =>
        bytes(
          4,
          Buffer.concat([
            text(1, say(one["type"])),
            text(2, say(one["status"])),
            ...when(3, one["lastHeartbeatTime"]),
            ...when(4, one["lastTransitionTime"]),
            text(5, say(one["reason"])),
            text(6, say(one["message"])),
          ]),
        ),
      ),
      ...list(status["addresses"]).map((one) =>
        bytes(5, Buffer.concat([text(1, say(one["type"])), text(2, say(one["address"]))])),
      ),
      bytes(7, Buffer.concat(NODE_INFO.map((key, at) => text(at + 1, say(info[key]))))),
      ...images.map(({ names, sizeBytes }) =>
        bytes(8, Buffer.concat([texts(1, names), number(2, Number(sizeBytes ?? 0))])),
      ),
    ],
  };
  return Buffer.concat([
    metadataMessage(node.metadata),
    bytes(2, Buffer.concat(parts.spec)),
    bytes(3, Buffer.concat(parts.status)),
  ]);
}

/** NodeSystemInfo by field number. */
const NODE_INFO = [
  "machineID",
  "systemUUID",
  "bootID",
  "kernelVersion",
  "osImage",
  "containerRuntimeVersion",
  "kubeletVersion",
  "kubeProxyVersion",
  "operatingSystem",
  "architecture",
];

/** An object as it stands for itself: `runtime.Unknown` behind the magic number. */
export function wireObject(apiVersion: string, kind: string, message: Buffer): Buffer {
  const type = bytes(1, Buffer.concat([text(1, apiVersion), text(2, kind)]));
  return Buffer.concat([MAGIC, type, bytes(2, message), text(3, ""), text(4, "")]);
}

/** A `PartialObjectMetadata` that stands for itself. */
export const wireMetadata = (message: Buffer): Buffer => wireObject("meta.k8s.io/v1", "PartialObjectMetadata", message);

/** A `PartialObjectMetadataList` of such messages. */
export function wireList(
  head: { resourceVersion: string; continue?: string; remainingItemCount?: number },
  items: readonly Buffer[],
  [apiVersion, kind]: readonly [string, string] = ["meta.k8s.io/v1", "PartialObjectMetadataList"],
): Buffer {
  const { resourceVersion, remainingItemCount } = head;
  const meta = Buffer.concat([
    text(1, ""),
    text(2, resourceVersion),
    text(3, head.continue),
    ...(remainingItemCount === undefined ? [] : [number(4, remainingItemCount)]),
  ]);
  const message = Buffer.concat([bytes(1, meta), ...items.map((item) => bytes(2, item))]);
  return wireObject(apiVersion, kind, message);
}

/** A `Status` that stands for itself, with what clients decide by. */
export function wireStatus(status: JsonObject): Buffer {
  const { name, kind, group } = (status["details"] ?? {}) as JsonObject;
  const details = Buffer.concat([text(1, say(name)), text(2, say(group)), text(3, say(kind))]);
  const words = [text(2, say(status["status"])), text(3, say(status["message"])), text(4, say(status["reason"]))];
  const code = number(6, Number(status["code"] ?? 0));
  return wireObject("v1", "Status", Buffer.concat([...words, bytes(5, details), code]));
}

/** An event of a watch, with its length before it. */
export function wireEvent(type: string, object: Buffer): Buffer {
  const event = Buffer.concat([text(1, type), bytes(2, bytes(1, object))]);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(event.length);
  return Buffer.concat([head, event]);
}
