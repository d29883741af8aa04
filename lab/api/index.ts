/**
 * The lab's embedded Kubernetes API server: a test double that behaves like kube-apiserver where they overlap, and
 * misbehaves when told to. Start it with `startApiServer`; docs/adr/0008-embedded-api.md says what it leaves out.
 */
import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { isIP } from "node:net";
import { Auth, type Authorizer, type User } from "./http/auth.ts";
import { collectGarbage } from "./store/collector.ts";
import { DEFINITIONS, definedType, isDefinition, serveDefinitions } from "./store/definitions.ts";
import { Faults } from "./faults.ts";
import { Journal } from "./store/journal.ts";
import { kubeconfigYaml } from "./http/kubeconfig.ts";
import { Listener } from "./http/listener.ts";
import { NETWORK_RESOURCES } from "./schema/network-resources.ts";
import { Registry } from "./registry.ts";
import { BUILT_IN, SYSTEM_NAMESPACES } from "./resources.ts";
import { handle, type ServerParts } from "./server.ts";
import { type RequestRecord, Stats } from "./http/stats.ts";
import { Store } from "./store/store.ts";
import { certificates } from "./http/tls.ts";
import { apiVersionOf, type JsonObject, resourceKey, type ResourceType } from "./types.ts";
import { Watches } from "./store/watches.ts";

export type { Authorizer, User } from "./http/auth.ts";
export type { Faults, FaultSettings } from "./faults.ts";
export type { StoreEvent } from "./store/history.ts";
export type { RequestInfo } from "./http/router.ts";
export type { RequestRecord } from "./http/stats.ts";
export type { Store } from "./store/store.ts";
export type { Json, JsonObject, KubeObject, Metadata, ResourceType } from "./types.ts";
export type { Version } from "./store/version.ts";

/** How to start a server. */
export interface ApiServerOptions {
  /** Address to listen on. */
  host: string;
  /** 0 or absent: any free port. */
  port?: number;
  /** Host in the URL; absent: `host`, or the loopback address where that is unspecified. */
  advertise?: string;
  /** false: plain HTTP. `certDir` keeps the certificate authority over restarts; `names` are further names of the server. */
  tls?: false | { certDir?: string; names?: string[] };
  /** Bearer tokens and whose they are. */
  tokens?: Record<string, User>;
  /** Token of the administrator; absent: a random one. */
  adminToken?: string;
  /** Decides about what the built-in rules allow; false refuses. */
  authorize?: Authorizer;
  /** Keeps the objects over a restart. */
  dataFile?: string;
  /** Rows beside the built-in resources. */
  resources?: ResourceType[];
  /** false: Skylane's own resources are not defined, as in a cluster that has an older release. */
  networks?: boolean;
  /** Events kept per resource; older resourceVersions are 410 (default 10,000). */
  historyLimit?: number;
  /** Default 60,000, as on the real server. */
  bookmarkIntervalMs?: number;
  /** How long a request waits for a resourceVersion of the future before its 504 (default 3,000). */
  freshnessTimeoutMs?: number;
  /** Sees every finished request. */
  onRequest?: (record: RequestRecord) => void;
}

/** A running server. */
export interface ApiServer {
  url: string;
  port: number;
  /** The certificate authority; "" without TLS. */
  caPem: string;
  adminToken: string;
  /** A kubeconfig for the holder of a token; absent: the administrator. */
  kubeconfig(token?: string): string;
  /** The objects, beneath all rules: what is put here is not validated. */
  store: Store;
  faults: Faults;
  auth: Auth;
  /** Counts of requests by `verb resource code`, and open watches. */
  stats(): JsonObject;
  /** Looks up a row by plural name; throws for an unknown one. */
  type(plural: string): ResourceType;
  close(): Promise<void>;
}

const DEFAULTS = { historyLimit: 10_000, bookmarkIntervalMs: 60_000, freshnessTimeoutMs: 3000 };
const SWEEP_INTERVAL_MS = 60_000;

