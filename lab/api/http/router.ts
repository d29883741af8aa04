/**
 * From a path to what it is about: `/api/v1/namespaces/a/pods/b/status` to resource, namespace, name, subresource,
 * and from the method to the verb that authorization, faults and statistics speak of.
 */
import { methodNotAllowed } from "../errors.ts";
import type { ResourceType } from "../types.ts";

/** A request in Kubernetes' words (apiserver's RequestInfo). */
export interface RequestInfo {
  verb: string;
  /** Plural name; "" for a path that is no resource. */
  resource: string;
  subresource?: string;
  namespace?: string;
  name?: string;
  /** The one name that a collection's field selector asks for, by which a right to that object is enough (apiserver, requestinfo.go). */
  selected?: string;
  /** Absent for paths that are no resource. */
  type?: ResourceType;
  path: string;
}

/** Parses a path. undefined when no resource of the table is there. Throws 405 for a method that it does not take. */
export function route(types: readonly ResourceType[], method: string, url: URL): RequestInfo | undefined {
  const segments = url.pathname.split("/").slice(1).map(decodeSegment);
  if (segments.some((segment) => segment === undefined || segment === "")) return undefined;
  const [root, ...rest] = segments as string[];
  const [group, version, ...path] = root === "api" ? ["", ...rest] : root === "apis" ? rest : [];
  if (group === undefined || version === undefined) return undefined;
  const types_ = types.filter((type) => type.group === group && type.version === version);
  const inNamespace =
    path[0] === "namespaces" && path.length > 2 && types_.some((type) => type.plural === path[2] && type.namespaced);
  const [plural, name, subresource, ...more] = inNamespace ? path.slice(2) : path;
  const type = types_.find((type) => type.plural === plural);
  if (type === undefined || more.length > 0) return undefined;
  const namespace = inNamespace ? path[1] : undefined;
  if (type.namespaced && namespace === undefined && name !== undefined) return undefined;
  if (subresource !== undefined && !(subresource === "status" && type.status)) return undefined;
  const selected = /^metadata\.name==?([^,]+)$/.exec(url.searchParams.get("fieldSelector") ?? "")?.[1];
  return {
    verb: verbOf(method, url.searchParams, type.namespaced && namespace === undefined, name, subresource),
    resource: type.plural,
    type,
    path: url.pathname,
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(name !== undefined || selected === undefined ? {} : { selected }),
    ...(subresource === undefined ? {} : { subresource }),
  };
}

function verbOf(
  method: string,
  query: URLSearchParams,
  acrossNamespaces: boolean,
  name?: string,
  subresource?: string,
): string {
  const watch = query.get("watch");
  const watching = watch !== null && watch !== "0" && watch.toLowerCase() !== "false";
  if (method === "GET" || method === "HEAD") {
    if (watching && subresource === undefined) return "watch";
    return name === undefined ? "list" : "get";
  }
  if (name === undefined) {
    if (method === "POST" && !acrossNamespaces) return "create";
    if (method === "DELETE" && !acrossNamespaces) return "deletecollection";
    throw methodNotAllowed();
  }
  if (method === "PUT") return "update";
  if (method === "PATCH") return "patch";
  if (method === "DELETE" && subresource === undefined) return "delete";
  throw methodNotAllowed();
}

function decodeSegment(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    // A malformed escape names nothing.
    return undefined;
  }
}
