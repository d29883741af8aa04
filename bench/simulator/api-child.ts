/**
 * The API server's side of the simulator, in a namespace of its own: the embedded server itself, or the clients that
 * make Nodes and heartbeats on a real one. The bench tells it over IPC what to do.
 *
 *     api-child.ts embedded <address>         api-child.ts real <URL> <CA file> <token>
 */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { ApiClient, ApiError } from "../../lab/api-client.ts";
import { startApiServer } from "../../lab/api/index.ts";
import { conditions, nodeName, nodeObject } from "./node-object.ts";
import type { PolicyClusterSize } from "./policy-cluster.ts";
import { type StoredObject, storedObjects } from "./workload-objects.ts";

/** What the bench may ask. */
export type Ask =
  | { id: number; what: "put" | "remove"; from: number; count: number }
  | { id: number; what: "own"; name: string; ip: string; podCidr: string; podCidr6?: string }
  | { id: number; what: "heartbeats"; nodes: number; count: number; perSecond: number }
  | { id: number; what: "workloads"; size: PolicyClusterSize }
  | ({ id: number; what: "service" } & ServiceOfOne)
  | { id: number; what: "away"; ms: number };

/** A Service with one endpoint, and the ports that lead to the same ones there. */
export interface ServiceOfOne {
  name: string;
  clusterIp: string;
  endpoint: string;
  ports: readonly number[];
}

/** How to reach the server. */
export interface Access {
  url: string;
  caPem: string;
  token: string;
}

/** Answers; `at` is the moment of each write on the clock of process.hrtime, in nanoseconds. */
export interface Answer {
  id: number;
  at?: string[];
  access?: Access;
  error?: string;
}

/** How to write Nodes. */
interface Writer {
  access: Access;
  /** Many at once go as fast as the server takes them. */
  atATime: number;
  put: (n: number) => Promise<void>;
  own: (name: string, ip: string, ...podCidrs: string[]) => Promise<void>;
  remove: (n: number) => Promise<void>;
  service: (service: ServiceOfOne) => Promise<void>;
  heartbeat: (n: number, time: string) => Promise<void>;
  workloads: (objects: Iterable<StoredObject>) => Promise<void>;
  away: (ms: number) => Promise<void>;
}

const ownNode = (name: string, ip: string, ...podCIDRs: string[]): ReturnType<typeof nodeObject> => {
  const node = nodeObject(0, false);
  const metadata = { ...node.metadata, name, uid: "00000000-0000-4000-8000-999999999999", annotations: {} };
  const status = { addresses: [{ type: "InternalIP", address: ip }] };
  return { ...node, metadata, spec: { podCIDR: podCIDRs[0], podCIDRs }, status };
};

async function embedded(host: string): Promise<Writer> {
  const server = await startApiServer({ host, port: 6443, historyLimit: 50_000 });
  const { store, faults } = server;
  const type = server.type("nodes");
  return {
    access: { url: server.url, caPem: server.caPem, token: server.adminToken },
    atATime: 1,
    put: async (n) => void store.put(type, nodeName(n), nodeObject(n, true)),
    own: async (name, ip, ...podCidrs) => void store.put(type, name, ownNode(name, ip, ...podCidrs)),
    remove: async (n) => void store.remove(type, nodeName(n)),
    service: () => Promise.reject(new Error("only a real API server has what kube-proxy asks for")),
    heartbeat: async (n, time) => {
      const node = store.get(type, nodeName(n))?.object;
      if (!node) return;
      const status = { ...(node["status"] as object), conditions: conditions(time) ?? [] };
      store.put(type, nodeName(n), { ...node, status });
    },
    workloads: async (objects) => {
      for (const { resource, namespace, name, object } of objects)
        store.put(server.type(resource), namespace === undefined ? name : `${namespace}/${name}`, object);
    },
    away: async (ms) => {
      await faults.set({ away: { ms } });
      // What happens meanwhile is forgotten before anybody can ask for it: the next watch is told to take a list.
      store.put(type, nodeName(0), nodeObject(0, true));
      await faults.set({ compact: true });
      await pause(ms);
    },
  };
}

