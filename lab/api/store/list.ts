/**
 * Lists: what of the store a list sees (newest, at least as new as, or exactly a resourceVersion) and how it is cut
 * into pages that all show the state of the first one. A continue token names that state and the last key; nothing
 * is kept on the server between pages, the state is found again by undoing history.
 */
import { ApiError, badRequest, expired, invalidKind } from "../errors.ts";
import { fieldPredicate, labelSelector, type Predicate, parseFieldSelector } from "./selectors.ts";
import type { Store } from "./store.ts";
import type { FieldProblem, ResourceType } from "../types.ts";
import type { Version } from "./version.ts";

const CONTINUE_EXPIRED =
  "The provided continue parameter is too old to display a consistent list result. You can start a new list without " +
  "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. " +
  "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or " +
  "deleted between the time the first chunk was returned and now may show up in the list.";

/** Options of a list or watch, parsed and checked (meta/v1 ListOptions). */
export interface ListOptions {
  watch: boolean;
  resourceVersion: string;
  resourceVersionMatch: string;
  limit: number;
  continue: string;
  sendInitialEvents: boolean;
  allowWatchBookmarks: boolean;
  timeoutSeconds: number | undefined;
  /** Whether any selector is set; then a page does not know how many remain. */
  selective: boolean;
  selects: Predicate;
}

/** Which of a resource's objects a request is about: a namespace, a name, or all. */
export interface Scope {
  namespace?: string;
  name?: string;
}

/** One page of a list. */
export interface Page {
  items: Version[];
  resourceVersion: number;
  continue: string;
  remaining: number | undefined;
}

/** Parses the query of a list or watch. Throws 400 for a malformed value, 422 for options that exclude each other. */
export function parseListOptions(
  type: ResourceType,
  query: URLSearchParams,
  features: { watchList: boolean },
  scope: Scope,
): ListOptions {
  const text = (name: string): string => query.get(name) ?? "";
  const labels = text("labelSelector");
  const fields = parseFieldSelector(type, text("fieldSelector"));
  const matches = [labelSelector(labels), fieldPredicate(fields)];
  if (scope.name !== undefined) matches.push((object) => object.metadata.name === scope.name);
  const resourceVersion = text("resourceVersion");
  if (resourceVersion !== "" && !/^\d+$/.test(resourceVersion)) {
    throw badRequest(
      `invalid resource version ${JSON.stringify(resourceVersion)}: strconv.ParseUint: parsing ${JSON.stringify(resourceVersion)}: invalid syntax`,
    );
  }
  const options = {
    watch: flag(query, "watch"),
    resourceVersion,
    resourceVersionMatch: text("resourceVersionMatch"),
    limit: whole(query, "limit") ?? 0,
    continue: text("continue"),
    sendInitialEvents: flag(query, "sendInitialEvents"),
    allowWatchBookmarks: flag(query, "allowWatchBookmarks"),
    timeoutSeconds: whole(query, "timeoutSeconds"),
    selective: labels !== "" || fields.length > 0,
    selects: (object) => matches.every((match) => match(object)),
  } satisfies ListOptions;
  const problems = optionProblems(options, query.has("sendInitialEvents"), features.watchList);
  if (problems.length > 0) throw invalidKind("ListOptions", "meta.k8s.io", "", problems);
  return options;
}

function flag(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  return value !== null && value !== "0" && value.toLowerCase() !== "false";
}

