/**
 * A cluster of one real agent and thousands of Nodes without machines: an API server in one namespace, the agent in
 * another, and a cable between them whose counters say how many bytes the API server sent.
 */
import { type ChildProcess, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Context } from "../support/context.ts";
import { cable, type Namespace, namespace } from "../support/namespace.ts";
import { ended, until } from "../support/process.ts";
import type { Access, Answer, Ask } from "./api-child.ts";

/** Where binaries of Kubernetes are. */
export const KUBE = "/opt/kube/bin";
const QUIET = "--disable-warning=ExperimentalWarning";
const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));
type WithoutId<T> = T extends { id: number } ? Omit<T, "id"> : never;

/** The API's namespace, with cables to others. */
export class Cluster {
  readonly ns: Namespace;
  readonly kind: "embedded" | "real";
  access: Access = { url: "", caPem: "", token: "" };
  readonly #context: Context;
  #child: ChildProcess | undefined;
  #servers: ChildProcess[] = [];
  #calls = new Map<number, { resolve: (answer: Answer) => void; reject: (error: Error) => void }>();
  #lastId = 0;

  private constructor(context: Context, kind: "embedded" | "real") {
    this.#context = context;
    this.kind = kind;
    this.ns = namespace(context, "api");
    this.ns.exec("ip", "link", "add", "br0", "type", "bridge");
    this.ns.exec("ip", "addr", "add", "172.30.0.1/24", "dev", "br0");
    this.ns.exec("ip", "link", "set", "br0", "up");
  }

  /** Whether there are binaries of a real control plane here. */
  static get realIsThere(): boolean {
    return existsSync(`${KUBE}/kube-apiserver`) && existsSync("/usr/bin/etcd");
  }

  static get realVersion(): string {
    return execFileSync(`${KUBE}/kube-apiserver`, ["--version"], { encoding: "utf8" })
      .trim()
      .replace(/^\S+ v?/, "");
  }

