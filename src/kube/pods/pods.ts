/** All Pods of the cluster that network policies can be about, as far as these ask: see pod-entry.ts. */
import type { KubeClient } from "../client/client.ts";
import { Reflector } from "../informer/reflector.ts";
import type { ReflectorOptions } from "../informer/source.ts";
import { readPod } from "../wire/pod-wire.ts";
import { PodColumns } from "./pod-columns.ts";
import { isInside, PodEntries, type PodEntry, type PodMaking, samePod } from "./pod-entry.ts";

/** Path of the Pods of all namespaces. */
export const PODS = "/api/v1/pods";
/** Whole objects, in the form that costs a server, the wire and us least, where it can be had. */
const WIRE = "application/vnd.kubernetes.protobuf,application/json";
/** Pods that have not ended. */
const RUNNING = "status.phase!=Succeeded,status.phase!=Failed";
/** Of more pods that a list leaves out, so many are asked about and stand for the others. */
const MOST_ASKED = 100;

/** See the header. `objects` has them by `<namespace>/<name>`; pods of the host's network and ended ones are none of them. */
export class PodReflector extends Reflector<PodEntry> {
  /** A list while it comes in. */
  #listed: WeakRef<PodColumns> | undefined;

  /** @param ownNode of whose pods the uid is kept */
  constructor(client: KubeClient, ownNode: string, options: ReflectorOptions = {}) {
    const entries = new PodEntries(ownNode, () => this.#makings());
    let isMade = false;
    const source = {
      what: "pods",
      path: PODS,
      // Servers before 1.28 cannot select by spec.hostNetwork.
      query: { fieldSelector: `${RUNNING},spec.hostNetwork=false` },
      olderQuery: { fieldSelector: RUNNING },
      accept: { object: "application/json", list: WIRE, watch: WIRE },
      transform: (object: unknown) => entries.of(object),
      same: samePod,
      read: readPod,
      belongs: isInside,
      kept: (): PodColumns => {
        const columns = new PodColumns();
        // The first is the set itself, which is made before there is a reflector to know it.
        if (isMade) this.#listed = new WeakRef(columns);
        return columns;
      },
      mostAsked: MOST_ASKED,
      firstFromMemory: true,
      consequence: "network policies cannot be put in force",
    };
    super(client, source, options);
    isMade = true;
  }

  /** Keys of all pods, each with the name of the node that it is on. */
  nodes(): Iterable<[key: string, node: string]> {
    return this.#columns.nodes();
  }

  *#makings(): Generator<PodMaking> {
    yield* this.#columns.makings();
    yield* this.#listed?.deref()?.makings() ?? [];
  }

  get #columns(): PodColumns {
    return this.objects as PodColumns;
  }
}

/** A whole Pod as an entry; undefined where it can have no part in policies. @throws TypeError where it makes no sense */
export function podEntryOf(object: unknown, ownNode: string): PodEntry | undefined {
  const entry = new PodEntries(ownNode, () => []).of(object);
  return isInside(entry) ? entry : undefined;
}
