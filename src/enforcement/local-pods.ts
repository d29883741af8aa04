/**
 * Pods of this node by their attachments to a pod network, which say sooner than the API server which addresses a pod has, and longer
 * that it has them: from before its ADD is answered until its link is gone, whatever the Pod object says meanwhile.
 */
import type { AskingPod } from "../cni/index.ts";
import { listPodLinks, podAddresses } from "../dataplane/pod-link/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import { keyOf } from "../json/index.ts";

/** What an attachment says. */
export interface LocalPod extends AskingPod {
  /** Canonical. */
  ips: readonly string[];
}

/** See the header. */
export class LocalPods {
  /** By the name of the host end. */
  readonly #attachments = new Map<string, LocalPod>();
  /** Attachments by the pod's namespace/name. A pod has two for a moment where its sandbox is made anew. */
  readonly #byPod = new Map<string, Set<LocalPod>>();
  readonly #holders = new Map<string, LocalPod>();
  readonly #shared: boolean;

  /** @param shared whether two attachments may have an address, as those of an IPClaim whose pod is about to move; the younger one holds it */
  constructor(shared = false) {
    this.#shared = shared;
  }

  /**
   * Takes in an attachment. Where an address is one attachment's, an older one that has it is gone, whoever took it away.
   * @returns pods whose attachments are forgotten
   */
  add(hostIfname: string, pod: LocalPod): LocalPod[] {
    const older = [...this.#attachments].filter(
      ([name, { ips }]) => name === hostIfname || (!this.#shared && ips.some((ip) => pod.ips.includes(ip))),
    );
    const forgotten = older.flatMap(([name]) => this.remove(name) ?? []);
    this.#attachments.set(hostIfname, pod);
    const name = keyOf(pod);
    this.#byPod.set(name, (this.#byPod.get(name) ?? new Set()).add(pod));
    for (const ip of pod.ips) this.#holders.set(ip, pod);
    return forgotten;
  }

  /** Forgets an attachment. @returns the pod that it was of, if it was known */
  remove(hostIfname: string): LocalPod | undefined {
    const pod = this.#attachments.get(hostIfname);
    if (!pod) return undefined;
    this.#attachments.delete(hostIfname);
    const others = this.#byPod.get(keyOf(pod));
    others?.delete(pod);
    if (others?.size === 0) this.#byPod.delete(keyOf(pod));
    for (const ip of pod.ips) {
      if (this.#holders.get(ip) !== pod) continue;
      const other = this.#shared && [...this.#attachments.values()].findLast(({ ips }) => ips.includes(ip));
      if (other) this.#holders.set(ip, other);
      else this.#holders.delete(ip);
    }
    return pod;
  }

  has(hostIfname: string): boolean {
    return this.#attachments.has(hostIfname);
  }

  names(): string[] {
    return [...this.#attachments.keys()];
  }

  /** The addresses of a pod by its attachments; undefined where it has none. @param key namespace/name */
  ipsOf(key: string): string[] | undefined {
    const pods = this.#byPod.get(key);
    return pods && [...new Set([...pods].flatMap(({ ips }) => ips))];
  }

  /** Pods by the addresses that they have. */
  get holders(): ReadonlyMap<string, LocalPod> {
    return this.#holders;
  }

  /** The pod that has an address. */
  holderOf(ip: string): LocalPod | undefined {
    return this.#holders.get(ip);
  }
}

/** Pods that have links in a network namespace of this node, by the names and routes of those. @throws NetlinkError */
export function podsOfLinks(rtnl: Rtnl): Map<string, LocalPod> {
  const pods = new Map<number, { hostIfname: string; pod: LocalPod & { ips: string[] } }>();
  for (const { index, name: hostIfname, alias = "" } of listPodLinks(rtnl)) {
    // NAMESPACE/NAME/INTERFACE; where no pod is named, CONTAINER/INTERFACE.
    const [namespace = "", name = "", ifname] = alias.split("/");
    if (ifname !== undefined) pods.set(index, { hostIfname, pod: { namespace, name, ips: [] } });
  }
  if (pods.size > 0) for (const { ip, ifindex } of podAddresses(rtnl)) pods.get(ifindex)?.pod.ips.push(ip);
  return new Map([...pods.values()].map(({ hostIfname, pod }) => [hostIfname, pod]));
}
