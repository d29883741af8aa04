/**
 * What kubectl asks before it does anything: which groups, versions and resources there are, and which server this
 * is. /openapi/v2 is a document without definitions, which makes kubectl skip its own validation.
 */
import { apiVersionOf, type Json, type JsonObject, type ResourceType } from "../types.ts";

/** The Kubernetes version whose behaviour is followed. */
const VERSION = { major: "1", minor: "32", gitVersion: "v1.32.0+skylane-lab" };

const VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/** The answer at a discovery path; undefined where there is none. */
export function discovery(path: string, types: readonly ResourceType[], address: string): Json | undefined {
  if (path === "/version") {
    const build = {
      gitCommit: "",
      gitTreeState: "clean",
      buildDate: "2025-01-01T00:00:00Z",
      compiler: "node",
      platform: "linux/amd64",
    };
    return { ...VERSION, ...build, goVersion: "none" };
  }
  if (path === "/api") {
    const serverAddressByClientCIDRs = [{ clientCIDR: "0.0.0.0/0", serverAddress: address }];
    return { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs };
  }
  const groups = [...new Set(types.map((type) => type.group))].filter((group) => group !== "");
  if (path === "/apis") {
    return { kind: "APIGroupList", apiVersion: "v1", groups: groups.map((group) => groupOf(group, types)) };
  }
  const [root, group = "", version, ...rest] = path === "/api/v1" ? ["apis", "", "v1"] : path.split("/").slice(1);
  if (root !== "apis" || rest.length > 0) return undefined;
  if (version === undefined)
    return groups.includes(group) ? { ...groupOf(group, types), kind: "APIGroup", apiVersion: "v1" } : undefined;
  const found = types.filter((type) => type.group === group && type.version === version);
  const [first] = found;
  if (first === undefined) return undefined;
  const resources = found.flatMap((type) => resourcesOf(type));
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion: apiVersionOf(first), resources };
}

function groupOf(name: string, types: readonly ResourceType[]): JsonObject {
  const names = [...new Set(types.filter((type) => type.group === name).map((type) => type.version))];
  const versions = names.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions, preferredVersion: versions[0] };
}

function resourcesOf(type: ResourceType): JsonObject[] {
  const { plural, singular, namespaced, kind, shortNames } = type;
  const main: JsonObject = { name: plural, singularName: singular, namespaced, kind, verbs: VERBS, shortNames };
  if (!type.status) return [main];
  return [main, { name: `${plural}/status`, singularName: "", namespaced, kind, verbs: ["get", "patch", "update"] }];
}

/** Paths that answer "ok" in plain text, to anybody. */
export const HEALTH_PATHS: readonly string[] = ["/healthz", "/livez", "/readyz"];

/** An OpenAPI v2 document without definitions as protobuf (gnostic's Document: swagger = 1, info = 2 {title, version}). */
export const OPENAPI_V2_PROTOBUF: Buffer = Buffer.concat([
  Buffer.from([0x0a, 3]),
  Buffer.from("2.0"),
  Buffer.from([0x12, 11, 0x0a, 3]),
  Buffer.from("lab"),
  Buffer.from([0x12, 4]),
  Buffer.from("1.32"),
]);

/** The same document as JSON. */
export const OPENAPI_V2: JsonObject = {
  swagger: "2.0",
  info: { title: "lab", version: "1.32" },
  paths: {},
  definitions: {},
};
