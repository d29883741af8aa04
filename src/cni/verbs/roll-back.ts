/**
 * Taking an attachment back: its host ports, its link, its limits, its addresses, its record, in this order, so that an address is free only
 * when nothing answers to it any more and the record goes only when nothing else is left. One function for DEL,
 * for GC and for an ADD that failed. Each step is tried even when one before it failed; nothing of it needs the
 * sandbox, the agent, or that the step was ever done.
 */
import type { NetConfig } from "../spec/config.ts";
import type { Delegate } from "../delegate.ts";
import type { Attachment, Environment } from "../spec/environment.ts";
import { CniError } from "../spec/errors.ts";
import type { Place } from "./additional-interfaces.ts";
import type { Host } from "../host.ts";
import { toCniError } from "./translate.ts";

/** What to take back. */
export interface TakeBack {
  host: Host;
  config: Pick<NetConfig, "dataDir" | "network">;
  attachment: Attachment;
  /** The sandbox, if it may be entered. */
  netns?: string;
  /** The interface is not ours: ADD met one of that name. */
  keepLink?: boolean;
  /** The IPAM plugin that gave the addresses; undefined or a throw when it is asked for: see del.ts. */
  delegate?: () => Delegate | undefined;
  /** Variables that differ from the request's for the delegated plugin, when GC speaks of another attachment. */
  env?: Environment;
}

/** @throws CniError naming everything that could not be removed; the record then stays for the next try. */
export async function rollBack({ host, config, attachment, netns, keepLink, delegate, env }: TakeBack): Promise<void> {
  const failures: CniError[] = [];
  const attempt = async (step: () => void | Promise<void>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      failures.push(toCniError(error));
    }
  };
  const { more = [], hostNetns, bySource, sourceTable } = host.attachments(config).find(attachment) ?? {};
  // At once: with its last pod a node leaves a network, which takes a while, and of networks a pod may have thirty.
  await Promise.all(more.map((place) => attempt(() => rollBackAdditional({ host, config, attachment, netns }, place))));
  // As long as a port leads to its addresses, they are in use.
  await attempt(() => host.hostPorts(config).unmap(attachment));
  const where = { ...(netns && { netns }), ...(hostNetns && { hostNetns }) };
  if (!keepLink) await attempt(() => host.detachPod({ ...attachment, ...where }));
  await attempt(() => host.bandwidth(config).unlimit(attachment));
  if (bySource && netns) await attempt(() => host.forgetSource(netns, sourceTable));
  const detached = failures.length === 0;
  // An address whose interface is still there is still in use.
  if (detached) await attempt(() => void host.ipam(config).release(attachment));
  if (detached && delegate) await attempt(() => delegate()?.del(env));
  if (failures.length === 0) await attempt(() => host.attachments(config).end(attachment));
  if (failures.length === 0) await attempt(() => host.left?.(config.network));
  const [first, ...others] = failures;
  if (!first) return;
  const what = `container ${attachment.containerId} interface ${attachment.ifname}: ${first.message}`;
  const details = [first.details, ...others.map(({ message }) => message)].filter(Boolean).join(" ");
  throw new CniError(first.code, what, details, { cause: first });
}

/** One that belongs to the attachment. Where it has no record it was not made, and what is there is somebody else's. */
async function rollBackAdditional(
  { host, config, attachment: { containerId }, netns }: Pick<TakeBack, "host" | "config" | "attachment" | "netns">,
  { network, ifname }: Place,
): Promise<void> {
  const attachment = { containerId, ifname };
  const there = { dataDir: config.dataDir, network };
  if (host.attachments(there).find(attachment))
    await rollBack({ host, config: there, attachment, ...(netns && { netns }) });
}
