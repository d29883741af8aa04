/**
 * Pods that come to this node, from their ADD until the API server tells of the addresses that they have been given: they leave the cluster the way
 * that is theirs from their first packet on.
 */
import type { EgressPod } from "./selection.ts";

interface Coming {
  pod: EgressPod;
  /** The API server has told of the pod. */
  heard: boolean;
}

/** See the header. */
export class ComingPods {
  /** By attachment. */
  readonly #coming = new Map<string, Coming>();

  /** A pod comes with these addresses, which nobody else has any more. @param attachment what is given up by {@link gone} */
  add(attachment: string, pod: EgressPod): void {
    for (const [name, { pod: other }] of this.#coming)
      if (other.ips.some((ip) => pod.ips.includes(ip))) this.#coming.delete(name);
    this.#coming.set(attachment, { pod, heard: false });
  }

  /** An attachment has none. @returns whether that was news */
  gone(attachment: string): boolean {
    return this.#coming.delete(attachment);
  }

  /**
   * All pods: those that the API server tells of, and those that come, whose addresses are known better here. An address is one pod's: the object of one
   * that has ended is there for a while beside its successor's, which is told of later.
   */
  together(heard: Iterable<EgressPod>): EgressPod[] {
    const all = new Map(Array.from(heard, (pod) => [pod.key, pod]));
    for (const [attachment, one] of this.#coming) {
      const { key, ips } = one.pod;
      const known = all.get(key);
      if (known ? ips.every((ip) => known.ips.includes(ip)) : one.heard) {
        this.#coming.delete(attachment);
        continue;
      }
      if (known) one.heard = true;
      all.delete(key);
      all.set(key, { ...(known ?? one.pod), ips });
    }
    const owners = new Map<string, string>();
    for (const { key, ips } of all.values()) for (const ip of ips) owners.set(ip, key);
    return Array.from(all.values(), (pod) =>
      pod.ips.every((ip) => owners.get(ip) === pod.key)
        ? pod
        : { ...pod, ips: pod.ips.filter((ip) => owners.get(ip) === pod.key) },
    );
  }
}
