/**
 * The lab's control plane, a process of its own inside the fabric: the embedded API server on the fabric's address,
 * and two Unix sockets for this machine, which has no way into the lab's network. One leads to the API server's
 * port; the other is the lab's own, so that an API server that was told to be away can be told to come back.
 */
import { randomBytes } from "node:crypto";
import { writeSync } from "node:fs";
import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import { connect, createServer, type Server } from "node:net";
import { type ApiServer, type Authorizer, type FaultSettings, startApiServer } from "../api/index.ts";
import type { ApiRecord } from "../cluster/records.ts";

/** What the control plane is told, and what it answers once it serves. */
export interface ControlSpec {
  host: string;
  port: number;
  /** Unix socket that leads to the API server's port. */
  apiSocket: string;
  /** Unix socket of the lab's own requests. */
  controlSocket: string;
}
export type FromControl = { api: Omit<ApiRecord, "process"> } | { failed: string };

/** What a node needs to talk to the API server. */
export interface NodeCredentials {
  kubeletToken: string;
  /** kubeconfig of the node's agent. */
  agentKubeconfig: string;
}

/** Who the agents are, as in manifests/. */
const AGENT = "system:serviceaccount:skylane-system:skylane";

const READ = ["get", "list", "watch"];
/** What the agents' roles in manifests/ grant, by `[namespace ]resource[/subresource][ name]`. */
const RIGHTS: Readonly<Record<string, readonly string[]>> = {
  nodes: [...READ, "patch"],
  pods: READ,
  "pods/status": ["patch"],
  namespaces: READ,
  podnetworks: [...READ, "create", "patch"],
  "podnetworks default": ["update", "delete"],
  "podnetworks/status": ["patch"],
  networkblocks: [...READ, "create", "update", "delete"],
  networkendpoints: [...READ, "create", "update", "delete"],
  ipclaims: READ,
  "ipclaims/status": ["patch"],
  egressgateways: READ,
  "egressgateways/status": ["patch"],
  servicecidrs: ["get", "list"],
  services: READ,
  networkpolicies: READ,
  clusternetworkpolicies: READ,
  "clusternetworkpolicies/status": ["patch"],
  "multi-networkpolicies": READ,
  "network-attachment-definitions": READ,
  "customresourcedefinitions clusternetworkpolicies.policy.networking.k8s.io": READ,
  "customresourcedefinitions multi-networkpolicies.k8s.cni.cncf.io": READ,
  "kube-node-lease leases": ["get"],
  "skylane-system leases": ["create"],
  "skylane-system leases skylane-networks": ["get", "update"],
  "default events": ["create", "patch"],
};

/** Where resources are that need not be defined: a right to them is one before they are, and the answer that there are none. */
const UNDEFINED = [
  "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies",
  "/apis/k8s.cni.cncf.io/v1beta1/multi-networkpolicies",
  "/apis/k8s.cni.cncf.io/v1beta2/multi-networkpolicies",
  "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions",
];

/** Lets agents do what the manifests' roles grant and nothing else, so that a missing right shows in the lab. */
const authorize: Authorizer = ({
  user,
  verb,
  type,
  path,
  resource,
  subresource,
  namespace,
  selected,
  name = selected,
}) => {
  if (user.name !== AGENT) return true;
  if (type === undefined) return verb === "get" && UNDEFINED.some((one) => path.startsWith(one));
  const what = subresource === undefined ? resource : `${resource}/${subresource}`;
  return [what, `${namespace} ${what}`, `${what} ${name}`, `${namespace} ${what} ${name}`].some((key) =>
    RIGHTS[key]?.includes(verb),
  );
};

const BODY_LIMIT = 1 << 20;

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > BODY_LIMIT) throw new TypeError("the request is too long");
  }
  return text ? (JSON.parse(text) as unknown) : undefined;
}

/** The two identities of a node: its kubelet's and its agent's. */
function credentials(server: ApiServer, node: string): NodeCredentials {
  const kubeletToken = randomBytes(24).toString("base64url");
  const agentToken = randomBytes(24).toString("base64url");
  server.auth.setToken(kubeletToken, { name: `system:node:${node}`, groups: ["system:nodes"], node });
  server.auth.setToken(agentToken, { name: AGENT, node });
  return { kubeletToken, agentKubeconfig: server.kubeconfig(agentToken) };
}

async function answerTo(server: ApiServer, request: IncomingMessage): Promise<unknown> {
  switch (`${request.method} ${request.url}`) {
    case "POST /credentials":
      return credentials(server, (await bodyOf(request)) as string);
    case "POST /faults":
      await server.faults.set((await bodyOf(request)) as FaultSettings);
      return server.faults.state();
    case "DELETE /faults":
      await server.faults.clear();
      return server.faults.state();
    case "GET /faults":
      return server.faults.state();
    case "GET /stats":
      return server.stats();
    default:
      return undefined;
  }
}

const listening = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => resolve());
  });

function serveControl(api: ApiServer, path: string): Promise<void> {
  const server = createHttpServer((request, response) => {
    const respond = (status: number, value: unknown): void => {
      response.writeHead(status, { "content-type": "application/json", connection: "close" });
      response.end(`${JSON.stringify(value)}\n`);
    };
    answerTo(api, request).then(
      (value) => respond(value === undefined ? 404 : 200, value ?? { error: "no such request" }),
      (error: unknown) => respond(400, { error: error instanceof Error ? error.message : String(error) }),
    );
  });
  return listening(server, path);
}

/** Pipes each connection of the Unix socket to the server's port. */
function serveApiSocket({ host, port, apiSocket }: ControlSpec): Promise<void> {
  const server = createServer((client) => {
    const upstream = connect({ host, port });
    const close = (): void => {
      client.destroy();
      upstream.destroy();
    };
    client.on("error", close).on("close", close);
    upstream.on("error", close).on("close", close);
    client.pipe(upstream).pipe(client);
  });
  return listening(server, apiSocket);
}

/** Serves until it is killed; resolves with the exit status when it cannot start. */
export function runControl(): Promise<number> {
  return new Promise((resolve) => {
    const start = async (spec: ControlSpec): Promise<void> => {
      const server = await startApiServer({ host: spec.host, port: spec.port, authorize });
      await serveApiSocket(spec);
      await serveControl(server, spec.controlSocket);
      const { url, caPem, adminToken } = server;
      process.send?.({ api: { url, caPem, token: adminToken, kubeconfig: server.kubeconfig() } } satisfies FromControl);
    };
    process.once("message", (spec: ControlSpec) => {
      start(spec).catch((error: unknown) => {
        const failed = error instanceof Error ? (error.stack ?? error.message) : String(error);
        writeSync(2, `${failed}\n`);
        process.send?.({ failed } satisfies FromControl);
        resolve(1);
      });
    });
  });
}
