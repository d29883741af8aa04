/**
 * What the agent published about the pod network, for ADD and STATUS: without it no pod can be given an
 * address, and the answer must say who writes it and when.
 */
import type { PublishedNetwork } from "../config/index.ts";
import type { NetConfig } from "./config.ts";
import { CniError, describeError } from "./errors.ts";
import type { Host } from "./host.ts";

/** @throws CniError with the code given when the network is not published, or what is published cannot be used. */
export function requirePublished(host: Host, config: NetConfig, code: number): PublishedNetwork {
  const { network, runDir } = config;
  const file = `${runDir}/${network}.json`;
  let published: PublishedNetwork | undefined;
  try {
    published = host.readPublished(runDir, network);
  } catch (error) {
    const message = `pod network "${network}" cannot be used yet: ${describeError(error)}`;
    throw new CniError(code, message, `skylane-agent on this node writes ${file} again at its next change.`, {
      cause: error,
    });
  }
  if (!published || published.podCidrs.length === 0) {
    throw new CniError(
      code,
      `pod network "${network}" is not ready on this node: ${file} is not there yet`,
      "skylane-agent writes it once this node has pod CIDRs and its data path works; see the agent's log and the Events of the Node.",
    );
  }
  return published;
}
