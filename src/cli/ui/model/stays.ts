/** Things that are on nodes, and where they were: pods and claims. What is gone is remembered for a while, as where it was is what one asks then. */
import { MOST, type Stay } from "../wire.ts";
import { Keyed } from "./keyed.ts";

interface Placed {
  key: string;
  node?: string;
  gone?: number;
  was: readonly Stay[];
}

/** What became of it. */
export type Turn = "came" | "moved" | "back" | "same";

export class Stays<T extends Placed> {
  readonly keyed = new Keyed<T>();
  /** In the order in which they went. */
  readonly #gone = new Set<string>();
  readonly #most: number;
  readonly #leftOut = new Set<string>();

  /** @param most how many there may be */
  constructor(most: number) {
    this.#most = most;
  }

  /** How many there was no room for. */
  get leftOut(): number {
    return this.#leftOut.size;
  }

  /** It is there. @returns what that means; undefined where there is no room for it */
  put(next: T, now: number): Turn | undefined {
    const known = this.keyed.get(next.key);
    if (!known && this.keyed.all.size >= this.#most && !this.#forgetOne()) {
      this.#leftOut.add(next.key);
      return undefined;
    }
    this.#leftOut.delete(next.key);
    this.#gone.delete(next.key);
    if (!known) {
      this.keyed.set(next.key, next);
      return "came";
    }
    const moved = known.node !== undefined && next.node !== undefined && known.node !== next.node;
    const unplaced = known.gone !== undefined && next.node === undefined;
    const left = known.node !== undefined && (moved || unplaced);
    const was = left ? [...known.was, { node: known.node as string, until: known.gone ?? now }] : known.was;
    // One that is made anew under its name is where it was until it is placed.
    const node = next.node ?? (unplaced ? undefined : known.node);
    this.keyed.set(next.key, { ...next, ...(node !== undefined && { node }), was: was.slice(-MOST.stays) });
    if (moved) return "moved";
    return known.gone === undefined ? "same" : "back";
  }

  /** It is gone. @returns as what it was known; undefined where it was not */
  remove(key: string, now: number): T | undefined {
    this.#leftOut.delete(key);
    const known = this.keyed.get(key);
    if (!known || known.gone !== undefined) return undefined;
    this.keyed.set(key, { ...known, gone: now });
    this.#gone.add(key);
    if (this.#gone.size > MOST.gone) this.#forgetOne();
    return known;
  }

  /** @returns whether there was one to forget */
  #forgetOne(): boolean {
    for (const key of this.#gone) {
      this.#gone.delete(key);
      this.keyed.delete(key);
      return true;
    }
    return false;
  }
}
