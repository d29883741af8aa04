/**
 * The agent's configuration: one schema with the default, the description and the allowed values of every key.
 * The file's keys, the command line's flags, docs/configuration.md and the texts of errors all come from it.
 */
import * as v from "valibot";
import {
  absolutePath,
  cidr,
  cidrList,
  interfaceName,
  interfacePattern,
  ip,
  ipList,
  listenAddress,
  mtu,
  networkName,
  nodeName,
  oneOf,
  publicIps,
  vni,
  whole,
} from "./fields.ts";

/** Words for log levels and formats; the same as src/log understands. */
const LEVELS = ["error", "warn", "info", "debug"] as const;
const FORMATS = ["text", "json"] as const;

const toggle = v.pipe(v.boolean(), v.metadata({ allowed: "`true` or `false`" }));

const chainedPlugin = v.pipe(
  v.looseObject({ type: v.pipe(v.string(), v.regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/), v.maxLength(64)) }),
  v.metadata({ allowed: "a CNI plugin configuration with at least `type`, the name of its executable" }),
);

const underlay = v.pipe(
  v.object({
    interface: v.optional(v.pipe(interfaceName, v.description("Take an address of the interface of this name."))),
    interfaceRegexp: v.optional(
      v.pipe(
        interfacePattern,
        v.description("Take an address of an interface whose whole name matches this regular expression."),
      ),
    ),
    cidr: v.optional(v.pipe(cidr, v.description("Take an address in this CIDR."))),
    canReach: v.optional(v.pipe(ip, v.description("Take the address from which the kernel would reach this one."))),
    publicIp: v.optional(
      v.pipe(
        publicIps,
        v.description(
          "Under which address the other nodes reach this one, where that is on none of its interfaces (1:1 NAT): `ExternalIP` is the one that the Node has in `status.addresses`. It says nothing about which interface is used. The annotation `skylane.dev/public-ip` on the Node overrides it.",
        ),
      ),
    ),
  }),
  v.description(
    "How this node's underlay address is chosen. With none of these keys: the Node's `InternalIP`. Several together: the address must fit them all. Among addresses that fit, an `InternalIP` of the Node comes first, then the one in use, then the one on the interface of the lowest index. The annotation `skylane.dev/underlay-ip` on the Node overrides everything here.",
  ),
);

const masquerade = v.pipe(
  v.object({
    enabled: v.optional(
      v.pipe(toggle, v.description("Give pod traffic that leaves the cluster the node's address as its source.")),
      true,
    ),
    exclude: v.optional(
      v.pipe(
        cidrList,
        v.description(
          "Destinations outside the cluster that pods reach under their own address, such as routed data centre networks. Link-local addresses beyond the node, such as a cloud's 169.254.169.254, see the node's address unless `169.254.0.0/16` is here.",
        ),
      ),
      [],
    ),
  }),
  v.description("Source address translation of pod traffic that leaves the cluster."),
);

const metrics = v.pipe(
  v.object({
    listen: v.optional(
      v.pipe(listenAddress, v.description("Where `/metrics` alone is served to others than the node itself.")),
      "",
    ),
    allow: v.optional(
      v.pipe(
        cidrList,
        v.description(
          "Sources that may connect there. A pod's packets to another node have its own node's address, so this cannot tell pods apart; `tokenFile` can.",
        ),
      ),
      [],
    ),
    tokenFile: v.optional(
      v.pipe(
        absolutePath,
        v.description(
          "File with a token that requests must carry (`Authorization: Bearer`), read anew when it changes. Without a readable one, all are refused.",
        ),
      ),
    ),
  }),
  v.check(
    ({ listen, allow, tokenFile }) => listen === "" || allow.length > 0 || tokenFile !== undefined,
    'with `listen`, one of `tokenFile` and `allow` says who may ask; `allow: [0.0.0.0/0, "::/0"]` is everybody',
  ),
  v.description("Metrics for a Prometheus that does not run on the node's own network."),
);

const cni = v.pipe(
  v.object({
    confDir: v.optional(
      v.pipe(absolutePath, v.description("Directory in which the container runtime looks for CNI configurations.")),
      "/etc/cni/net.d",
    ),
    confName: v.optional(
      v.pipe(
        v.string(),
        v.maxLength(64),
        v.regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]*\.conflist$/),
        v.metadata({ allowed: "a file name ending in `.conflist`" }),
        v.description("File that the agent writes there once the data path works. Runtimes use the first one by name."),
      ),
      "10-skylane.conflist",
    ),
    binDir: v.optional(
      v.pipe(absolutePath, v.description("Directory of the CNI executables, where chained plugins are looked for.")),
      "/opt/cni/bin",
    ),
    install: v.optional(
      v.pipe(
        toggle,
        v.description(
          "Keep the CNI executable installed in `cni.binDir`, as `skylanectl install-cni` does it. `false`: only where it has been installed so.",
        ),
      ),
      false,
    ),
    chained: v.optional(
      v.pipe(
        v.union([v.literal("auto"), v.pipe(v.array(chainedPlugin), v.maxLength(16))]),
        v.metadata({ allowed: "`auto`, or a list of up to 16 CNI plugin configurations, each with `type`" }),
        v.description(
          "Plugins that run after skylane for every pod. `auto`: with `hostPorts: portmap` that plugin, when its executable is in `cni.binDir`, else none; `[]`: none.",
        ),
      ),
      "auto",
    ),
  }),
  v.description("What the agent writes for the container runtime."),
);

