/** Whether a pod that asks is the one that the API server knows by its name, and has bound to this node. */
import { type AskingPod, CniError, CODE } from "../cni/index.ts";
import { getObject, type KubeClient, metaOf, type ObjectMeta, podsOf } from "../kube/index.ts";

/** kubelet's annotation of a static pod's mirror in the API server: the uid by which the pod is known on its node. */
const CONFIG_HASH = "kubernetes.io/config.hash";
/** A static pod's uid is the MD5 of its manifest (kubelet, pkg/kubelet/config/common.go); that of an object is a UUID. */
const STATIC_UID = /^[0-9a-f]{32}$/;

/** Whether a pod is made from a file on its node, so that the API server need not know it. */
export const isStatic = ({ uid }: AskingPod): boolean => uid !== undefined && STATIC_UID.test(uid);

/** A pod as a watch has told of it, where that is the one that asks and not its predecessor of the same name. */
export function sameAsHeard<T extends { uid: string }>(pod: AskingPod, heard: T | undefined): T | undefined {
  const same = heard && (pod.uid === undefined || isStatic(pod) || heard.uid === pod.uid);
  return same ? heard : undefined;
}

/**
 * Sees that the pod of that name is the one that asks. One that the API server does not know might have asked for something, and
 * started without it would never get it.
 * @returns whether the API server knows it; it need not know static ones. @throws CniError 11
 */
export function sameAsAsking(pod: AskingPod, known: ObjectMeta | undefined): known is ObjectMeta {
  const { namespace, name, uid } = pod;
  if (!known) {
    if (isStatic(pod)) return false;
    throw new CniError(
      CODE.tryAgain,
      `the API server knows no pod ${namespace}/${name}, so that nobody can tell which networks it asks for`,
      "It has been deleted, or the API server is behind; only static pods start without it.",
    );
  }
  if (uid === undefined || known.uid === uid || known.annotations[CONFIG_HASH] === uid) return true;
  throw new CniError(
    CODE.tryAgain,
    `the pod of that name is another one by now (uid ${known.uid}) than the one that this request is for (uid ${uid})`,
    "The runtime gives up on the one that is gone.",
  );
}

/**
 * The pod that asks, as the API server knows it; undefined for a static one that it does not know.
 * @param node this one @throws CniError 11 for another pod than the one that asks, or with the reason why it cannot be on this node; ApiError
 */
export async function askedPod(client: KubeClient, pod: AskingPod, node: string): Promise<ObjectMeta | undefined> {
  const object = await askedObject(client, pod, node);
  return object === undefined ? undefined : metaOf(object);
}

/** The same, whole. @throws as {@link askedPod} */
export async function askedObject(client: KubeClient, pod: AskingPod, node: string): Promise<unknown> {
  const object = await getObject(client, podsOf(pod.namespace), pod.name);
  if (!sameAsAsking(pod, object === undefined ? undefined : metaOf(object))) return undefined;
  const { nodeName } = (object as { spec?: { nodeName?: unknown } }).spec ?? {};
  if (nodeName === node) return object;
  throw new CniError(
    CODE.notAllowed,
    typeof nodeName === "string" && nodeName !== ""
      ? `the pod is bound to node ${nodeName}, and this is node ${node}`
      : `the pod is bound to no node, and this is node ${node}`,
    "A node attaches its own pods only (spec.nodeName), to any network.",
  );
}
