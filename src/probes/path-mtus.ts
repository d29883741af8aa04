/**
 * What routes to a peer's pods are to take, where its path takes less than the device: the kernel tells pods then ("fragmentation needed", "packet too big"),
 * for which the underlay is silent. Smaller at once, since full packets are lost until then; larger again only when that has held for some time, so that
 * a path that comes and goes changes routes once a minute at most. A peer that answers nothing changes nothing.
 */
import type { Family } from "../addr/index.ts";
import type { PathMtu } from "../peers/index.ts";
import type { Path, Target } from "./target.ts";

/** What any path takes (RFC 791, section 3.2; RFC 8200, section 5): nobody's answers make it less. */
const LEAST: Readonly<Record<Family, number>> = { 4: 576, 6: 1280 };
/** How long more has to pass before routes take more, in milliseconds. */
export const HOLD_MS = 60_000;

/** See the header. */
export class PathMtus {
  /** By node: what was taken over, by family. */
  readonly #narrow = new Map<string, PathMtu>();
  /** The same, of what goes through the tunnel. */
  readonly #tunnelled = new Map<string, PathMtu>();
  /** Since when a path takes more than was taken over, and whose it is. */
  readonly #wider = new Map<Path, { since: number; target: Target }>();
  readonly #listeners = new Set<(node: string) => void>();

  /** Bytes of the largest packet, where that is less than the device's MTU; undefined for a peer whose paths are whole. */
  of(node: string): PathMtu | undefined {
    return this.#narrow.get(node);
  }

  /** The same, where packets go through the tunnel: whatever else goes there in one meets the same underlay. */
  inTunnel(node: string): PathMtu | undefined {
    return this.#tunnelled.get(node);
  }

  /** Tells of nodes whose routes are to take something else, until what is returned is called. */
  follow(onChange: (node: string) => void): () => void {
    this.#listeners.add(onChange);
    return () => void this.#listeners.delete(onChange);
  }

  /** A peer was looked at. @param now on a clock that nobody sets, in milliseconds */
  looked(target: Target, now: number): void {
    for (const path of target.paths) if (path.inside) this.#judge(target, path, now);
  }

  /** A peer is gone, or another one now. */
  forget({ node, paths }: Target): void {
    for (const path of paths) this.#wider.delete(path);
    this.#set(node, {}, paths);
  }

  /** Peers that are to be looked at again: if they are still whole then, their routes are. */
  *due(now: number): Generator<Target> {
    for (const { since, target } of this.#wider.values()) if (now - since >= HOLD_MS) yield target;
  }

  #judge(target: Target, path: Path, now: number): void {
    const { node } = target;
    const { family, full, seen, passes } = path;
    const whole = seen === "answers" || seen === "lossy";
    if (!whole && (seen !== "narrow" || passes === undefined)) {
      this.#wider.delete(path);
      return;
    }
    const found = whole ? full : Math.min(full, Math.max(LEAST[family], passes as number));
    const before = this.#narrow.get(node)?.[family] ?? full;
    if (found <= before) this.#wider.delete(path);
    if (found === before) return;
    if (found > before) {
      const { since } = this.#wider.get(path) ?? { since: now };
      this.#wider.set(path, { since, target });
      if (now - since < HOLD_MS) return;
      this.#wider.delete(path);
    }
    const { [family]: _, ...others } = this.#narrow.get(node) ?? {};
    const next: PathMtu = found < full ? { ...others, [family]: found } : others;
    this.#set(node, next, target.paths);
  }

  #set(node: string, mtu: PathMtu, paths: readonly Path[]): void {
    const tunnelled: Partial<Record<Family, number>> = {};
    for (const { inside, family, tunnelled: through } of paths)
      if (inside && through && mtu[family] !== undefined) tunnelled[family] = mtu[family];
    const before = this.#narrow.get(node);
    put(this.#narrow, node, mtu);
    put(this.#tunnelled, node, tunnelled);
    if (before || this.#narrow.has(node)) for (const listener of this.#listeners) listener(node);
  }
}

function put(all: Map<string, PathMtu>, node: string, mtu: PathMtu): void {
  if (Object.keys(mtu).length > 0) all.set(node, mtu);
  else all.delete(node);
}
