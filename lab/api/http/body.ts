/**
 * The body of a request: read up to a limit, decoded by its media type. JSON everywhere, YAML where kubectl and the
 * apply patch use it.
 */
import type { IncomingMessage } from "node:http";
import { parse as parseYaml } from "yaml";
import { badRequest, requestTooLarge, unsupportedMediaType } from "../errors.ts";
import type { Json } from "../types.ts";

/** Largest body (apiserver's MaxRequestBodyBytes). */
const BODY_LIMIT_BYTES = 3 * 1024 * 1024;

/** The media type of a request without its parameters, lower case; "" when there is none. */
export function mediaType(request: IncomingMessage): string {
  return (request.headers["content-type"] ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
}

/** Reads the whole body. Throws 413. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= BODY_LIMIT_BYTES) chunks.push(chunk);
  }
  if (size > BODY_LIMIT_BYTES) throw requestTooLarge(`Request entity too large: limit is ${BODY_LIMIT_BYTES}`);
  return Buffer.concat(chunks);
}

/** Decodes an object's body. Throws 415 for a media type that is neither JSON nor YAML, 400 for a malformed body. */
export function decodeBody(bytes: Buffer, type: string): Json {
  if (type === "application/yaml") return decodeYaml(bytes);
  if (type !== "" && type !== "application/json" && type !== "text/plain") {
    throw unsupportedMediaType(["application/json", "application/yaml"]);
  }
  return decodeJson(bytes);
}

/** Decodes JSON. Throws 400. */
export function decodeJson(bytes: Buffer): Json {
  return decode(() => JSON.parse(bytes.toString("utf8")) as Json);
}

/** Decodes YAML, which JSON is too. Throws 400. */
export function decodeYaml(bytes: Buffer): Json {
  return decode(() => JSON.parse(JSON.stringify(parseYaml(bytes.toString("utf8")) ?? null)) as Json);
}

function decode(parse: () => Json): Json {
  let value: Json;
  try {
    value = parse();
  } catch (error) {
    throw badRequest(
      `couldn't get version/kind; json parse error: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  refusePrototypes(value);
  return value;
}

/** `__proto__` as a key would not be data once an object is copied; no Kubernetes object has one. */
function refusePrototypes(value: Json): void {
  if (typeof value !== "object" || value === null) return;
  if (Object.hasOwn(value, "__proto__")) throw badRequest('the key "__proto__" is not allowed');
  for (const inner of Object.values(value)) if (inner !== undefined) refusePrototypes(inner);
}