function whole(query: URLSearchParams, name: string): number | undefined {
  const value = query.get(name);
  if (value === null || value === "") return undefined;
  if (!/^\d+$/.test(value))
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax (${name})`);
  return Number(value);
}

/** The real server's ValidateListOptions, rule by rule. */
function optionProblems(options: ListOptions, initialEventsGiven: boolean, watchList: boolean): FieldProblem[] {
  const problems: FieldProblem[] = [];
  const forbid = (field: string, text: string): void => {
    problems.push({ field, reason: "FieldValueForbidden", message: `Forbidden: ${text}` });
  };
  const match = options.resourceVersionMatch;
  const unsupported = (allowed: string): void => {
    const message = `Unsupported value: ${JSON.stringify(match)}: supported values: ${allowed}`;
    problems.push({ field: "resourceVersionMatch", reason: "FieldValueInvalid", message });
  };
  if (options.watch) {
    if (initialEventsGiven && match !== "NotOlderThan") {
      forbid("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    }
    if (initialEventsGiven && !watchList) {
      forbid(
        "sendInitialEvents",
        "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
      );
    }
    if (match !== "") {
      if (!initialEventsGiven) {
        forbid(
          "resourceVersionMatch",
          "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        );
      }
      if (match !== "NotOlderThan") unsupported('"NotOlderThan"');
      if (options.continue !== "")
        forbid("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
    }
    return problems;
  }
  if (match !== "") {
    if (options.resourceVersion === "") {
      forbid("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if (options.continue !== "")
      forbid("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
    if (match !== "Exact" && match !== "NotOlderThan") unsupported('"Exact", "NotOlderThan", ""');
    if (match === "Exact" && options.resourceVersion === "0") {
      forbid("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
    }
  }
  if (initialEventsGiven) forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
  return problems;
}

/**
 * One page. `narrow` lets a fault hide objects before the list is cut. Throws 410 for a compacted state (with a token
 * that continues inconsistently, where a continue token was given), 504 for a future one, 400 for a bad token.
 */
export async function listPage(
  store: Store,
  type: ResourceType,
  scope: Scope,
  options: ListOptions,
  freshnessTimeoutMs: number,
  narrow: (items: Version[]) => Version[],
): Promise<Page> {
  const token = options.continue === "" ? undefined : parseToken(options);
  const asked = Number(options.resourceVersion || "0");
  await store.waitFor(asked, freshnessTimeoutMs);
  // A limit with a bare resourceVersion means exactly that version; with "0" the limit is ignored, as by the watch cache.
  const exact =
    options.resourceVersionMatch === "Exact" || (asked > 0 && options.limit > 0 && options.resourceVersionMatch === "");
  const limit = options.resourceVersion === "0" && token === undefined ? 0 : options.limit;
  const rv = token !== undefined && token.rv > 0 ? token.rv : exact ? asked : store.resourceVersion;
  const start = token?.start ?? "";
  const all = narrow(stateAt(store, type, rv, token));
  const selected = all.filter(
    (version) => inScope(version, scope) && version.key >= start && options.selects(version.object),
  );
  const items = limit > 0 ? selected.slice(0, limit) : selected;
  const remaining = selected.length - items.length;
  return {
    items,
    resourceVersion: rv,
    continue: remaining > 0 ? makeToken(rv, `${items.at(-1)?.key}\0`) : "",
    remaining: remaining > 0 && !options.selective ? remaining : undefined,
  };
}

/** Whether an object is in the namespace of a request. */
export function inScope(version: Version, scope: Scope): boolean {
  return scope.namespace === undefined || version.key.startsWith(`${scope.namespace}/`);
}

interface Token {
  rv: number;
  start: string;
}

function stateAt(store: Store, type: ResourceType, rv: number, token: Token | undefined): Version[] {
  if (rv === store.resourceVersion) return store.list(type);
  try {
    return store.listAt(type, rv);
  } catch (error) {
    if (token === undefined || !(error instanceof ApiError) || error.code !== 410) throw error;
    throw expired(CONTINUE_EXPIRED, { continue: makeToken(-1, token.start) });
  }
}

function makeToken(rv: number, start: string): string {
  return Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", rv, start })).toString("base64url");
}

function parseToken(options: ListOptions): Token {
  if (options.resourceVersion !== "" && options.resourceVersion !== "0") {
    throw badRequest("specifying resource version is not allowed when using continue");
  }
  try {
    const token = JSON.parse(Buffer.from(options.continue, "base64url").toString()) as Partial<Token> & { v?: string };
    if (
      token.v === "meta.k8s.io/v1" &&
      typeof token.rv === "number" &&
      typeof token.start === "string" &&
      token.start !== ""
    ) {
      return { rv: token.rv, start: token.start };
    }
  } catch (error) {
    throw badRequest(`continue key is not valid: ${String(error)}`);
  }
  throw badRequest("continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
}
