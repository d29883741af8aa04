/** The Pods of one node by their metadata: who they are, and some of their annotations. */
import type { KubeClient } from "../client/client.ts";
import { metadataOf, transformIdentity } from "../informer/transform.ts";
import { Reflector } from "../informer/reflector.ts";
import type { ReflectorOptions } from "../informer/source.ts";
import { isObject } from "../../json/index.ts";
import { inWire, METADATA_LIST, METADATA_ONLY } from "../nodes/nodes.ts";
import { PODS } from "./pods.ts";

/** A Pod of this node. */
export interface OwnPod {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion: string;
  /** Those that were asked for. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** @throws TypeError naming what is not as it must be */
function ownPod(object: unknown, keys: readonly string[]): OwnPod {
  const metadata = metadataOf(object);
  const { name, uid, resourceVersion } = transformIdentity(metadata);
  const { namespace, annotations: all } = metadata;
  if (typeof namespace !== "string" || namespace === "") throw new TypeError("metadata.namespace is no text");
  const annotations: Record<string, string> = {};
  for (const key of keys) {
    const value = isObject(all) && Object.hasOwn(all, key) ? all[key] : undefined;
    if (typeof value === "string") annotations[key] = value;
  }
  return { name, namespace, uid, resourceVersion, annotations };
}

/** Whether nothing has changed that was asked for. */
const samePod = (keys: readonly string[]) => (a: OwnPod, b: OwnPod) =>
  a.uid === b.uid && keys.every((key) => a.annotations[key] === b.annotations[key]);

/** See the header. `objects` has them by `<namespace>/<name>`. */
export class OwnPodReflector extends Reflector<OwnPod> {
  /** @param annotations keys of those that are kept */
  constructor(client: KubeClient, node: string, annotations: readonly string[], options: ReflectorOptions = {}) {
    const source = {
      what: "pods of this node",
      path: PODS,
      query: { fieldSelector: `spec.nodeName=${node}` },
      accept: { object: METADATA_ONLY, list: inWire(METADATA_LIST), watch: inWire(METADATA_ONLY) },
      transform: (object: unknown) => ownPod(object, annotations),
      same: samePod(annotations),
      firstFromMemory: true,
    };
    super(client, source, options);
  }
}