/** The schema. Order is the order of the documentation. */
export const AgentSchema = v.pipe(
  v.object({
    nodeName: v.pipe(
      nodeName,
      v.description(
        "Name of this machine's Node object; also `NODE_NAME` in the environment (in a DaemonSet: `spec.nodeName` through the downward API).",
      ),
    ),
    kubeconfig: v.optional(
      v.pipe(
        absolutePath,
        v.description(
          "kubeconfig file for the API server; also `KUBECONFIG` in the environment. Without it: the Pod's service account.",
        ),
      ),
    ),
    network: v.optional(v.pipe(networkName, v.description("Name of the pod network.")), "default"),
    vni: v.optional(
      v.pipe(
        v.union([v.literal("auto"), vni]),
        v.metadata({ allowed: "`auto`, or a whole number from 1 to 16777215" }),
        v.description(
          "VXLAN network identifier. `auto`: the one that this node has already, else the one that most other nodes have of 4096 (the default of former releases) and 759, else 759. The device is called `sky.<vni>`.",
        ),
      ),
      "auto",
    ),
    port: v.optional(
      v.pipe(
        whole(1, 65_535),
        v.description("UDP port of VXLAN packets, the same on all nodes; 4789 is IANA's, flannel uses 8472."),
      ),
      4789,
    ),
    mtu: v.optional(
      v.pipe(
        v.union([v.literal("auto"), mtu]),
        v.metadata({ allowed: "`auto`, or a whole number from 576 to 65535 bytes (1280 at least for pods with IPv6)" }),
        v.description(
          "MTU of the overlay and of pods. `auto`: the underlay interface's less 50 bytes (IPv4 underlay) or 70 (IPv6), with `encryption` 110 or 150, followed when it changes.",
        ),
      ),
      "auto",
    ),
    clusterCidrs: v.optional(
      v.pipe(
        cidrList,
        v.description(
          "Pod CIDRs of the whole cluster, both families. Traffic to them is never masqueraded, and peers outside them are refused. A family without one is not restricted, and every peer's own pod CIDRs count.",
        ),
      ),
      [],
    ),
    serviceCidrs: v.optional(
      v.pipe(
        cidrList,
        v.description(
          "CIDRs of the cluster's Services, both families (kube-apiserver's `--service-cluster-ip-range`). Only for pods with `skylane.dev/primary-network`: they reach these through the default network. Without it: what the API server says, which Kubernetes 1.33 and later does.",
        ),
      ),
      [],
    ),
    dnsServers: v.optional(
      v.pipe(
        ipList,
        v.description(
          "Addresses of DNS servers whose answers open `domainNames` of ClusterNetworkPolicies, beside the cluster's own, which are pods with label `k8s-app: kube-dns` in kube-system: servers outside, a cache on each node, CoreDNS in the host's network.",
        ),
      ),
      [],
    ),
    masquerade: v.optional(masquerade, {}),
    directRouting: v.optional(
      v.pipe(
        oneOf(["off", "auto"]),
        v.description(
          "`auto`: pods of peers on the same segment of the underlay, which the kernel reaches without a gateway, are reached by a plain route instead of through the tunnel, where the peer is set to `auto` as well. Only in families with `clusterCidrs`, unless `masquerade.enabled` is `false`. The MTU of pods stays as it is.",
        ),
      ),
      "off",
    ),
    encryption: v.optional(
      v.pipe(
        oneOf(["off", "wireguard", "strict"]),
        v.description(
          "Whether what pods of all networks send to other nodes is encrypted, by the kernel's WireGuard. `wireguard`: to every node that can, and as before to those that cannot yet, so that it can be switched on one node after the other; `skylanectl status` says of each how it is. `strict`: nothing leaves this node, and nothing is taken from another one, but encrypted. A node whose kernel has no WireGuard is not ready, and says so. Not together with `directRouting: auto`.",
        ),
      ),
      "off",
    ),
    wireguardPort: v.optional(
      v.pipe(
        whole(1024, 65_532),
        v.description(
          "UDP port at which this node takes encrypted packets; nodes tell each other theirs. Firewalls between nodes must let it pass, and the three ports behind it where keys are changed (`encryptionKeyDays`, `skylanectl encryption rotate-key`).",
        ),
      ),
      51_871,
    ),
    encryptionKeyDays: v.optional(
      v.pipe(
        whole(0, 3_650),
        v.description(
          "After how many days this node goes over to another key for encryption, up to a tenth earlier, without a lost packet. 0: never by itself. Needs the three UDP ports behind `wireguardPort` as well, so it is off by default; the keys by which packets are encrypted change every two minutes whatever it is.",
        ),
      ),
      0,
    ),
    fastPath: v.optional(
      v.pipe(
        oneOf(["off", "auto"]),
        v.description(
          "`auto`: packets of connections that the kernel knows as established, and that nobody translates, pass between pods of the default network, and of routed pod networks, by eBPF programs, past routing and the packet filter; everything else goes the ordinary path, and all of it does where the kernel cannot (Linux 6.1 is the oldest that does; `skylanectl status` says why not). Sets `net.netfilter.nf_conntrack_tcp_be_liberal` to 1, there and in the namespaces of those networks. `off`: nothing of it is loaded.",
        ),
      ),
      "auto",
    ),
    probes: v.optional(
      v.pipe(
        oneOf(["on", "off"]),
        v.description(
          "`on`: the agent measures every peer of the default network by ICMP echo, in the tunnel and beside it: loss, latency, and whether packets of the full MTU pass. It sends 20 packets a second at most, however many nodes there are, and says in Events, metrics, `skylanectl probes` and `skylanectl doctor` what is wrong and where. `off`: nothing is sent but the self-test's own packets.",
        ),
      ),
      "off",
    ),
    flows: v.optional(
      v.pipe(
        oneOf(["on", "off"]),
        v.description(
          "`on`: the agent remembers the last 4,096 flows of pods in the default network and in routed pod networks, from events of the kernel's connection tracking, names the Services that were asked for, and counts flows by namespace: `skylanectl flows`. Of more than 500 events a second it takes a share, and says which. As long, the agent follows the cluster's Services, connections are followed in routed pod networks, and `net.netfilter.nf_conntrack_acct` and `net.netfilter.nf_conntrack_timestamp` are 1, there as well. `off`: nothing is listened to.",
        ),
      ),
      "off",
    ),
    hostPorts: v.optional(
      v.pipe(
        oneOf(["own", "portmap"]),
        v.description(
          "Who maps `hostPort` of pods. `own`: Skylane, in a table of its own; with `cni.chained: auto` the plugin `portmap` is chained only as long as pods run that came before. `portmap`: that plugin, chained by `cni.chained`. A plugin of `cni.chained` with capability `portMappings` has them in any case. Pods that run keep what they have.",
        ),
      ),
      "own",
    ),
    bandwidth: v.optional(
      v.pipe(
        oneOf(["own", "off"]),
        v.description(
          "Who limits what pods receive and send (annotations `kubernetes.io/ingress-bandwidth` and `kubernetes.io/egress-bandwidth`). `own`: Skylane, and a changed annotation holds at once; the agent watches the metadata of its own node's Pods for that. `off`: nobody, or a plugin of `cni.chained`; one with capability `bandwidth` has it in any case. Pods that are limited already stay so until they go.",
        ),
      ),
      "own",
    ),
    underlay: v.optional(underlay, {}),
    txChecksum: v.optional(
      v.pipe(
        oneOf(["auto", "on", "off"]),
        v.description(
          "Transmit checksum offload of the VXLAN device. `auto`: off where kernels are known to corrupt NodePort traffic over VXLAN with it.",
        ),
      ),
      "auto",
    ),
    listen: v.optional(
      v.pipe(
        listenAddress,
        v.description(
          "Where `/healthz`, `/readyz` and `/metrics` are served over HTTP to the node itself. On an address that pods reach, all of them may ask: see `metrics`.",
        ),
      ),
      "127.0.0.1:9473",
    ),
    metrics: v.optional(metrics, {}),
    logLevel: v.optional(v.pipe(oneOf(LEVELS), v.description("Least important level that is logged.")), "info"),
    logFormat: v.optional(
      v.pipe(oneOf(FORMATS), v.description("`text`: a line for people; `json`: one JSON object a line.")),
      "text",
    ),
    gcInterval: v.optional(
      v.pipe(
        whole(10, 86_400, " seconds"),
        v.description("How often the agent looks for addresses of pods that are provably gone, in seconds."),
      ),
      300,
    ),
    runDir: v.optional(
      v.pipe(
        absolutePath,
        v.description("State that does not outlive a reboot: what the CNI plugin reads, the agent's socket."),
      ),
      "/run/skylane",
    ),
    dataDir: v.optional(
      v.pipe(absolutePath, v.description("State that does: address reservations and the last known peers.")),
      "/var/lib/cni/skylane",
    ),
    cni: v.optional(cni, {}),
  }),
  v.forward(
    v.check(
      ({ encryption, directRouting }) => encryption === "off" || directRouting === "off",
      "with `encryption`, packets of pods go to all nodes through the tunnel, which is what is encrypted; set `directRouting: off`",
    ),
    ["directRouting"],
  ),
  v.forward(
    v.check(
      ({ encryption, wireguardPort, port }) => encryption === "off" || port < wireguardPort || port > wireguardPort + 3,
      "is the port of VXLAN, too (`port`), or that is among the three behind it",
    ),
    ["wireguardPort"],
  ),
);

/** A complete, checked configuration: every key that has a default is present. */
export type AgentConfig = v.InferOutput<typeof AgentSchema>;
