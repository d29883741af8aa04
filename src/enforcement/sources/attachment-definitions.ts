/**
 * NetworkAttachmentDefinitions (k8s.cni.cncf.io/v1), by which MultiNetworkPolicies name networks: which pod network of ours each leads to. Pods that
 * Multus attaches come by one; others' definitions lead nowhere.
 */
import { type KubeClient, ObjectReflector, type ReflectorOptions } from "../../kube/index.ts";
import { type Identity, identityOf } from "./identity.ts";
import { isObject, type Json } from "../../json/index.ts";

/** Type of our CNI configurations. */
const OUR_TYPE = "skylane";
/** Characters of a configuration; what is longer is nobody's. */
const MOST_CHARACTERS = 262_144;

/** One as it is kept. */
export interface AttachmentDefinition extends Identity {
  /** The pod network; undefined where the configuration is not one of ours, makes no sense, or names none. */
  readonly network: string | undefined;
}

/** All of them; where the API server does not know the kind there are none. */
export const definitionReflector = (
  client: KubeClient,
  options: ReflectorOptions,
): ObjectReflector<AttachmentDefinition> =>
  new ObjectReflector(
    client,
    {
      what: "NetworkAttachmentDefinitions",
      path: "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions",
      parse: readDefinition,
      same: (a, b) => a.uid === b.uid && a.network === b.network,
      consequence: "it is not known which pod networks MultiNetworkPolicies are about",
    },
    options,
  );

/** Reads one. @throws TypeError when it has no name, namespace or uid */
function readDefinition(object: unknown): AttachmentDefinition {
  const identity = identityOf(object);
  if (identity.namespace === undefined) throw new TypeError("metadata.namespace is no text");
  const { spec } = object as Json;
  return { ...identity, network: networkOf(isObject(spec) ? spec["config"] : undefined) };
}

/** The network of a CNI configuration, or of ours in a list of some. */
function networkOf(config: unknown): string | undefined {
  if (typeof config !== "string" || config.length > MOST_CHARACTERS) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(config);
  } catch {
    return undefined; // nobody can attach a pod by it
  }
  if (!isObject(parsed)) return undefined;
  const plugins = Array.isArray(parsed["plugins"]) ? (parsed["plugins"] as unknown[]) : [parsed];
  const ours = plugins.find((one): one is Json => isObject(one) && one["type"] === OUR_TYPE);
  const network = ours?.["network"];
  return typeof network === "string" ? network : undefined;
}
