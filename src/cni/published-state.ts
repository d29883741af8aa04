/**
 * What the agent published about the pod network, for ADD and STATUS: without it no pod can be given an
 * address, and the answer must say who writes it and when.
 */
import type { PublishedNetwork } from "../config/index.ts";
import type { NetConfig } from "./spec/config.ts";
import { CniError, CODE, describeError } from "./spec/errors.ts";
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

/** @throws CniError 51 when pods would lack a family because of the MTU, which is no fault of the configuration's. */
export function requireWide({ network, narrow }: PublishedNetwork): void {
  if (narrow === undefined) return;
  throw new CniError(
    CODE.limited,
    `pods of network "${network}" cannot have IPv6 on this node: ${narrow}`,
    "They come as soon as it is large enough; skylanectl doctor on this node looks at the way to each peer.",
  );
}
