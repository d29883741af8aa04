/**
 * The objects as last known, and the net effect of what happened to them since listeners were last told. Events come
 * in bursts (a list of 5,000 is 5,000 of them), planning is per batch; so listeners are called once a turn at most.
 */
import type { Changes } from "../types.ts";

/** What the set needs to know of its objects. */
export interface Identified {
  readonly name: string;
  /** Absent for objects that are in no namespace. */
  readonly namespace?: string;
  /** What it is known by, where it has that at hand: see {@link keyOf}. */
  readonly key?: string;
  readonly uid: string;
  readonly resourceVersion: string;
}

/** What an object is known by: its name, or `<namespace>/<name>`. */
export const keyOf = (object: Pick<Identified, "namespace" | "name" | "key">): string =>
  object.key ?? (object.namespace === undefined ? object.name : `${object.namespace}/${object.name}`);

/** Where a set keeps its objects. What it gives need not be the very object that it was given, only say the same. */
export interface Kept<T> extends ReadonlyMap<string, T> {
  set: (key: string, object: T) => unknown;
  delete: (key: string) => boolean;
}

/** A set of objects by key that tells what changed. */
export class ChangeSet<T extends Identified> {
  private readonly objects: Kept<T>;
  /** State of each touched name when listeners were last told. */
  private readonly before = new Map<string, T | undefined>();
  private ended: T[] = [];
  private readonly same: (a: T, b: T) => boolean;

  constructor(same: (a: T, b: T) => boolean, objects: Kept<T> = new Map()) {
    this.same = same;
    this.objects = objects;
  }

  get all(): ReadonlyMap<string, T> {
    return this.objects;
  }

  /** Takes an object in; true when that is a change. An unchanged one only brings its resourceVersion. */
  put(object: T): boolean {
    const key = keyOf(object);
    const known = this.objects.get(key);
    if (known !== undefined && this.same(known, object)) {
      (known as { resourceVersion: string }).resourceVersion = object.resourceVersion;
      return false;
    }
    this.touch(key, known);
    this.objects.set(key, object);
    return true;
  }

  /** Takes an object out; true when it was there. @param told by an event, so that nothing was missed */
  remove(name: string, told = false): boolean {
    const known = this.objects.get(name);
    if (known === undefined) return false;
    if (told) this.ended.push(known);
    this.touch(name, known);
    this.objects.delete(name);
    return true;
  }

  private touch(name: string, known: T | undefined): void {
    if (!this.before.has(name)) this.before.set(name, known);
  }

  /** The net effect since the last call; what came and went meanwhile is not in it. */
  take(): Changes<T> {
    const added: T[] = [];
    const changed: { before: T; after: T }[] = [];
    const removed: T[] = [];
    for (const [name, before] of this.before) {
      const after = this.objects.get(name);
      if (before === undefined) {
        if (after !== undefined) added.push(after);
      } else if (after === undefined) removed.push(before);
      else if (!this.same(before, after)) changed.push({ before, after });
    }
    this.before.clear();
    const { ended } = this;
    this.ended = [];
    return { added, changed, removed, ended };
  }
}
