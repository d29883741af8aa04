/** How long a request may take, whichever client makes it. */
import { ApiError } from "./api-error.ts";
import type { ApiRequest } from "./client.ts";

const DEFAULT_TIMEOUT_MS = 30_000;

/** A request in words. */
export const describe = ({ method = "GET", path }: ApiRequest): string => `${method} ${path}`;

/**
 * Does something that ends with the request's signal, or when its time is over.
 * @param late what there was none of until then @throws ApiError
 */
export async function withinLimit<T>(
  request: ApiRequest,
  late: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = new AbortController();
  const timeoutMs = request.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const timer = setTimeout(() => limit.abort(new Error(`${late} within ${timeoutMs} ms`)), timeoutMs);
  try {
    return await work(request.signal ? AbortSignal.any([request.signal, limit.signal]) : limit.signal);
  } catch (error) {
    throw asApiError(describe(request), error, limit.signal);
  } finally {
    clearTimeout(timer);
  }
}

function asApiError(what: string, error: unknown, limit: AbortSignal): ApiError {
  if (error instanceof ApiError) return error;
  const cause: unknown = limit.aborted ? limit.reason : error;
  const code = (cause as { code?: unknown } | null)?.code;
  const message = cause instanceof Error && cause.message !== "" ? cause.message : String(code ?? cause);
  return new ApiError(what, 0, { message }, { cause });
}
