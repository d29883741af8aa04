/**
 * The machine as the verbs see it when the agent serves them: the same as the plugin's own, but that nothing keeps the
 * event loop for longer than it must, that what was read and is still the same is not read again, and that what the plugin
 * writes for the agent to read is taken at once.
 */
import { type Duration, type Host, newAttachments, realHost, ipamDir } from "../cni/index.ts";
import { publishedReader } from "../config/index.ts";
import { Ipam } from "../ipam/index.ts";
import type { Logger } from "../log/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import { attachPodAsync, type DetachQueue, detachPod } from "../pod/index.ts";
import type { GoneFiles } from "../sys/index.ts";
import type { NameKeeper } from "./launcher-names.ts";
import type { NetworkStatusWriter } from "./network-status.ts";
import type { Networks } from "./networks.ts";

/** Name of the directory in the data directory in which records lie between their removal and the file system's. */
export const GONE = "gone";

/** What it needs of the agent. */
export interface ServingHostOptions {
  /** A conversation with this namespace, as patient as pods' links need it. */
  rtnl: Rtnl;
  queue: DetachQueue;
  networks: Networks;
  networkStatus: Pick<NetworkStatusWriter, "write">;
  gone: GoneFiles;
  log: Logger;
  observe: (duration: Duration) => void;
}

/** The host of an agent for each request. Its argument: where that request can have network namespaces named. */
export function servingHost({
  rtnl,
  queue,
  networks,
  networkStatus,
  gone,
  log,
  observe,
}: ServingHostOptions): (names: NameKeeper) => Host {
  const unlink = (path: string): void => gone.remove(path);
  const ipams = new Map<string, Ipam>();
  const ipamOf = (dir: string): Ipam => {
    const ipam = ipams.get(dir) ?? new Ipam({ dir, warn: (message) => log.warn(message), unlink });
    ipams.set(dir, ipam);
    return ipam;
  };
  const host: Host = {
    ...realHost,
    readPublished: publishedReader(),
    ipam: (config) => ipamOf(ipamDir(config)),
    attachments: (config) => newAttachments(config, unlink),
    attachPod(spec) {
      if (spec.hostNetns === undefined) return attachPodAsync(spec, rtnl);
      const there = networks.rtnlAt(spec.hostNetns);
      return there ? attachPodAsync(spec, there) : realHost.attachPod(spec);
    },
    detachPod: (request) => (request.hostNetns === undefined ? queue.detach(request) : detachPod(request)),
    deviceUp: (name, netns) => (netns === undefined ? rtnl : networks.rtnlAt(netns))?.link(name)?.up === true,
    recordDuration: (_runDir, duration) => observe(duration),
  };
  return (names) => ({
    ...host,
    async prepare(request) {
      const { uid, ...prepared } = await networks.prepare(request, names);
      const { pod } = request;
      if (!pod || uid === undefined || prepared.further.length === 0) return prepared;
      return { ...prepared, attached: (made) => networkStatus.write({ ...pod, uid }, made) };
    },
    linked: (attachment) => networks.linked(attachment),
    left: (network) => networks.leaveIfEmpty(network, names),
  });
}
