/**
 * The machine as the verbs see it when the agent serves them: the same as the plugin's own, but that nothing keeps the
 * event loop for longer than it must, that what was read and is still the same is not read again, and that what the plugin
 * writes for the agent to read is taken at once.
 */
import { type AskingPod, type Duration, type Host, newAttachments, realHost, ipamDir } from "../cni/index.ts";
import { publishedReader } from "../config/index.ts";
import { Ipam } from "../ipam/local/index.ts";
import type { Logger } from "../log/index.ts";
import { type GoneFiles, netnsIdentity } from "../sys/index.ts";
import type { NetnsMounter } from "../dataplane/netns/index.ts";
import type { PolicyEngine } from "../enforcement/index.ts";
import type { EgressGateways } from "../egress/index.ts";
import type { BandwidthKeeper } from "../dataplane/bandwidth/index.ts";
import type { HostPortKeeper } from "../dataplane/host-ports/index.ts";
import type { NetworkStatusWriter } from "../pod-requests/index.ts";
import type { Networks } from "../instances/index.ts";
import type { PodLinks } from "../host-ends/index.ts";
import { Sandboxes, type SandboxesOptions } from "./sandboxes.ts";
import { leadsToPod, type PodLink, type PodLinkSpec } from "../dataplane/pod-link/index.ts";

/** Name of the directory in the data directory in which records lie between their removal and the file system's. */
export const GONE = "gone";

/** What it needs of the agent. */
export interface ServingHostOptions {
  config: SandboxesOptions["config"];
  /** In the agent's own namespace, which is the host's. */
  own: Pick<PodLinks, "rtnl" | "attach" | "queue">;
  networks: Pick<Networks, "linksAt" | "uses" | "owns" | "joinable" | "prepare" | "linked" | "leaveIfEmpty">;
  networkStatus: Pick<NetworkStatusWriter, "write">;
  hostPorts: Pick<HostPortKeeper, "map" | "unmap" | "differences" | "require">;
  bandwidth: Pick<BandwidthKeeper, "limit" | "unlimit" | "differences">;
  policies: Pick<PolicyEngine, "ready" | "require" | "admit" | "released">;
  egress: Pick<EgressGateways, "admit" | "released">;
  gone: GoneFiles;
  log: Logger;
  observe: (duration: Duration) => void;
}

/** The host of an agent for each request. Its argument: where that request can have network namespaces named. */
export function servingHost({
  config,
  own,
  networks,
  networkStatus,
  hostPorts,
  bandwidth,
  policies,
  egress,
  gone,
  log,
  observe,
}: ServingHostOptions): (names: NetnsMounter) => Host {
  const unlink = (path: string): void => gone.remove(path);
  const ipams = new Map<string, Ipam>();
  const ipamOf = (dir: string): Ipam => {
    const ipam = ipams.get(dir) ?? new Ipam({ dir, warn: (message) => log.warn(message), unlink });
    ipams.set(dir, ipam);
    return ipam;
  };
  const linksAt = (hostNetns?: string): ServingHostOptions["own"] | undefined =>
    hostNetns === undefined ? own : networks.linksAt(hostNetns);
  const hostEnd: SandboxesOptions["hostEnd"] = (name, hostNetns) => linksAt(hostNetns)?.rtnl.link(name);
  const sandboxes = new Sandboxes({ config, hostEnd });
  const attach = async (spec: PodLinkSpec, before?: Promise<unknown>): Promise<PodLink> => {
    const links = linksAt(spec.hostNetns);
    if (links) return await links.attach(spec, before);
    await before;
    return realHost.attachPod(spec);
  };
  const host: Host = {
    ...realHost,
    // a pod network's namespace is the host's as well, and no pod's sandbox
    isOwnNetns: (path) => realHost.isOwnNetns(path) || networks.owns(netnsIdentity(path)),
    readPublished: publishedReader(),
    ipam: (config) => ipamOf(ipamDir(config)),
    attachments: (config) => newAttachments(config, unlink),
    attachPod: (spec) => attach(spec),
    // A network that this node has left, or that nobody defines any more, has none here.
    async detachPod(request) {
      await (linksAt(request.hostNetns)?.queue.detach(request) ?? realHost.detachPod(request));
      policies.released(request);
      egress.released(request);
    },
    inUse: (network, hostNetns) => {
      const links = linksAt(hostNetns);
      return (ip) => (links !== undefined && leadsToPod(links.rtnl, ip)) || networks.uses(network, ip);
    },
    hostPorts: () => hostPorts,
    bandwidth: () => bandwidth,
    deviceUp: (name, netns) => linksAt(netns)?.rtnl.link(name)?.up === true,
    recordDuration: (_runDir, duration) => observe(duration),
  };
  return (names) => {
    /** The pod that this request is for. */
    let asking: AskingPod | undefined;
    return {
      ...host,
      async prepare(request) {
        sandboxes.requireFree(request);
        const { pod } = request;
        asking = pod;
        if (request.network === config.network) await policies.ready(pod);
        const { uid, ...prepared } = await networks.prepare(request, names);
        if (!pod || uid === undefined || prepared.additional.length === 0) return prepared;
        return { ...prepared, attached: (made) => networkStatus.write({ ...pod, uid }, made) };
      },
      async attachPod(spec) {
        if (!asking) return await host.attachPod(spec);
        const admitted = policies.admit(spec, asking, spec.addresses);
        const judged = Promise.allSettled([admitted]);
        try {
          await egress.admit(spec, asking, spec.addresses);
          // The pair of devices is made while the kernel gets the rules.
          return await attach(spec, admitted);
        } catch (error) {
          await judged;
          policies.released(spec);
          egress.released(spec);
          throw error;
        }
      },
      requireOwn: (attachment, netns) => sandboxes.requireOwn(attachment, netns),
      joinable(network) {
        policies.require(network);
        if (network === config.network) hostPorts.require();
        return networks.joinable(network);
      },
      linked: (attachment) => networks.linked(attachment),
      left: (network) => networks.leaveIfEmpty(network, names),
    };
  };
}