async function real(url: string, caFile: string, token: string): Promise<Writer> {
  const api = new ApiClient({ url, caPem: readFileSync(caFile, "utf8"), token });
  const patch = "application/merge-patch+json";
  // A kept connection may be closed by the server just as it is used; then it is tried once more, and may have been done.
  const insist = async (method: string, path: string, body?: unknown): Promise<void> => {
    try {
      await api.call(method, path, body);
    } catch (first) {
      if (first instanceof ApiError) throw first;
      await api.call(method, path, body).catch((error: unknown) => {
        if (!(error instanceof ApiError && (error.status === 409 || error.status === 404))) throw error;
      });
    }
  };
  return {
    access: { url, caPem: readFileSync(caFile, "utf8"), token },
    atATime: 4,
    put: (n) => insist("POST", "/api/v1/nodes?fieldManager=kubelet", nodeObject(n, false)),
    own: async (name, ip, ...podCidrs) =>
      void (await api.call("POST", "/api/v1/nodes", ownNode(name, ip, ...podCidrs))),
    remove: (n) => insist("DELETE", `/api/v1/nodes/${nodeName(n)}`),
    service: async ({ name, clusterIp, endpoint, ports: numbers }) => {
      const ports = numbers.map((port) => ({ name: `p${port}`, port }));
      await api.call("POST", "/api/v1/namespaces/default/services", {
        metadata: { name },
        spec: { clusterIP: clusterIp, ports },
      });
      const groups = await api.call<{ versions: { version: string }[] }>("GET", "/apis/discovery.k8s.io");
      const version = groups.versions[0]?.version;
      await api.call("POST", `/apis/discovery.k8s.io/${version}/namespaces/default/endpointslices`, {
        metadata: { name, labels: { "kubernetes.io/service-name": name } },
        addressType: "IPv4",
        endpoints: [{ addresses: [endpoint], conditions: { ready: true } }],
        ports,
      });
    },
    heartbeat: async (n, time) => {
      const path = `/api/v1/nodes/${nodeName(n)}/status?fieldManager=kubelet`;
      await api.call("PATCH", path, { status: { conditions: conditions(time) } }, patch);
    },
    workloads: intoEtcd,
    away: async () => undefined,
  };
}

/** Operations of one transaction, as many as etcd takes. */
const AT_ONCE = 100;

/** Puts objects where the API server has them, which takes minutes less than asking it to; it hears of them by its own watch. */
async function intoEtcd(objects: Iterable<StoredObject>): Promise<void> {
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  let success: object[] = [];
  const flush = async (): Promise<void> => {
    const body = JSON.stringify({ success });
    const answer = await fetch("http://127.0.0.1:2379/v3/kv/txn", { method: "POST", body });
    if (!answer.ok) throw new Error(`etcd: ${answer.status} ${await answer.text()}`);
    await answer.arrayBuffer();
    success = [];
  };
  for (const { resource, namespace, name, object } of objects) {
    const key = ["/registry", resource, ...(namespace === undefined ? [] : [namespace]), name].join("/");
    success.push({ requestPut: { key: base64(key), value: base64(JSON.stringify(object)) } });
    if (success.length === AT_ONCE) await flush();
  }
  if (success.length > 0) await flush();
}

const [mode = "", where = "", caFile = "", token = ""] = process.argv.slice(2);
const writer = mode === "embedded" ? await embedded(where) : await real(where, caFile, token);

/** Does something to nodes from … from + count, some at a time. @returns when each was written */
async function each(from: number, count: number, work: (n: number) => Promise<void>): Promise<string[]> {
  const at: string[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      const n = next++;
      const before = process.hrtime.bigint();
      await work(from + n);
      // A write to the embedded server is sent from within it; the real one answers after it has told the watches.
      at[n] = String(mode === "embedded" ? before : process.hrtime.bigint());
    }
  };
  await Promise.all(Array.from({ length: count > 8 ? writer.atATime : 1 }, worker));
  return at;
}

async function heartbeats(nodes: number, count: number, perSecond: number): Promise<void> {
  const start = performance.now();
  for (let beat = 0; beat < count; beat++) {
    await pause(Math.max(0, start + (beat * 1000) / perSecond - performance.now()));
    await writer.heartbeat(beat % nodes, new Date().toISOString().replace(/\.\d+/, ""));
  }
}

async function serve(ask: Ask): Promise<Partial<Answer>> {
  if (ask.what === "away") await writer.away(ask.ms);
  else if (ask.what === "own") {
    const { name, ip, podCidr, podCidr6 } = ask;
    await writer.own(name, ip, podCidr, ...(podCidr6 === undefined ? [] : [podCidr6]));
  } else if (ask.what === "service") await writer.service(ask);
  else if (ask.what === "workloads") await writer.workloads(storedObjects(ask.size));
  else if (ask.what === "heartbeats") await heartbeats(ask.nodes, ask.count, ask.perSecond);
  else return { at: await each(ask.from, ask.count, writer[ask.what]) };
  return {};
}

process.on("message", (ask: Ask) => {
  void serve(ask).then(
    (answer) => process.send?.({ id: ask.id, ...answer } satisfies Answer),
    (error: Error) => process.send?.({ id: ask.id, error: error.message } satisfies Answer),
  );
});
process.on("disconnect", () => process.exit(0));
process.send?.({ id: 0, access: writer.access } satisfies Answer);
