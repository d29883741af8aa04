/** The addresses of claims, for the interfaces of a pod that has some. */
import { CniError, CODE, type AdditionalInterface, type PrepareRequest, type Wanted } from "../cni/index.ts";
import { type Claims, type ClaimingPod, holderOf } from "../ipam/claims/index.ts";
import { BlockError } from "../ipam/blocks/index.ts";
import type { ClaimUse } from "../workloads/index.ts";
import { isStatic } from "./asking-pod.ts";
import type { NetworkSelection } from "../crd/index.ts";

type Pod = NonNullable<PrepareRequest["pod"]>;

/** Who knows the claims of a network. */
export interface ClaimKeeper {
  /** What a pod's claim gives; undefined when it has none. @throws BlockError, CniError */
  claim(pod: ClaimingPod, standby: boolean): Promise<Wanted | undefined>;
  /** The MAC address of an interface that has no claim and asks for none; undefined: any. */
  macOf(containerId: string, ifname: string): string | undefined;
}

/**
 * The interfaces with the addresses of the pod's claims, and MAC addresses where their networks say which.
 * @param keeperOf of each network @throws BlockError, CniError
 */
export async function withClaims(
  selections: readonly (NetworkSelection & AdditionalInterface)[],
  { pod, containerId }: { pod: Pod; containerId: string },
  keeperOf: (network: string) => ClaimKeeper | undefined,
): Promise<AdditionalInterface[]> {
  const all: AdditionalInterface[] = [];
  for (const { claim: claimName, standby = false, ...selection } of selections) {
    const who = {
      namespace: pod.namespace,
      podName: pod.name,
      // Of a static pod, the API server has a mirror with another uid.
      ...(pod.uid !== undefined && !isStatic(pod) && { podUid: pod.uid }),
      ...(claimName !== undefined && { claimName }),
    };
    const keeper = keeperOf(selection.network);
    const claimed = await keeper?.claim(who, standby);
    if (claimed) refuseOther(selection, claimed);
    const mac = claimed ? undefined : (selection.mac ?? keeper?.macOf(containerId, selection.ifname));
    all.push({ ...selection, ...(mac !== undefined && { mac }), ...claimed });
  }
  return all;
}

/** Whoever asks for an address beside a claim means one of them, and cannot have both. */
function refuseOther({ network, ips = [], mac }: AdditionalInterface, claimed: Wanted): void {
  const { namespace, name } = holderOf(claimed.claim ?? "");
  const other = ips.find((ip) => !claimed.ips?.includes(ip)) ?? (mac !== claimed.mac ? mac : undefined);
  if (other === undefined) return;
  throw new CniError(
    CODE.notAllowed,
    `it asks for ${other} in network "${network}", but its IPClaim ${namespace}/${name} has ${[...(claimed.ips ?? []), claimed.mac].join(" ")}`,
    "Leave the address out of the annotation, or delete the claim.",
  );
}

/**
 * What the claims of a network give to a pod, with its use of them written down.
 * @param node the name of this one @throws BlockError, CniError
 */
export async function claimFor(
  claims: Claims,
  node: string,
  pod: ClaimingPod,
  standby: boolean,
): Promise<Wanted | undefined> {
  const claimed = await claims.forPod(pod);
  if (!claimed) return undefined;
  const { claim, ips, mac, heldBy } = claimed;
  const waits = standby && heldBy?.alive === true;
  // Two ends with one address and MAC on one node could not be told from each other.
  if (waits && heldBy.node === node) {
    const { namespace, name } = holderOf(claim);
    throw new CniError(
      CODE.notAllowed,
      `IPClaim ${namespace}/${name} is in use by pod ${heldBy.pod} on this very node, ${node}, and a pod on standby is for another one`,
      "Start it on another node, as with anti-affinity to that pod.",
    );
  }
  if (!waits) await claims.use({ claim, pod: pod.podName, podUid: pod.podUid });
  return { ips, mac, claim, standby: waits };
}

/** A pod on standby has begun to send: the claim is its own now. @param use as the attachment's record has it. @throws BlockError */
export async function transferClaim(claims: Claims, use: ClaimUse): Promise<void> {
  const { namespace, name } = holderOf(use.holder);
  const claimed = await claims.forPod({ namespace, podName: use.pod, claimName: name });
  if (claimed?.claim !== use.holder)
    throw new BlockError("refused", `IPClaim ${namespace}/${name} is another one by now than pod ${use.pod} was given`);
  const { heldBy } = claimed;
  await claims.use({ claim: use.holder, pod: use.pod, podUid: use.uid, ...(heldBy && { from: heldBy }) });
}
