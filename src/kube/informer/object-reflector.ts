/** Objects of a resource that the cluster need not have: where nobody has defined it there are none, which is no failure. */
import type { Identified } from "./changes.ts";
import type { KubeClient } from "../client/client.ts";
import { metaOf, NAMESPACES, type ObjectMeta } from "../meta.ts";
import { METADATA_LIST, METADATA_ONLY, NODES } from "../nodes/nodes.ts";
import { Reflector } from "./reflector.ts";
import type { ReflectorOptions } from "./source.ts";

/** Which objects, and how they are read. */
export interface ObjectSource<T> {
  /** For messages: "pod networks". */
  what: string;
  /** Their collection: `/apis/<group>/<version>/<plural>`, of all namespaces or of one. */
  path: string;
  /** See Source. */
  olderPath?: string;
  /** Only those with these labels: `key=value`. */
  labelSelector?: string;
  /** Only those with these fields. */
  fieldSelector?: string;
  /** @throws TypeError when it makes no sense: the object is left out, and counted */
  parse: (object: unknown) => T;
  /** Whether nothing changed that anybody here looks at. */
  same: (a: T, b: T) => boolean;
  /** Every server knows the resource: one that does not is no answer. */
  builtIn?: boolean;
  /** See Source. */
  absentMs?: () => number | undefined;
  consequence?: string;
}

/** See the header. `objects` has them by name, or by `<namespace>/<name>`. */
export class ObjectReflector<T extends Identified> extends Reflector<T> {
  constructor(client: KubeClient, source: ObjectSource<T>, options: ReflectorOptions = {}) {
    const {
      what,
      path,
      olderPath,
      labelSelector,
      fieldSelector,
      parse,
      same,
      builtIn = false,
      absentMs,
      consequence,
    } = source;
    const query: Record<string, string> = {
      ...(labelSelector !== undefined && { labelSelector }),
      ...(fieldSelector !== undefined && { fieldSelector }),
    };
    const json = "application/json";
    const accept = { object: json, list: json, watch: json };
    const more = {
      optional: !builtIn,
      ...(olderPath !== undefined && { olderPath }),
      ...(absentMs !== undefined && { absentMs }),
      ...(consequence !== undefined && { consequence }),
    };
    super(client, { what, path, query, accept, transform: parse, same, ...more }, options);
  }
}

/** Labels of all Nodes, which change rarely, and are no concern of those who only want to reach them; and those annotations that are asked for. */
export class NodeLabelReflector extends Reflector<ObjectMeta> {
  constructor(client: KubeClient, options: ReflectorOptions = {}, annotations: readonly string[] = []) {
    const accept = { object: METADATA_ONLY, list: METADATA_LIST, watch: METADATA_ONLY };
    const transform = (object: unknown): ObjectMeta => {
      const meta = metaOf(object);
      const kept = annotations.flatMap((key) => {
        const value = meta.annotations[key];
        return value === undefined ? [] : [[key, value] as const];
      });
      return { ...meta, annotations: Object.fromEntries(kept) };
    };
    const same = (a: ObjectMeta, b: ObjectMeta): boolean =>
      JSON.stringify([a.uid, a.labels, a.annotations]) === JSON.stringify([b.uid, b.labels, b.annotations]);
    super(
      client,
      { what: "labels of nodes", path: NODES, query: {}, accept, transform, same, firstFromMemory: true },
      options,
    );
  }
}

/** All Namespaces by their metadata: which labels they have decides which networks their pods may have. */
export class NamespaceReflector extends Reflector<ObjectMeta> {
  constructor(client: KubeClient, options: ReflectorOptions = {}) {
    const accept = { object: METADATA_ONLY, list: METADATA_LIST, watch: METADATA_ONLY };
    const same = (a: ObjectMeta, b: ObjectMeta): boolean =>
      JSON.stringify([a.uid, a.labels, a.annotations]) === JSON.stringify([b.uid, b.labels, b.annotations]);
    super(client, { what: "namespaces", path: NAMESPACES, query: {}, accept, transform: metaOf, same }, options);
  }
}
