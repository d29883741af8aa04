/**
 * Objects' metadata and events of a watch in the API server's protobuf form (field numbers: apimachinery's
 * meta/v1/generated.proto and runtime/generated.proto), as the same shapes that its JSON has. Who an object is and its
 * annotations are all that is read; `managedFields`, most of what a Node's metadata consists of, are passed over.
 */
import type { WatchEvent } from "../client/watch.ts";
import { textPair, WireError, WireReader } from "./wire.ts";

/** What every object begins with in this form. */
export const MAGIC = Buffer.from("k8s\0");

/** Whether a Content-Type is this form. */
export const isWire = (contentType: string): boolean => contentType.startsWith("application/vnd.kubernetes.protobuf");

/** An object's metadata as it is read here. */
export interface WireMetadata {
  name: string;
  namespace?: string;
  uid: string;
  resourceVersion: string;
  creationTimestamp: string;
  annotations: Record<string, string>;
}

/** The content of `runtime.Unknown`, which stands around each object. @throws WireError */
export function unwrapped(object: Buffer): { kind: string; raw: WireReader } {
  if (!object.subarray(0, MAGIC.length).equals(MAGIC)) throw new WireError("an object without the API's magic number");
  const unknown = new WireReader(object, MAGIC.length);
  let kind = "";
  let raw = new WireReader(object, object.length);
  while (unknown.next()) {
    if (unknown.field === 1) {
      const type = unknown.message();
      while (type.next()) if (type.field === 2) kind = type.text();
    } else if (unknown.field === 2) raw = unknown.message();
  }
  return { kind, raw };
}

/** meta/v1 Time: seconds since 1970. An absent one is no time. */
function timeOf(time: WireReader): string {
  let seconds: number | undefined;
  while (time.next()) if (time.field === 1) seconds = time.number();
  return seconds === undefined ? "" : rfc3339(seconds);
}

/** The last second of the year 9999. */
const LAST_SECOND = 253_402_300_799;
const time = Buffer.from("0000-00-00T00:00:00Z");

/** As JSON has it. Cutting the milliseconds off Date's own text takes three times as long, and keeps that text in memory as well. */
function rfc3339(seconds: number): string {
  if (seconds > LAST_SECOND) throw new WireError(`${seconds} seconds are no date`);
  const date = new Date(seconds * 1000);
  const year = date.getUTCFullYear();
  for (const [at, value] of [
    [0, Math.floor(year / 100)],
    [2, year % 100],
    [5, date.getUTCMonth() + 1],
    [8, date.getUTCDate()],
    [11, date.getUTCHours()],
    [14, date.getUTCMinutes()],
    [17, date.getUTCSeconds()],
  ] as const) {
    time[at] = 48 + value / 10;
    time[at + 1] = 48 + (value % 10);
  }
  return time.toString("latin1");
}

/** An `ObjectMeta`. @throws WireError */
function objectMeta(meta: WireReader): WireMetadata {
  const out: WireMetadata = { name: "", uid: "", resourceVersion: "", creationTimestamp: "", annotations: {} };
  while (meta.next()) {
    if (meta.field === 1) out.name = meta.text();
    else if (meta.field === 3) {
      const namespace = meta.text();
      if (namespace !== "") out.namespace = namespace;
    } else if (meta.field === 5) out.uid = meta.text();
    else if (meta.field === 6) out.resourceVersion = meta.text();
    else if (meta.field === 8) out.creationTimestamp = timeOf(meta.message());
    else if (meta.field === 12) {
      const [key, value] = textPair(meta.message());
      out.annotations[key] = value;
    }
  }
  return out;
}

/** A `PartialObjectMetadata`. @throws WireError */
export function readMetadata(object: WireReader): { metadata: WireMetadata } {
  while (object.next()) if (object.field === 1) return { metadata: objectMeta(object.message()) };
  throw new WireError("an object without metadata");
}

/** A `ListMeta`. @throws WireError */
export function readListMeta(meta: WireReader): { resourceVersion: string; continue: string } {
  const out = { resourceVersion: "", continue: "" };
  while (meta.next()) {
    if (meta.field === 2) out.resourceVersion = meta.text();
    else if (meta.field === 3) out.continue = meta.text();
  }
  return out;
}

/** A `Status`, with what statusOf (api-error.ts) looks for. */
function statusMessage(raw: WireReader): Record<string, unknown> {
  const status: Record<string, unknown> = {};
  while (raw.next()) {
    if (raw.field === 3) status["message"] = raw.text();
    else if (raw.field === 4) status["reason"] = raw.text();
    else if (raw.field === 6) status["code"] = raw.number();
    else if (raw.field === 5) {
      const details = raw.message();
      while (details.next()) if (details.field === 1) status["details"] = { name: details.text() };
    }
  }
  return status;
}

/** An answer that is a `Status`, as statusOf (api-error.ts) takes it; undefined when it is none. */
export function readStatus(answer: Buffer): Record<string, unknown> | undefined {
  try {
    const { kind, raw } = unwrapped(answer);
    return kind === "Status" ? statusMessage(raw) : undefined;
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

/** One frame of a watch (frames.ts). @param read what its objects are; their metadata alone by default. @throws WireError */
export function readWatchEvent(frame: Buffer, read: (object: WireReader) => unknown = readMetadata): WatchEvent {
  const event = new WireReader(frame);
  let type = "";
  let object: Buffer | undefined;
  while (event.next()) {
    if (event.field === 1) type = event.text();
    else if (event.field === 2) {
      const extension = event.message();
      while (extension.next()) if (extension.field === 1) object = extension.bytes();
    }
  }
  if (type === "" || object === undefined) throw new WireError("no watch event");
  const { kind, raw } = unwrapped(object);
  // A bookmark is an object of which nothing but metadata is said.
  const content = kind === "Status" ? statusMessage : type === "BOOKMARK" ? readMetadata : read;
  return { type, object: content(raw) };
}
