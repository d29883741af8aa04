/**
 * Metadata in the API server's protobuf form, as clients of thousands of objects ask for it: field numbers are those of
 * apimachinery's meta/v1/generated.proto and runtime/generated.proto. Whole objects are given in JSON alone.
 */
import type { Json, JsonObject, ManagedFields, Metadata } from "./types.ts";

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

const number = (field: number, value: number): Buffer => Buffer.concat([varint((field << 3) | VARINT), varint(value)]);
const bytes = (field: number, value: Buffer): Buffer =>
  Buffer.concat([varint((field << 3) | DELIMITED), varint(value.length), value]);
const text = (field: number, value: string | undefined): Buffer => bytes(field, Buffer.from(value ?? ""));
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
): Buffer {
  const { resourceVersion, remainingItemCount } = head;
  const meta = Buffer.concat([
    text(1, ""),
    text(2, resourceVersion),
    text(3, head.continue),
    ...(remainingItemCount === undefined ? [] : [number(4, remainingItemCount)]),
  ]);
  const list = Buffer.concat([bytes(1, meta), ...items.map((item) => bytes(2, item))]);
  return wireObject("meta.k8s.io/v1", "PartialObjectMetadataList", list);
}

/** A `Status` that stands for itself, with what clients decide by. */
export function wireStatus(status: JsonObject): Buffer {
  const say = (from: Json | undefined): string => (typeof from === "string" ? from : "");
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
