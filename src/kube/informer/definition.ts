/**
 * The definition of one custom resource, by its metadata: it tells at once that a resource comes or goes which the cluster need not
 * have, at the price of a watch that is silent, where each agent would have to ask again and again otherwise.
 */
import type { KubeClient } from "../client/client.ts";
import { metaOf, type ObjectMeta } from "../meta.ts";
import { METADATA_LIST, METADATA_ONLY } from "../nodes/nodes.ts";
import { Reflector } from "./reflector.ts";
import type { ReflectorOptions } from "./source.ts";

const DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/** See the header. */
export class DefinitionReflector extends Reflector<ObjectMeta> {
  /** @param name "<plural>.<group>" */
  constructor(client: KubeClient, name: string, options: ReflectorOptions = {}) {
    const source = {
      what: `the definition of ${name}`,
      path: DEFINITIONS,
      // By name alone, so that a role can allow this one alone.
      query: { fieldSelector: `metadata.name=${name}` },
      accept: { object: METADATA_ONLY, list: METADATA_LIST, watch: METADATA_ONLY },
      transform: metaOf,
      same: (a: ObjectMeta, b: ObjectMeta) => a.uid === b.uid && a.resourceVersion === b.resourceVersion,
      optional: true,
    };
    super(client, source, options);
  }

  /** Whether there is one; undefined while nobody knows. */
  get isThere(): boolean | undefined {
    const { connected, forbidden, absent } = this.state;
    if (!this.synced || forbidden === true || absent === true || !connected) return undefined;
    return this.objects.size > 0;
  }
}
