/** Does the agent run, is it content, and do the ports and files that it needs belong to it? */
import { tunnelOverhead } from "../../../dataplane/vxlan/index.ts";
import type { AgentStatus, NetworkStatus } from "../../../observe/index.ts";
import { type Facts, networkOf } from "../facts.ts";
import { fail, type Finding, ok, skip, some, warn } from "../finding.ts";
import { judgeVxlanPort } from "./judge-vxlan.ts";

function agent(facts: Facts): Finding[] {
  const { agent: looked, installed } = facts;
  if ("error" in looked) {
    if (!installed)
      return [skip("agent", "Skylane is not installed on this node; what follows says whether it could be")];
    return [
      fail(
        "agent",
        looked.error,
        "Pods and packets go on as they are, but nothing follows changes of the cluster and nothing is repaired.",
        "kubectl -n skylane-system get pods -o wide, and the log of this node's pod.",
      ),
    ];
  }
  const { ready, api, version } = looked.value;
  const failing = ready.checks.filter((check) => !check.ok);
  const network = networkOf(facts);
  // What the device cannot have is said of the device.
  const errors = network?.error === undefined ? (network?.peers.filter(({ state }) => state === "error") ?? []) : [];
  const refused = network?.refused ?? [];
  return [
    failing.length === 0
      ? ok("agent", `${version}, ready`)
      : fail(
          "agent",
          `not ready: ${some(failing.map(({ name, message }) => `${name}: ${message}`))}`,
          "No new pods, or a part of the data path is missing.",
          "skylanectl status shows all of it; docs/troubleshooting.md goes through the reasons.",
        ),
    api.state === "synced"
      ? ok("agent.api", "in step with the API server")
      : warn(
          "agent.api",
          `${api.state}${api.error === undefined ? "" : `: ${api.error}`}`,
          "The data path stays as it is; nodes that come or go meanwhile are not seen.",
          "See to the API server, and to the way from this node to it.",
        ),
    ...(errors.length > 0
      ? [
          fail(
            "agent.peers",
            some(errors.map(({ node, error }) => `${node}: ${error ?? "not in the kernel"}`)),
            "The kernel refuses the entries of these peers: pods there are not reached.",
            "The text is the kernel's own; the agent tries again with growing pauses.",
          ),
        ]
      : []),
    ...preferred(looked.value),
    ...outside(network),
    ...(refused.length > 0
      ? [
          warn(
            "agent.refused",
            some(refused.map(({ node, reason }) => `${node} (${reason})`)),
            "These Nodes publish something impossible, so pods there are not reached; all others are.",
            "skylanectl status has the whole reason of each; docs/troubleshooting.md has the cures.",
          ),
        ]
      : []),
  ];
}

/** Other Nodes that get what is this node's as well, in any network. */
function preferred({ networks }: AgentStatus): Finding[] {
  const losses = networks.flatMap(({ network, losses = [] }) => losses.map((loss) => ({ network, ...loss })));
  if (losses.length === 0) return [];
  const nodes = [...new Set(losses.map(({ node }) => node))];
  return [
    fail(
      "agent.preferred",
      `the other nodes prefer ${some(nodes)} to this node: ${some(losses.map(({ network, message }) => `${message} (network ${network})`))}`,
      "Two Nodes claim the same, and the others give it to that one: they refuse this node, whose pods get no packets from pods elsewhere.",
      `If that Node's machine is gone: kubectl delete node ${nodes.join(" ")}. If it runs, give one of the two machines another address (or its own name, MAC address or pod CIDR).`,
    ),
  ];
}

function outside(network: NetworkStatus | undefined): Finding[] {
  const pods = network?.outside ?? [];
  if (pods.length === 0) return [];
  return [
    fail(
      "agent.outside",
      some(
        pods.map(({ pod, ip, why }) => `${pod} has ${ip}, ${why}`),
        10,
      ),
      "The Node got another pod CIDR while these pods ran: the other nodes no longer send these addresses here, and another node's pods may get them.",
      "Delete these pods, so that their controllers make them again: kubectl -n NAMESPACE delete pod NAME.",
    ),
  ];
}

function listenPort({ settings, listen, agent: looked }: Facts): Finding {
  const name = "port.listen";
  const { listen: address } = settings;
  if (listen === undefined) return skip(name, "nothing is to be served over TCP (listen is empty)");
  if (listen === "agent") return ok(name, `the agent answers on ${address}`);
  if (listen === "nobody" && "error" in looked) return ok(name, `${address} is free`);
  return fail(
    name,
    listen === "other" ? `another process answers on ${address}` : `nobody answers on ${address}`,
    "The kubelet's probes and Prometheus do not reach the agent: its pod does not become Ready, or is restarted.",
    `End what has the port (ss -tlnp 'sport = :${address.split(":").at(-1)}'), or set listen (Helm: listenPort).`,
  );
}

