/**
 * The part of kubelet that an overlay notices: it keeps a lease and the Node's status fresh, so that every watch of
 * Nodes sees the traffic of a real cluster, most of which changes nothing that matters. When the server is away it
 * goes on trying, and when the Node is gone it stops.
 */
import { ApiClient, type ApiAccess, ApiError } from "../api-client.ts";

/** Kubelet's node-status-update-frequency and lease renew interval (10 s each by default). */
const HEARTBEAT_MS = 10_000;
const RETRY_MS = 1000;

const LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const MERGE = "application/merge-patch+json";

/** Who reports, and what does not change between reports. */
export interface KubeletOptions {
  node: string;
  addresses: { type: string; address: string }[];
  api: ApiAccess;
  bootId: string;
  log: (text: string) => void;
}

export class Kubelet {
  readonly #options: KubeletOptions;
  readonly #client: ApiClient;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #reached: boolean | undefined;

  constructor(options: KubeletOptions) {
    this.#options = options;
    this.#client = new ApiClient(options.api);
  }

  start(): void {
    void this.#beat();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#client.close();
  }

  async #beat(): Promise<void> {
    const { node, log } = this.#options;
    let next = HEARTBEAT_MS;
    try {
      await this.#client.call("PATCH", `/api/v1/nodes/${node}/status`, { status: this.#status() }, MERGE);
      await this.#renewLease();
      if (this.#reached !== true) log("the API server takes this node's status");
      this.#reached = true;
    } catch (error) {
      if (this.#stopped) return;
      const gone = error instanceof ApiError && error.status === 404;
      if (this.#reached !== false || gone)
        log(`no heartbeat: ${error instanceof Error ? error.message : String(error)}`);
      this.#reached = false;
      next = RETRY_MS;
    }
    if (!this.#stopped) this.#timer = setTimeout(() => void this.#beat(), next);
  }

  #status(): Record<string, unknown> {
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const condition = (type: string, status: string, reason: string, message: string): Record<string, string> => ({
      type,
      status,
      reason,
      message,
      lastHeartbeatTime: now,
      lastTransitionTime: this.#started,
    });
    return {
      addresses: this.#options.addresses,
      capacity: { cpu: "4", memory: "16Gi", pods: "110" },
      allocatable: { cpu: "4", memory: "16Gi", pods: "110" },
      conditions: [
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
      ],
      nodeInfo: {
        bootID: this.#options.bootId,
        machineID: this.#options.node,
        systemUUID: this.#options.node,
        kernelVersion: "lab",
        osImage: "skylane lab",
        containerRuntimeVersion: "lab://1",
        kubeletVersion: "v1.36.2",
        kubeProxyVersion: "",
        operatingSystem: "linux",
        architecture: process.arch === "x64" ? "amd64" : process.arch,
      },
    };
  }

  readonly #started = new Date().toISOString().replace(/\.\d+Z$/, "Z");

  async #renewLease(): Promise<void> {
    const { node } = this.#options;
    const renewTime = new Date().toISOString().replace("Z", "000Z");
    const spec = { holderIdentity: node, leaseDurationSeconds: 40, renewTime };
    try {
      await this.#client.call("PATCH", `${LEASES}/${node}`, { spec }, MERGE);
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
      const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name: node }, spec };
      await this.#client.call("POST", LEASES, lease);
    }
  }
}
