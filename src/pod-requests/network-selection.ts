/** Whether a pod may have the networks that it asks for; the answers that it gets when it may not. */
import { cidrsOverlap } from "../addr/index.ts";
import { CniError, CODE, type Prepared, type PrepareRequest } from "../cni/index.ts";
import { BlockError } from "../ipam/blocks/index.ts";
import { askedPod } from "./asking-pod.ts";
import { beingDeleted, type Defined } from "../network-definitions/index.ts";
import { ApiError, getMeta, type KubeClient, NAMESPACES } from "../kube/index.ts";
import {
  matchesSelector,
  primaryNetwork,
  readSelections,
  type NetworkSelection,
  SelectionError,
} from "../crd/index.ts";

type Pod = NonNullable<PrepareRequest["pod"]>;

/** What a pod asks for. */
export interface Asked {
  additional: NetworkSelection[];
  /** The network of its default route, which one of the additional interfaces is in; absent: the default one. */
  primary?: string;
  /** The pod as the API server knows it. */
  uid?: string;
}

/** What a pod is to have, and which it is where it asked for anything. */
export type PreparedPod = Prepared & Pick<Asked, "uid">;

/**
 * What a pod's annotations, and its namespace's, ask for; a static pod that the API server does not know asks for nothing.
 * @param ifname the interface that its runtime asks for, in the default network. @param node this one
 * @throws SelectionError, ApiError, CniError
 */
export async function selectionsOf(
  client: KubeClient,
  { accepted, refused }: Defined,
  pod: Pod,
  { ifname, network, node }: { ifname: string; network: string; node: string },
): Promise<Asked> {
  const [meta, namespace] = await Promise.all([
    askedPod(client, pod, node),
    getMeta(client, NAMESPACES, pod.namespace),
  ]);
  if (!meta) return { additional: [] };
  const named = primaryNetwork(meta.annotations, namespace?.annotations ?? {});
  const primary = named === network ? undefined : named;
  const additional = readSelections(meta.annotations, (name) => accepted.has(name) || refused.has(name), primary);
  if (additional.some((selection) => selection.network === network && selection.claim !== undefined))
    throw new SelectionError(`network "${network}" has no IPClaims`);
  const clash = additional.find((selection) => selection.ifname === ifname);
  if (!clash) return { additional, uid: meta.uid, ...(primary !== undefined && { primary }) };
  throw new SelectionError(
    `interface ${ifname} is that of the default network; network "${clash.network}" needs another one`,
  );
}

/** Sees that a pod may have these networks together. @throws CniError, SelectionError, ApiError */
export async function allow(
  client: KubeClient,
  defined: Defined,
  networks: readonly string[],
  pod: Pod | undefined,
): Promise<void> {
  if (networks.length === 0) return;
  for (const name of networks) requireDefined(defined, name);
  const by = pod === undefined ? undefined : pod.namespace;
  if (by === undefined)
    throw new CniError(
      CODE.notAllowed,
      `nobody says whose pod asks for network "${networks[0]}"`,
      "CNI_ARGS must name it.",
    );
  const labels = (await getMeta(client, NAMESPACES, by))?.labels ?? {};
  for (const name of networks) {
    if (matchesSelector(defined.accepted.get(name)?.namespaceSelector, labels)) continue;
    throw new CniError(
      CODE.notAllowed,
      `namespace ${by} may not attach to network "${name}"`,
      `Its labels are not what spec.namespaceSelector of PodNetwork ${name} selects.`,
    );
  }
  refuseOverlaps(defined, networks);
}

function requireDefined({ accepted, refused, known }: Defined, name: string): void {
  const refusal = refused.get(name);
  if (refusal !== undefined) throw new CniError(CODE.notAllowed, refusal);
  if (accepted.get(name)?.deleting) throw beingDeleted(name);
  if (accepted.has(name)) return;
  if (known) throw new CniError(CODE.notAllowed, `there is no PodNetwork "${name}"`, "See: kubectl get podnetworks.");
  throw new CniError(CODE.tryAgain, `PodNetwork "${name}" is not known yet`, "The API server has not answered yet.");
}

/**
 * Sees that a pod could come to a network. @param defined those of which it has to be one; @param away why the API server cannot be asked
 * @throws CniError 11, 50 or 105
 */
export function requireJoinable(network: string, defined: Defined | undefined, away: string | undefined): void {
  if (away !== undefined) {
    const details = "Only the API server knows which pod networks a pod asks for; pods come once it answers.";
    throw new CniError(CODE.notAvailable, `pods cannot come to network "${network}": ${away}`, details);
  }
  if (defined) requireDefined(defined, network);
}

/** A pod could not tell which of two networks with the same addresses it means. */
function refuseOverlaps({ accepted }: Defined, networks: readonly string[]): void {
  for (const [i, a] of networks.entries()) {
    for (const b of networks.slice(i + 1)) {
      const [x = [], y = []] = [a, b].map((name) => accepted.get(name)?.cidrs);
      const common = x.find((one) => y.some((other) => cidrsOverlap(one, other)));
      if (common === undefined) continue;
      const what = a === b ? `network "${a}" twice` : `networks "${a}" and "${b}", which both have ${common}`;
      throw new SelectionError(`it asks for ${what}: its routes can lead to one of them only`);
    }
  }
}

const BLOCK_CODES: Readonly<Record<BlockError["kind"], number>> = {
  exhausted: CODE.limited,
  refused: CODE.notAllowed,
  inUse: CODE.tryAgain,
  unavailable: CODE.tryAgain,
};

/** Any failure of all this as the answer of an ADD. @param who asks */
export function inWords(error: unknown, who: string): CniError {
  if (error instanceof CniError) return new CniError(error.code, `${who}: ${error.message}`, error.details);
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof SelectionError)
    return new CniError(CODE.notAllowed, `${who}: ${message}`, "Correct the annotation.");
  if (error instanceof BlockError) return new CniError(BLOCK_CODES[error.kind], `${who}: ${message}`);
  if (error instanceof ApiError)
    return new CniError(
      CODE.tryAgain,
      `${who}: its networks cannot be told: ${message}`,
      "The API server must answer first.",
    );
  return new CniError(CODE.internal, `${who}: ${message}`, "", { cause: error });
}
