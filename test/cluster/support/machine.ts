/**
 * The machine under a test cluster: what a person would do at the nodes themselves (cut the power, restart the
 * kubelet). The tests proper use only the API and `kubectl exec`; what needs the machine asks for it by name and is
 * skipped by name where the cluster has none.
 */
import { execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const TOOLS = fileURLToPath(new URL("../machine", import.meta.url));
const BUFFER = 64 * 1024 * 1024;

/** A cluster that the tests can use. */
export interface Machine {
  /** Runs kubectl with the cluster's admin rights and returns what it prints. @throws with its stderr */
  kubectl(args: readonly string[], input?: string): Promise<string>;
  /** Command line that runs kubectl, for processes that a test keeps running. */
  readonly kubectlCommand: readonly string[];
  /** Name of the image of Skylane that the nodes have. */
  readonly image: string;
  /** Access to the machines behind the API, where the cluster gives it. */
  readonly hardware?: Hardware;
  down(): Promise<void>;
}

/** What a person could do at the machines of a cluster. */
export interface Hardware {
  /** Runs a command at a node, in the host's namespaces, and returns what it prints. */
  at(node: string, command: readonly string[]): Promise<string>;
  component(action: "stop" | "start" | "restart", name: string): Promise<void>;
  powerOff(node: string): Promise<void>;
  powerOn(node: string, address?: number): Promise<void>;
  addNode(number: number): Promise<void>;
  /** Gives all nodes an image that is made of a folder's files. @param argument what its program is told where a pod says nothing */
  image(name: string, rootfs: string, entrypoint: string, argument?: string): Promise<void>;
}

async function capture(command: string, args: readonly string[], input?: string): Promise<string> {
  const child = run(command, [...args], { maxBuffer: BUFFER, cwd: ROOT });
  // one that ends without having read what it was given tells by its status whether that was right
  child.child.stdin?.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") child.child.emit("error", error);
  });
  child.child.stdin?.end(input);
  try {
    return (await child).stdout;
  } catch (error) {
    const { stderr = "", stdout = "" } = error as { stderr?: string; stdout?: string };
    const shown = [command, ...args].join(" ");
    throw new Error(`${shown}\n${(stderr || stdout).trim()}`, { cause: error });
  }
}

/** Any cluster that KUBECONFIG names, Skylane's image already on its nodes (kind, or a real one). */
function foreign(image: string): Machine {
  const kubectlCommand = ["kubectl"];
  return {
    image,
    kubectlCommand,
    kubectl: (args, input) => capture("kubectl", args, input),
    down: () => Promise.resolve(),
  };
}

const numberOf = (node: string): string => node.replace(/^node/, "");

/** Where clusters of this machine live: `<CLUSTERS>/<PREFIX><process>`, so that runs do not meet. */
const CLUSTERS = "/var/tmp/skylane-cluster";
const PREFIX = "skc";

const script = `${TOOLS}/cluster.sh`;
const environment = (prefix: string) => ({ CLUSTER_DIR: `${CLUSTERS}/${prefix}`, CLUSTER_PREFIX: prefix });

/** Takes down the clusters of runs whose process is gone: it was killed, or told to keep its cluster. */
function sweep(): void {
  for (const name of existsSync(CLUSTERS) ? readdirSync(CLUSTERS) : []) {
    const pid = new RegExp(`^${PREFIX}(\\d+)$`).exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    execFileSync(script, ["down"], { stdio: "inherit", env: { ...process.env, ...environment(name) } });
    rmSync(`${CLUSTERS}/${name}`, { recursive: true, force: true });
  }
}

/** A cluster of namespaces on this machine: real etcd, API server, kubelets and containerd (machine/cluster.sh). */
async function local(nodes: number): Promise<Machine> {
  sweep();
  const prefix = `${PREFIX}${process.pid}`;
  const dir = `${CLUSTERS}/${prefix}`;
  const image = "docker.io/library/skylane:test";
  const archive = `${dir}/skylane.tar`;
  Object.assign(process.env, environment(prefix));
  const cluster = (...args: string[]) => capture(script, args);
  const say = (text: string) => console.log(`      ${text}`);
  /** Runs a command to its end, what it says on the way for all to see. */
  const through = async (command: string, ...args: string[]): Promise<void> => {
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"], cwd: ROOT });
    const [status, signal] = (await once(child, "close")) as [number | null, string | null];
    if (status !== 0) throw new Error(`${[command, ...args].join(" ")} ended with ${signal ?? `status ${status}`}`);
  };
  say(`Skylane's image, and a cluster of ${nodes} nodes meanwhile`);
  const prepared = [through(`${TOOLS}/build-image.sh`, image, archive), through(script, "up", String(nodes))];
  for (const one of await Promise.allSettled(prepared)) if (one.status === "rejected") throw one.reason;
  await through(script, "load", image, archive);
  const kubectlCommand = ["ip", "netns", "exec", `${prefix}-cp`, "kubectl", "--kubeconfig", `${dir}/admin.kubeconfig`];
  return {
    image,
    kubectlCommand,
    kubectl: (args, input) => capture(kubectlCommand[0] as string, [...kubectlCommand.slice(1), ...args], input),
    hardware: {
      at: (node, command) => cluster("node", numberOf(node), ...command),
      component: async (action, name) => void (await cluster(action, name)),
      powerOff: async (node) => void (await cluster("stop-node", numberOf(node))),
      powerOn: async (node, address) =>
        void (await cluster("start-node", numberOf(node), ...(address === undefined ? [] : [String(address)]))),
      addNode: async (number) => void (await cluster("add-node", String(number))),
      image: async (name, rootfs, entrypoint, argument = "") =>
        void (await cluster("image", name, rootfs, entrypoint, argument)),
    },
    down: async () => {
      await cluster("down");
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** The cluster of this run: SKYLANE_TEST_KUBECONFIG's (with SKYLANE_TEST_IMAGE), or one made on this machine. */
export async function openMachine(): Promise<Machine> {
  const given = process.env["SKYLANE_TEST_KUBECONFIG"];
  if (!given) return local(3);
  process.env["KUBECONFIG"] = given;
  return foreign(process.env["SKYLANE_TEST_IMAGE"] ?? "skylane:test");
}
