/**
 * The machine as the verbs see it when the agent serves them: the same as the plugin's own, but that nothing keeps the
 * event loop for longer than it must, and that what the plugin writes for the agent to read is taken at once.
 */
import { type Duration, type Host, realHost, ipamDir } from "../cni/index.ts";
import { Ipam } from "../ipam/index.ts";
import type { Logger } from "../log/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import { attachPodAsync, type DetachQueue } from "../pod/index.ts";

/** What it needs of the agent. */
export interface ServingHostOptions {
  /** A conversation with this namespace, as patient as pods' links need it. */
  rtnl: Rtnl;
  queue: DetachQueue;
  log: Logger;
  observe: (duration: Duration) => void;
}

/** The host of an agent. */
export const servingHost = ({ rtnl, queue, log, observe }: ServingHostOptions): Host => ({
  ...realHost,
  ipam: (config) => new Ipam({ dir: ipamDir(config), warn: (message) => log.warn(message) }),
  attachPod: (spec) => attachPodAsync(spec, rtnl),
  detachPod: (request) => queue.detach(request),
  deviceUp: (name) => rtnl.link(name)?.up === true,
  recordDuration: (_runDir, duration) => observe(duration),
});