  static async start(context: Context, kind: "embedded" | "real"): Promise<Cluster> {
    const cluster = new Cluster(context, kind);
    const at = kind === "embedded" ? ["172.30.0.1"] : await cluster.#startReal();
    const args = [QUIET, here("api-child.ts"), kind, ...at];
    const child = cluster.ns.spawn(process.execPath, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    cluster.#child = child;
    context.onEnd(() => ended(child, "SIGKILL"));
    const first = cluster.#answer(0);
    child.on("message", (answer: Answer) => {
      const call = cluster.#calls.get(answer.id);
      cluster.#calls.delete(answer.id);
      if (answer.error === undefined) call?.resolve(answer);
      else call?.reject(new Error(answer.error));
    });
    child.once("exit", (code) => {
      for (const call of cluster.#calls.values()) call.reject(new Error(`the API server's process ended: ${code}`));
    });
    cluster.access = (await first).access ?? cluster.access;
    return cluster;
  }

  /** Files that say how to reach the server: a kubeconfig, and the same for full-watch.ts. */
  files(dir: string): { kubeconfig: string; access: string } {
    mkdirSync(dir, { recursive: true });
    const { url, caPem, token } = this.access;
    const data = Buffer.from(caPem).toString("base64");
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "c",
      contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
      clusters: [{ name: "c", cluster: { server: url, "certificate-authority-data": data } }],
      users: [{ name: "u", user: { token } }],
    };
    const [kubeconfig, access] = [join(dir, "kubeconfig"), join(dir, "access")];
    writeFileSync(kubeconfig, JSON.stringify(config));
    writeFileSync(access, JSON.stringify(this.access));
    return { kubeconfig, access };
  }

  /** Another namespace on the bridge. @param octet its address is 172.30.0.<octet> */
  machine(label: string, octet: number): Namespace {
    const ns = namespace(this.#context, label);
    cable(this.ns, `to${octet}`, ns, "eth0");
    this.ns.exec("ip", "link", "set", `to${octet}`, "master", "br0");
    ns.exec("ip", "addr", "add", `172.30.0.${octet}/24`, "dev", "eth0");
    ns.exec("ip", "route", "add", "default", "via", "172.30.0.1");
    return ns;
  }

  /** Asks the process at the API's side to do something. @throws Error with its reason */
  async ask(ask: WithoutId<Ask>): Promise<bigint[]> {
    const id = ++this.#lastId;
    const answer = this.#answer(id);
    this.#child?.send({ id, ...ask });
    return ((await answer).at ?? []).map(BigInt);
  }

  /** Nobody answers for a while, and afterwards no old resourceVersion is known any more. */
  async away(ms: number): Promise<void> {
    if (this.kind === "embedded") {
      await this.ask({ what: "away", ms });
      return;
    }
    const server = this.#servers.pop();
    if (server) await ended(server, "SIGKILL");
    await this.#startApiServer();
  }

  #answer(id: number): Promise<Answer> {
    return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }));
  }

  async #startReal(): Promise<string[]> {
    const dir = join(this.#context.dir, "control");
    mkdirSync(dir, { recursive: true });
    const openssl = (...args: string[]): Buffer => execFileSync("openssl", args, { cwd: dir, stdio: "pipe" });
    const names = "subjectAltName=IP:172.30.0.1,IP:127.0.0.1,DNS:localhost";
    openssl(
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-keyout",
      "tls.key",
      "-out",
      "tls.crt",
      "-days",
      "2",
      "-subj",
      "/CN=bench",
      "-addext",
      names,
    );
    openssl("genrsa", "-out", "sa.key", "2048");
    writeFileSync(join(dir, "tokens.csv"), 'bench,admin,1,"system:masters"\n');
    const listen = "http://127.0.0.1:2379";
    const urls = ["--listen-client-urls", listen, "--advertise-client-urls", listen];
    const data = ["--data-dir", join(dir, "etcd"), "--unsafe-no-fsync", "--logger", "zap", "--log-level", "error"];
    const etcd = this.ns.spawn("etcd", [...data, ...urls], { stdio: "ignore", cwd: dir });
    this.#context.onEnd(() => ended(etcd, "SIGKILL"));
    await this.#startApiServer();
    return ["https://172.30.0.1:6443", join(dir, "tls.crt"), "bench"];
  }

  async #startApiServer(): Promise<void> {
    const dir = join(this.#context.dir, "control");
    const at = (name: string): string => join(dir, name);
    const flags = {
      "etcd-servers": "http://127.0.0.1:2379",
      "secure-port": "6443",
      "advertise-address": "172.30.0.1",
      "tls-cert-file": at("tls.crt"),
      "tls-private-key-file": at("tls.key"),
      "token-auth-file": at("tokens.csv"),
      "authorization-mode": "RBAC",
      "service-account-issuer": "https://bench",
      "service-account-key-file": at("sa.key"),
      "service-account-signing-key-file": at("sa.key"),
      "service-cluster-ip-range": "10.96.0.0/16",
      "cert-dir": at("certs"),
      "max-mutating-requests-inflight": "1000",
    };
    const args = Object.entries(flags).map(([key, value]) => `--${key}=${value}`);
    const server = this.ns.spawn(`${KUBE}/kube-apiserver`, args, { stdio: "ignore", cwd: dir });
    this.#servers.push(server);
    this.#context.onEnd(() => ended(server, "SIGKILL"));
    const curl = [
      "--cacert",
      at("tls.crt"),
      "-H",
      "Authorization: Bearer bench",
      "-sf",
      "https://172.30.0.1:6443/readyz",
    ];
    await until("the API server is ready", 60_000, () => {
      try {
        this.ns.exec("curl", ...curl);
        return true;
      } catch {
        return false; // not yet
      }
    });
  }
}

/** Starts a watch of whole Nodes in a machine of its own; counts what it receives. */
export async function fullWatch(context: Context, cluster: Cluster): Promise<() => number> {
  const machine = cluster.machine("full", 12);
  const { access } = cluster.files(join(context.dir, "full"));
  const args = [QUIET, here("full-watch.ts"), access];
  const child = machine.spawn(process.execPath, args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  context.onEnd(() => ended(child, "SIGKILL"));
  await new Promise((resolve, reject) => {
    child.once("message", resolve);
    child.once("exit", () => reject(new Error("the watch of whole Nodes ended")));
  });
  return () => receivedBytes(machine);
}

/** Bytes that a machine has received on its cable, headers of Ethernet included. */
export function receivedBytes(machine: Namespace): number {
  const [link] = JSON.parse(machine.exec("ip", "-j", "-s", "link", "show", "eth0")) as {
    stats64: { rx: { bytes: number } };
  }[];
  return link?.stats64.rx.bytes ?? 0;
}