/** Starts a server. Rejects when the address is taken, openssl is missing or the data file is malformed. */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { bookmarkIntervalMs, freshnessTimeoutMs, historyLimit } = { ...DEFAULTS, ...options };
  const host = options.advertise ?? reachable(options.host);
  const names = [host, "127.0.0.1", "::1", "localhost", "kubernetes.default.svc"];
  const tls = options.tls ?? {};
  const certs = tls === false ? undefined : await certificates([...names, ...(tls.names ?? [])], tls.certDir);
  const journal = options.dataFile === undefined ? undefined : new Journal(options.dataFile);
  const own = options.networks === false ? [] : NETWORK_RESOURCES;
  const fixed = [...BUILT_IN, DEFINITIONS, ...own, ...(options.resources ?? [])];
  const types = [...fixed, ...restoredTypes(journal, fixed)];
  const store = new Store({ types, historyLimit, ...(journal && { restored: journal.restored, log: journal }) });
  const registry = new Registry(store);
  collectGarbage(store, registry);
  const typeOf = (plural: string): ResourceType => {
    const type = store.types().find((type) => type.plural === plural);
    if (type === undefined) throw new Error(`no resource ${plural} in the table`);
    return type;
  };
  makeSystemNamespaces(store, registry, typeOf("namespaces"));

  const adminToken = options.adminToken ?? randomBytes(24).toString("base64url");
  const auth = new Auth(options.tokens ?? {}, adminToken, options.authorize);
  const watches = new Watches();
  serveDefinitions(store, watches, fixed);
  const stats = new Stats(() => watches.count, options.onRequest);
  const stalled = new Set<ServerResponse>();
  let returning: NodeJS.Timeout | undefined;
  const back = async (): Promise<void> => {
    clearTimeout(returning);
    await listener.open();
  };
  const faults = new Faults({
    schemas: (count) => {
      registry.schemas = count;
    },
    dropWatches: (how) => watches.drop(how),
    corruptWatches: (how) => watches.corrupt(how),
    expireWatches: () => watches.expire(),
    resumeWatches: () => watches.resume(),
    compact: () => store.compact(),
    releaseStalled: () => {
      for (const response of stalled) response.destroy();
    },
    away: async (forMs) => {
      clearTimeout(returning);
      await listener.close();
      if (forMs !== undefined) {
        // The port may have been taken meanwhile; nobody is waiting for this promise.
        returning = setTimeout(() => void back().catch((error: Error) => process.emitWarning(error)), forMs);
      }
    },
    back,
  });
  const parts: ServerParts = {
    store,
    registry,
    auth,
    faults,
    watches,
    stats,
    stalled,
    bookmarkIntervalMs,
    freshnessTimeoutMs,
    address: () => `${bracketed(host)}:${listener.port}`,
  };
  const listener = new Listener(
    options.host,
    options.port ?? 0,
    certs,
    (request, response) => void handle(parts, request, response),
  );
  await listener.open();
  const sweeper = setInterval(() => registry.sweep(Date.now()), SWEEP_INTERVAL_MS).unref();
  const url = `${certs === undefined ? "http" : "https"}://${bracketed(host)}:${listener.port}`;
  return {
    url,
    port: listener.port,
    caPem: certs?.caPem ?? "",
    adminToken,
    store,
    faults,
    auth,
    type: typeOf,
    kubeconfig: (token = adminToken) => {
      const user = auth.authenticate(`Bearer ${token}`).name;
      return kubeconfigYaml({ url, caPem: certs?.caPem, user, token });
    },
    stats: () => stats.report(),
    close: async () => {
      clearInterval(sweeper);
      clearTimeout(returning);
      await listener.close();
      journal?.close();
    },
  };
}

/** Resources that definitions of an earlier run made. */
function restoredTypes(journal: Journal | undefined, fixed: readonly ResourceType[]): ResourceType[] {
  const definitions = journal?.restored.objects.filter(isDefinition) ?? [];
  const types = definitions.map(({ object }) => definedType(object)).filter((type) => type !== undefined);
  return types.filter((type) => !fixed.some((one) => resourceKey(one) === resourceKey(type)));
}

function makeSystemNamespaces(store: Store, registry: Registry, type: ResourceType): void {
  for (const name of SYSTEM_NAMESPACES) {
    if (store.get(type, name) !== undefined) continue;
    registry.create(
      type,
      { kind: type.kind, apiVersion: apiVersionOf(type), metadata: { name } },
      { manager: "kube-apiserver" },
    );
  }
}

/** An address that a client on this machine can use. */
function reachable(host: string): string {
  if (host === "0.0.0.0" || host === "") return "127.0.0.1";
  return host === "::" ? "::1" : host;
}

function bracketed(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host;
}
