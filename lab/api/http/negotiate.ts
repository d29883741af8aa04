/**
 * What form an answer takes: JSON of whole objects, or of their metadata alone (PartialObjectMetadata, asked for
 * through Accept), the latter in protobuf, too; compressed when it is large. The first media type of the Accept header
 * that can be given wins; Table, YAML and whole objects in protobuf (but for Nodes, Pods and Services) cannot be, and 406 says so where nothing else is asked for.
 */
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { notAcceptable } from "../errors.ts";
import type { Page } from "../store/list.ts";
import { apiVersionOf, type Json, type ResourceType } from "../types.ts";
import { type Projection, type Version, WHOLE_MESSAGES } from "../store/version.ts";
import { WIRE_TYPE, wireList, wireMetadata, wireObject } from "./wire.ts";

const compress = promisify(gzip);

/** From this size on answers are compressed for those who accept it (apiserver's defaultGzipThresholdBytes). */
const GZIP_THRESHOLD_BYTES = 128 * 1024;

/** What is asked about: decides which projection fits. */
export type AnswerShape = "object" | "list" | "watch" | "plain";

/** Chooses what to send. Throws 406. */
export function negotiate(accept: string | undefined, shape: AnswerShape, kind = ""): Projection {
  if (accept === undefined || accept.trim() === "") return "full";
  for (const { type, parameters } of parseAccept(accept)) {
    const wire = type === WIRE_TYPE;
    if (type !== "application/json" && type !== "*/*" && type !== "application/*" && !wire) continue;
    const as = parameters.get("as");
    if (as === undefined && wire) {
      if (shape !== "plain" && Object.hasOwn(WHOLE_MESSAGES, kind)) return "wholeWire";
      continue;
    }
    if (as === undefined) return "full";
    if (parameters.get("g") !== "meta.k8s.io" || !["v1", "v1beta1"].includes(parameters.get("v") ?? "")) continue;
    if (as === "PartialObjectMetadata" && shape === "list") {
      throw notAcceptable(`you requested PartialObjectMetadata, but the requested object is a list (*${kind}List)`);
    }
    if (as === "PartialObjectMetadataList" && (shape === "object" || shape === "watch")) {
      throw notAcceptable(`you requested PartialObjectMetadataList, but the requested object is not a list (*${kind})`);
    }
    if (shape !== "plain" && (as === "PartialObjectMetadata" || as === "PartialObjectMetadataList"))
      return wire ? "wire" : "meta";
  }
  throw notAcceptable("only the following media types are accepted: application/json");
}

/** The media types of an Accept header, best first. */
function parseAccept(header: string): { type: string; parameters: Map<string, string> }[] {
  const ranges = header.split(",").map((range) => {
    const [type = "", ...rest] = range.split(";").map((part) => part.trim());
    const parameters = new Map<string, string>();
    for (const part of rest) {
      const [name = "", value = ""] = part.split("=");
      parameters.set(name.trim(), value.trim().replaceAll('"', ""));
    }
    return { type: type.toLowerCase(), parameters, quality: Number(parameters.get("q") ?? "1") };
  });
  return ranges.filter(({ quality }) => quality > 0).sort((a, b) => b.quality - a.quality);
}

/** The bytes of one object. */
export function objectBytes(version: Version, projection: Projection): Buffer {
  if (projection === "wire") return wireMetadata(version.body("wire"));
  if (projection === "wholeWire")
    return wireObject(apiVersionOf(version.type), version.type.kind, version.body(projection));
  return Buffer.concat([version.prefix(projection), version.body(projection)]);
}

/** The bytes of a list. */
export function listBytes(type: ResourceType, page: Page, projection: Projection): Buffer {
  const meta = projection === "meta";
  const metadata = {
    resourceVersion: String(page.resourceVersion),
    ...(page.continue === "" ? {} : { continue: page.continue }),
    ...(page.remaining === undefined ? {} : { remainingItemCount: page.remaining }),
  };
  if (projection === "wire" || projection === "wholeWire") {
    const messages = page.items.map((version) => version.body(projection));
    return projection === "wire"
      ? wireList(metadata, messages)
      : wireList(metadata, messages, [apiVersionOf(type), `${type.kind}List`]);
  }
  const head = {
    kind: meta ? "PartialObjectMetadataList" : `${type.kind}List`,
    apiVersion: meta ? "meta.k8s.io/v1" : apiVersionOf(type),
    metadata,
  };
  const parts: Buffer[] = [Buffer.from(`${JSON.stringify(head).slice(0, -1)},"items":[`)];
  for (const [index, version] of page.items.entries()) {
    if (index > 0) parts.push(COMMA);
    parts.push(version.itemPrefix(projection), version.body(projection));
  }
  parts.push(LIST_END);
  return Buffer.concat(parts);
}

const COMMA = Buffer.from(",");
const LIST_END = Buffer.from("]}\n");

/** The Content-Type of an answer in a form. */
export const typeOf = (projection: Projection): string =>
  projection.toLowerCase().endsWith("wire") ? WIRE_TYPE : "application/json";

/** The bytes of any other answer. */
export function jsonBytes(value: Json): Buffer {
  return Buffer.from(`${JSON.stringify(value)}\n`);
}

/** The body compressed, where that is accepted and worth it. */
export async function encodeBody(
  body: Buffer,
  acceptEncoding: string | undefined,
): Promise<{ body: Buffer; encoding?: "gzip" }> {
  if (
    body.length < GZIP_THRESHOLD_BYTES ||
    !/(^|,)\s*gzip\s*(;\s*q=(?!0(\.0*)?\s*(,|$))[^,]*)?\s*(,|$)/.test(acceptEncoding ?? "")
  )
    return { body };
  return { body: await compress(body, { level: 1 }), encoding: "gzip" };
}
