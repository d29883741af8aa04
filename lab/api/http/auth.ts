/**
 * Who asks and whether they may. Bearer tokens name users; a user may be bound to a node, and then writes nothing
 * but that Node, its lease and events, as the node authorizer and NodeRestriction would have it, and what a role gives
 * the agent on it: custom resources, its leases, patches of pods. A hook decides anything beyond that.
 */
import { timingSafeEqual } from "node:crypto";
import { ApiError, forbidden, unauthorized } from "../errors.ts";
import type { RequestInfo } from "./router.ts";

/** Whom a token belongs to. */
export interface User {
  name: string;
  groups?: string[];
  /** Writes are limited to this Node, its lease in kube-node-lease, and events. Reading is free. */
  node?: string;
}

/** Decides about a request that nothing else refused; false is a 403. */
export type Authorizer = (request: RequestInfo & { user: User }) => boolean;

const ADMINS = "system:masters";

/** Tokens and permissions. */
export class Auth {
  readonly #tokens: Map<string, User>;
  readonly #authorizer: Authorizer | undefined;

  constructor(tokens: Record<string, User>, adminToken: string, authorizer?: Authorizer) {
    this.#tokens = new Map(Object.entries(tokens));
    this.#tokens.set(adminToken, { name: "kubernetes-admin", groups: [ADMINS] });
    this.#authorizer = authorizer;
  }

  /** Adds a token or gives it to another user. */
  setToken(token: string, user: User): void {
    this.#tokens.set(token, user);
  }

  /** A token that no longer counts; open watches go on, as on the real server. */
  removeToken(token: string): void {
    this.#tokens.delete(token);
  }

  /** The user of an Authorization header. Throws 401. */
  authenticate(header: string | undefined): User {
    const given = /^Bearer\s+(\S+)\s*$/i.exec(header ?? "")?.[1];
    if (given === undefined) throw unauthorized();
    for (const [token, user] of this.#tokens) if (equal(token, given)) return user;
    throw unauthorized();
  }

  /** Throws 403. */
  authorize(user: User, request: RequestInfo): void {
    if (user.groups?.includes(ADMINS)) return;
    if (user.node !== undefined && !nodeMay(user.node, request)) throw refusal(user, request);
    if (this.#authorizer !== undefined && !this.#authorizer({ ...request, user })) throw refusal(user, request);
  }

  /** Throws 403 unless the user is an administrator. */
  requireAdmin(user: User, path: string): void {
    if (user.groups?.includes(ADMINS)) return;
    throw new ApiError(
      403,
      "Forbidden",
      `forbidden: User ${JSON.stringify(user.name)} cannot access path ${JSON.stringify(path)}`,
      {},
    );
  }
}

function nodeMay(node: string, { verb, resource, name, namespace, type }: RequestInfo): boolean {
  if (type === undefined || ["get", "list", "watch"].includes(verb)) return true;
  // Custom resources are no concern of either: roles decide, which are the hook.
  if (type.custom) return true;
  if (resource === "pods") return verb === "patch";
  if (resource === "nodes") return (verb === "update" || verb === "patch") && name === node;
  if (resource === "events") return ["create", "update", "patch"].includes(verb);
  if (resource === "leases" && namespace === "skylane-system" && verb !== "delete")
    return verb === "create" || name === "skylane-networks";
  if (resource === "leases") return namespace === "kube-node-lease" && (name === node || verb === "create");
  return false;
}

function refusal(user: User, { verb, type, resource, subresource, namespace, name = "", path }: RequestInfo): ApiError {
  const who = `User ${JSON.stringify(user.name)}`;
  if (type === undefined)
    return new ApiError(403, "Forbidden", `forbidden: ${who} cannot ${verb} path ${JSON.stringify(path)}`, {});
  const what = JSON.stringify(subresource === undefined ? resource : `${resource}/${subresource}`);
  const where = namespace === undefined ? "at the cluster scope" : `in the namespace ${JSON.stringify(namespace)}`;
  return forbidden(
    type,
    name,
    `${who} cannot ${verb} resource ${what} in API group ${JSON.stringify(type.group)} ${where}`,
  );
}

function equal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
