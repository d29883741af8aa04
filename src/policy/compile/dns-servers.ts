/**
 * DNS servers whose answers are believed: the cluster's own, which are pods with label `k8s-app: kube-dns` in namespace kube-system (as the Service
 * kube-dns, which every installer makes, selects them), and those that the agent's configuration names. Who may make such pods may open any name's rules.
 */
import { familyOf } from "../../addr/index.ts";
import { isSelectable, type Pod } from "../semantics/types.ts";
import type { Ruleset } from "./ruleset.ts";

const NAMESPACE = "kube-system";
const LABEL = ["k8s-app", "kube-dns"] as const;
const CONFIGURED = "";

export class DnsServers {
  readonly #ruleset: Ruleset;
  /** Addresses by whose they are; those of the configuration under "". */
  readonly #by = new Map<string, readonly string[]>();

  constructor(ruleset: Ruleset) {
    this.#ruleset = ruleset;
  }

  /** @param ips canonical */
  configure(ips: readonly string[]): void {
    this.#set(CONFIGURED, ips);
  }

  /** @param key namespace/name */
  setPod(key: string, pod: Pod | undefined): void {
    const serves = pod && pod.namespace === NAMESPACE && pod.labels[LABEL[0]] === LABEL[1] && isSelectable(pod);
    if (serves || this.#by.has(key)) this.#set(key, serves ? pod.ips : []);
  }

  #set(key: string, ips: readonly string[]): void {
    const before = this.#by.get(key) ?? [];
    if (ips.length > 0) this.#by.set(key, ips);
    else this.#by.delete(key);
    const others = new Set([...this.#by.values()].flat());
    for (const ip of before) if (!others.has(ip)) this.#ruleset.set(`servers${familyOf(ip)}`, ip, undefined);
    for (const ip of ips) this.#ruleset.set(`servers${familyOf(ip)}`, ip, true);
  }
}
