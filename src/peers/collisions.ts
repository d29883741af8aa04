/**
 * Who claims what: underlay addresses, MACs and pod CIDRs of this node and of all that would be its peers, whether
 * they are accepted or not. Claiming the same is mutual: whoever is somebody's rival has that one among its own.
 */
import { prefixOf, PrefixIndex } from "./prefix-index.ts";
import type { Peer, RefusalReason } from "./types.ts";

/** What is claimed. */
export type Claim = Pick<Peer, "node" | "underlayIp" | "mac" | "podCidrs" | "wireguard">;

/** Hears of another one that claims the same, and what that is in words that go on with "of …". */
export type VisitRival<T> = (other: T, reason: RefusalReason, what: () => string) => void;

/** What is somebody's or not, as a whole. */
const marksOf = ({ mac, wireguard }: Claim): string[] => [mac, ...keysOf(wireguard)];

/** The one that it has, and the one that it goes over to. */
const keysOf = (wireguard: Claim["wireguard"]): string[] =>
  wireguard ? [wireguard.key, ...(wireguard.next === undefined ? [] : [wireguard.next])] : [];

/** All claims of a network. */
export class Claims<T extends { readonly claim: Claim }> {
  /** MACs and keys of WireGuard, of which no two have one either. */
  readonly #marks = new Map<string, T[]>();
  readonly #cidrs = new PrefixIndex<T>();
  readonly #underlay = new PrefixIndex<T>();
  readonly #isolated: boolean;

  /** @param isolated pod CIDRs and underlay addresses have nothing to do with each other. */
  constructor(isolated: boolean) {
    this.#isolated = isolated;
  }

  add(one: T): void {
    const { underlayIp, podCidrs } = one.claim;
    for (const mark of marksOf(one.claim)) {
      const same = this.#marks.get(mark);
      if (same) same.push(one);
      else this.#marks.set(mark, [one]);
    }
    this.#underlay.add(prefixOf(underlayIp), one);
    for (const cidr of podCidrs) this.#cidrs.add(prefixOf(cidr), one);
  }

  remove(one: T): void {
    const { underlayIp, podCidrs } = one.claim;
    for (const mark of marksOf(one.claim)) {
      const left = (this.#marks.get(mark) ?? []).filter((other) => other !== one);
      if (left.length > 0) this.#marks.set(mark, left);
      else this.#marks.delete(mark);
    }
    this.#underlay.remove(prefixOf(underlayIp), one);
    for (const cidr of podCidrs) this.#cidrs.remove(prefixOf(cidr), one);
  }

  /** Visits all others that claim something of the same, some of them more than once. */
  rivals(one: T, visit: VisitRival<T>): void {
    const { underlayIp, mac, podCidrs, wireguard } = one.claim;
    const tell = (reason: RefusalReason, what: () => string) => (other: T) => {
      if (other !== one) visit(other, reason, what);
    };
    const host = prefixOf(underlayIp);
    this.#underlay.overlapping(
      host,
      tell("DuplicateVtepIp", () => `its underlay address ${underlayIp} is that`),
    );
    this.#marks.get(mac)?.forEach(tell("DuplicateVtepMac", () => `its VTEP MAC ${mac} is that`));
    for (const key of keysOf(wireguard)) {
      const sameKey = (): string => `its key of WireGuard ${key} is that`;
      this.#marks.get(key)?.forEach(tell("DuplicateWireguardKey", sameKey));
    }
    for (const cidr of podCidrs) {
      const prefix = prefixOf(cidr);
      this.#cidrs.overlapping(
        prefix,
        tell("OverlappingPodCidr", () => `its pod CIDR ${cidr} overlaps that`),
      );
      if (this.#isolated) continue;
      this.#underlay.overlapping(
        prefix,
        tell("UnderlayInPodCidr", () => `its pod CIDR ${cidr} covers the underlay address`),
      );
    }
    if (this.#isolated) return;
    this.#cidrs.overlapping(
      host,
      tell("UnderlayInPodCidr", () => `its underlay address ${underlayIp} lies in a pod CIDR`),
    );
  }
}
