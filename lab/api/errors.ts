/**
 * What the API server answers when it refuses: meta/v1 Status objects. Reasons, codes and texts are the real
 * server's (k8s.io/apimachinery/pkg/api/errors), because clients branch on them and people search for them.
 */
import { apiVersionOf, type FieldProblem, type JsonObject, type ResourceType } from "./types.ts";

type Named = Pick<ResourceType, "group" | "version" | "plural" | "kind">;

/** A refusal: HTTP status code, reason and details of the Status object. */
export class ApiError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: JsonObject | undefined;
  /** `metadata` of the Status; carries the continue token of an inconsistent list. */
  readonly metadata: JsonObject;

  constructor(code: number, reason: string, message: string, details?: JsonObject, metadata: JsonObject = {}) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.reason = reason;
    this.details = details;
    this.metadata = metadata;
  }

  /** The Status object to send. */
  status(): JsonObject {
    const status: JsonObject = {
      kind: "Status",
      apiVersion: "v1",
      metadata: this.metadata,
      status: "Failure",
      message: this.message,
    };
    if (this.reason !== "") status.reason = this.reason;
    if (this.details !== undefined) status.details = this.details;
    status.code = this.code;
    return status;
  }

  /** Seconds for the Retry-After header, where the details carry them. */
  get retryAfterSeconds(): number | undefined {
    const seconds = this.details?.retryAfterSeconds;
    return typeof seconds === "number" ? seconds : undefined;
  }
}

/** `nodes`, or `leases.coordination.k8s.io`: how messages name a resource. */
function qualified(type: Named): string {
  return type.group === "" ? type.plural : `${type.plural}.${type.group}`;
}

function details(type: Named, name: string, more: JsonObject = {}): JsonObject {
  return { name, ...(type.group === "" ? {} : { group: type.group }), kind: type.plural, ...more };
}

/** 400. */
export function badRequest(message: string): ApiError {
  return new ApiError(400, "BadRequest", message);
}

/** 401: no token, or one that nobody knows. */
export function unauthorized(): ApiError {
  return new ApiError(401, "Unauthorized", "Unauthorized");
}

/** 403. `problem` is what the user may not do. */
export function forbidden(type: Named, name: string, problem: string): ApiError {
  const subject = name === "" ? `${qualified(type)} is forbidden` : `${qualified(type)} "${name}" is forbidden`;
  return new ApiError(403, "Forbidden", `${subject}: ${problem}`, details(type, name));
}

/** 404 of an object. */
export function notFound(type: Named, name: string): ApiError {
  return new ApiError(404, "NotFound", `${qualified(type)} "${name}" not found`, details(type, name));
}

/** 405. */
export function methodNotAllowed(): ApiError {
  return new ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});
}

/** 406: nothing that the Accept header asks for can be given. */
export function notAcceptable(message: string): ApiError {
  return new ApiError(406, "NotAcceptable", message);
}

/** 409 of a create. */
export function alreadyExists(type: Named, name: string): ApiError {
  return new ApiError(409, "AlreadyExists", `${qualified(type)} "${name}" already exists`, details(type, name));
}

/** 409 of a write on an outdated version, or of a failed precondition. */
export function conflict(type: Named, name: string, problem: string): ApiError {
  const message = `Operation cannot be fulfilled on ${qualified(type)} "${name}": ${problem}`;
  return new ApiError(409, "Conflict", message, details(type, name));
}

/** The problem text of an outdated resourceVersion. */
export const MODIFIED = "the object has been modified; please apply your changes to the latest version and try again";

/** 410: the history that the request needs has been compacted. */
export function expired(message: string, metadata?: JsonObject): ApiError {
  return new ApiError(410, "Expired", message, undefined, metadata);
}

/** 413. */
export function requestTooLarge(message: string): ApiError {
  return new ApiError(413, "RequestEntityTooLarge", message);
}

/** 415: a body of a kind that is not understood here. */
export function unsupportedMediaType(accepted: readonly string[]): ApiError {
  const message = `the body of the request was in an unknown format - accepted media types include: ${accepted.join(", ")}`;
  return new ApiError(415, "UnsupportedMediaType", message);
}

/** 422: the object is well formed and still wrong. */
export function invalid(type: Named, name: string, problems: readonly FieldProblem[]): ApiError {
  return invalidKind(type.kind, type.group, name, problems);
}

/** 422 of something that is not in the resource table (ListOptions, PatchOptions). */
export function invalidKind(kind: string, group: string, name: string, problems: readonly FieldProblem[]): ApiError {
  const texts = problems.map((problem) => `${problem.field}: ${problem.message}`);
  const summary = texts.length === 1 ? (texts[0] ?? "") : `[${texts.join(", ")}]`;
  const causes = problems.map(({ field, reason, message }) => ({ reason, message, field }));
  const qualifiedKind = group === "" ? kind : `${kind}.${group}`;
  return new ApiError(422, "Invalid", `${qualifiedKind} "${name}" is invalid: ${summary}`, {
    name,
    ...(group === "" ? {} : { group }),
    kind,
    causes,
  });
}

/** 422 of a JSON patch whose operations do not fit the object. */
export function patchFailed(message: string): ApiError {
  const text = "the server rejected our request due to an error in our request";
  return new ApiError(422, "Invalid", text, { causes: [{ reason: "UnexpectedServerResponse", message }] });
}

/** 500. */
export function internalError(message: string): ApiError {
  return new ApiError(500, "InternalError", `Internal error occurred: ${message}`, { causes: [{ message }] });
}

/** 504: the asked resourceVersion lies in the future. */
export function tooLargeResourceVersion(asked: number, current: number): ApiError {
  const message = `Timeout: Too large resource version: ${asked}, current: ${current}`;
  return new ApiError(504, "Timeout", message, {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    retryAfterSeconds: 1,
  });
}

/** 409 of an apply on fields that others manage. */
export function applyConflict(conflicts: readonly { manager: string; type: Named; field: string }[]): ApiError {
  const causes = conflicts.map(({ manager, type, field }) => ({
    reason: "FieldManagerConflict",
    message: `conflict with ${JSON.stringify(manager)} using ${apiVersionOf(type)}`,
    field,
  }));
  const count = causes.length === 1 ? "1 conflict" : `${causes.length} conflicts`;
  const list =
    causes.length === 1
      ? `${causes[0]?.message}: ${causes[0]?.field}`
      : causes.map(({ message, field }) => `${message}: ${field}`).join("\n");
  return new ApiError(409, "Conflict", `Apply failed with ${count}: ${list}`, { causes });
}

/** The answer that a fault rule asks for, in the shape the real server gives it. */
export function faultError(code: number, retryAfterSeconds?: number): ApiError {
  const retry = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
  switch (code) {
    case 401:
      return unauthorized();
    case 410:
      return expired("The resourceVersion for the provided list is too old.");
    case 429:
      return new ApiError(429, "TooManyRequests", "Too many requests, please try again later.", {
        retryAfterSeconds: retryAfterSeconds ?? 1,
      });
    case 500:
      return internalError("etcdserver: request timed out");
    case 503:
      return new ApiError(503, "ServiceUnavailable", "the server is currently unable to handle the request", retry);
    case 504:
      return new ApiError(504, "Timeout", "Timeout: request did not complete within the allotted timeout", retry);
    default:
      return new ApiError(code, "", `the server was told to answer ${code}`, retry);
  }
}
