/** From what a pod asks for to what it is to have: which networks, whether it may have them, and the addresses of its claims there. */
import type { PrepareRequest } from "../cni/index.ts";
import type { AgentConfig } from "../config/index.ts";
import type { KubeClient } from "../kube/index.ts";
import { askedPod } from "./asking-pod.ts";
import { type OwnFacts, serviceCidrsOf } from "../nodes/index.ts";
import { type ClaimKeeper, withClaims } from "./pod-claims.ts";
import { allow, type Asked, inWords, type PreparedPod, selectionsOf } from "./network-selection.ts";
import type { Defined } from "../network-definitions/index.ts";
import { withPrimary } from "./primary.ts";

export interface Preparation {
  client: KubeClient;
  config: AgentConfig;
  defined: Defined;
  /** Undefined while nothing is known of this node. */
  own: OwnFacts | undefined;
  /** Makes networks ready on this node. @throws CniError, BlockError, ApiError */
  join: (networks: ReadonlySet<string>) => Promise<void>;
  keeperOf: (network: string) => ClaimKeeper | undefined;
}

/**
 * What a pod is to have, with every network of it ready on this node.
 * @throws CniError with the reason why it cannot have it
 */
export async function preparePod(
  { network, pod, attachment }: PrepareRequest,
  { client, config, defined, own, join, keeperOf }: Preparation,
): Promise<PreparedPod> {
  const isDefault = network === config.network;
  try {
    const { nodeName: node } = config;
    const place = { network, ifname: attachment.ifname };
    const asked: Asked =
      isDefault && pod ? await selectionsOf(client, defined, pod, { ...place, node }) : { additional: [] };
    if (!isDefault && pod) await askedPod(client, pod, node);
    // The default network, a pod may be in again: all nodes and namespaces have it.
    const wanted = isDefault
      ? asked.additional.map((one) => one.network).filter((name) => name !== network)
      : [network];
    await allow(client, defined, wanted, pod);
    const { additional, primary, uid } = asked;
    const turned = primary === undefined ? undefined : defined.accepted.get(primary);
    const prepared = turned
      ? withPrimary(additional, turned, {
          config: { ...config, serviceCidrs: await serviceCidrsOf(client, config.serviceCidrs) },
          own,
        })
      : { additional };
    await join(new Set(wanted));
    if (!pod) return prepared;
    const who = { pod, containerId: attachment.containerId };
    if (!isDefault) return { additional: [], own: (await withClaims([place], who, keeperOf))[0] ?? {} };
    return {
      ...prepared,
      additional: await withClaims(prepared.additional, who, keeperOf),
      ...(uid !== undefined && { uid }),
    };
  } catch (error) {
    throw inWords(error, pod ? `pod ${pod.namespace}/${pod.name}` : `container ${attachment.containerId}`);
  }
}
