/**
 * The machine as the verbs see it when the agent serves them: the same as the plugin's own, but that nothing keeps the
 * event loop for longer than it must, and that what the plugin writes for the agent to read is taken at once.
 */
import { type Duration, type Host, ipamDir, realHost } from "../cni/index.ts";
import { Ipam } from "../ipam/index.ts";
import type { Logger } from "../log/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import { attachPodAsync, type DetachQueue, detachPod } from "../pod/index.ts";
import type { NameKeeper } from "./launcher-names.ts";
import type { Networks } from "./networks.ts";

/** What it needs of the agent. */
export interface ServingHostOptions {
  /** A conversation with this namespace, as patient as pods' links need it. */
  rtnl: Rtnl;
  queue: DetachQueue;
  networks: Networks;
  log: Logger;
  observe: (duration: Duration) => void;
}

/** The host of an agent, for one request. @param names where that request can have network namespaces named */
export const servingHost = ({ rtnl, queue, networks, log, observe }: ServingHostOptions, names: NameKeeper): Host => ({
  ...realHost,
  ipam: (config) => new Ipam({ dir: ipamDir(config), warn: (message) => log.warn(message) }),
  prepare: (request) => networks.prepare(request, names),
  left: (network) => networks.leaveIfEmpty(network, names),
  attachPod(spec) {
    if (spec.hostNetns === undefined) return attachPodAsync(spec, rtnl);
    const there = networks.rtnlAt(spec.hostNetns);
    return there ? attachPodAsync(spec, there) : realHost.attachPod(spec);
  },
  detachPod: (request) => (request.hostNetns === undefined ? queue.detach(request) : detachPod(request)),
  deviceUp: (name) => rtnl.link(name)?.up === true,
  recordDuration: (_runDir, duration) => observe(duration),
});
