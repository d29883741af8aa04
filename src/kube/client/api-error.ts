/**
 * A request that the API server refused, or that never reached it. `status` is 0 in the latter case, so that callers
 * decide by one number.
 */

/** Longest wait that a server's Retry-After is believed, in milliseconds. */
const MAX_RETRY_AFTER_MS = 120_000;

/** What is kept of a `Status` object. */
export interface StatusBody {
  reason?: string;
  message?: string;
  /** `details.name`: the object that the answer is about. */
  name?: string;
}

/** An answer other than success, or none at all. */
export class ApiError extends Error {
  /** HTTP status, or `Status.code` inside a watch; 0 when there was no answer. */
  readonly status: number;
  /** `Status.reason` ("NotFound", "Expired", …), "" when the server gave none. */
  readonly reason: string;
  /** `Status.details.name`. */
  readonly objectName?: string | undefined;
  /** How long the server asks us to wait, in milliseconds. */
  readonly retryAfterMs?: number | undefined;

  constructor(
    what: string,
    status: number,
    body: StatusBody = {},
    options: { retryAfterMs?: number | undefined; cause?: unknown } = {},
  ) {
    super(`${what}: ${body.message ?? body.reason ?? (status === 0 ? "no answer" : `HTTP ${status}`)}`, {
      cause: options.cause,
    });
    this.name = "ApiError";
    this.status = status;
    this.reason = body.reason ?? "";
    this.objectName = body.name;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** The object is not there, and the server says so about this very object (a wrong path or proxy does not). */
  isGone(name: string): boolean {
    return this.status === 404 && this.reason === "NotFound" && this.objectName === name;
  }

  /** The resourceVersion or continue token is too old (or one that this server never gave): list again. */
  get isExpired(): boolean {
    return this.status === 410 || this.reason === "Expired" || this.reason === "Gone";
  }

  /** Another attempt may succeed without anybody doing anything. */
  get isTransient(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 409 || this.status === 429 || this.status >= 500;
  }
}

/** Reads what matters of a `Status` object; anything else gives an empty body. */
export function statusOf(value: unknown): StatusBody & { code?: number } {
  if (typeof value !== "object" || value === null) return {};
  const { reason, message, details, code } = value as Record<string, unknown>;
  const name = (details as { name?: unknown } | null | undefined)?.name;
  return {
    ...(typeof reason === "string" ? { reason } : {}),
    ...(typeof message === "string" ? { message: message.slice(0, 500) } : {}),
    ...(typeof name === "string" ? { name } : {}),
    ...(typeof code === "number" ? { code } : {}),
  };
}

/** Parses a Retry-After header (seconds, or an HTTP date), bounded. */
export function retryAfterMs(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - now;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS);
}