function device(facts: Facts): Finding[] {
  const network = networkOf(facts);
  if (!network) return [];
  const link = facts.links.find(({ name }) => name === network.device);
  const index = facts.addresses.find(({ ip }) => ip === network.underlayIp)?.ifindex;
  const uplink = facts.links.find((other) => other.index === index);
  if (!link?.up)
    return [
      fail(
        "device",
        `${network.device} is ${link ? "down" : "missing"}`,
        "There is no tunnel.",
        "The agent makes it at once; if it stays so, its log says what the kernel answers.",
      ),
    ];
  const overhead = tunnelOverhead(network);
  const ipv6 = network.podCidrs.some((cidr) => cidr.includes(":"));
  if (ipv6 && link.mtu < IPV6_LEAST) {
    const tooNarrow = uplink !== undefined && !uplink.loopback && uplink.mtu < IPV6_LEAST + overhead;
    return [
      fail(
        "device",
        `${link.name} has MTU ${link.mtu}, under the ${IPV6_LEAST} bytes that IPv6 needs${uplink ? `, over ${uplink.name} with ${uplink.mtu}` : ""}`,
        "The kernel has taken IPv6 off the device: pods have none, and new ones cannot be made.",
        tooNarrow
          ? `Raise the MTU of ${uplink.name} to ${IPV6_LEAST + overhead} at least (ip link set ${uplink.name} mtu ${IPV6_LEAST + overhead}, and where the system keeps it). IPv6 comes back by itself.`
          : `Set mtu to auto, or to ${IPV6_LEAST} at least, and restart the agent.`,
      ),
    ];
  }
  if (uplink && !uplink.loopback && link.mtu > uplink.mtu - overhead)
    return [
      warn(
        "device",
        `${link.name} has MTU ${link.mtu}, but ${uplink.name} carries ${uplink.mtu} less ${overhead}`,
        "Large packets of pods are fragmented or lost.",
        `Set mtu to auto, or to ${uplink.mtu - overhead} at most.`,
      ),
    ];
  return [
    ok("device", `${link.name} is up, MTU ${link.mtu}${uplink ? ` over ${uplink.name} with ${uplink.mtu}` : ""}`),
  ];
}

function files({ settings, confFiles, executable, agent: looked }: Facts): Finding[] {
  const { confDir, confName, binDir } = settings;
  const found: Finding[] = [];
  if ("error" in confFiles) found.push(skip("cni.configuration", confFiles.error));
  else {
    const at = confFiles.value.indexOf(confName);
    const before = at < 0 ? confFiles.value : confFiles.value.slice(0, at);
    const after = at < 0 ? [] : confFiles.value.slice(at + 1);
    if (before.length > 0 && (at >= 0 || "value" in looked))
      found.push(
        fail(
          "cni.configuration",
          `${some(before)} in ${confDir} ${at < 0 ? "is there, ours is not" : `sorts before ${confName}`}`,
          "The container runtime uses the first file by name: pods are given to another plugin.",
          `Move it away (mv ${confDir}/${before[0]} /root/), then restart the pods that it has made.`,
        ),
      );
    else if (at < 0 && before.length > 0)
      found.push(
        warn(
          "cni.configuration",
          `${some(before)} in ${confDir}`,
          `Another CNI plugin is set up; it stays in charge where its file sorts before ${confName}.`,
          "docs/operations.md: moving from flannel; the steps are the same for others.",
        ),
      );
    else if (at < 0 && "value" in looked && looked.value.ready.checks.some(({ name, ok }) => !ok && name !== "cni"))
      found.push(
        skip(
          "cni.configuration",
          `${confName} is not in ${confDir} yet: it waits for what keeps the agent from being ready`,
        ),
      );
    else if (at < 0 && "value" in looked)
      found.push(
        fail(
          "cni.configuration",
          `${confName} is not in ${confDir}`,
          "The kubelet says that the network is not ready; no pod starts.",
          "It appears once the data path works: skylanectl status says what is missing.",
        ),
      );
    else if (after.length > 0)
      found.push(
        warn(
          "cni.configuration",
          `${confName} is the first; ${some(after)} after it in ${confDir}`,
          "Unused, but it would be used at once if ours went.",
          "Remove it when nothing of that plugin is left.",
        ),
      );
    else
      found.push(
        ok("cni.configuration", at < 0 ? `nothing in ${confDir}` : `${confName} is the only one in ${confDir}`),
      );
  }
  if ("value" in looked)
    found.push(
      executable
        ? ok("cni.executable", `${binDir}/skylane is there`)
        : warn(
            "cni.executable",
            `${binDir}/skylane is missing`,
            'Unless the runtime looks in another directory, no pod starts: failed to find plugin "skylane" in path.',
            "Delete this node's pod of the DaemonSet (its init container installs it), or run skylanectl install-cni.",
          ),
    );
  return found;
}

/** The least MTU that IPv6 works with (RFC 8200, section 5). */
const IPV6_LEAST = 1280;

/** All about the agent, its device, its ports and its files. */
export const judgeAgent = (facts: Facts): Finding[] => [
  ...agent(facts),
  ...device(facts),
  judgeVxlanPort(facts),
  listenPort(facts),
  ...files(facts),
];
