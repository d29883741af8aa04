/**
 * Asks for each object that a complete set left out whether it is really gone. An API server that answers with an empty
 * or partial list (an etcd restored from a wrong backup, a broken cache, a bad proxy) must not take the routes to nodes
 * that are still there: only a 404 about that very object removes it, anything else keeps it and asks again later.
 *
 * Where there may be very many, as pods after a long silence, some of them taken at random stand for all: every agent of the cluster may be
 * asking. When all of these are gone the others are taken for gone as well; a part of the set that was left out wrongly would have
 * shown itself, and then all stay until the set has been taken anew.
 */
import { ApiError } from "../client/api-error.ts";
import { Backoff, type BackoffOptions, pause } from "../client/backoff.ts";

const CONCURRENCY = 8;

export interface ConfirmOptions {
  /** Fetches the object. @throws ApiError */
  get: (name: string, signal: AbortSignal) => Promise<unknown>;
  /**
   * It is still there, and this is it; false when it does not belong to the set any more. May throw when the object makes no
   * sense: it is kept and asked for again.
   */
  onPresent: (object: unknown) => boolean;
  onGone: (name: string) => void;
  /** A question that got no clear answer. */
  onError: (name: string, error: unknown) => void;
  /** No doubt is left, and `wrongly` of them were about objects that are there, so the set that left them out was not complete. */
  onSettled: (wrongly: number) => void;
  /** How many are in doubt, after every change of it. */
  onCount: (inDoubt: number) => void;
  backoff: BackoffOptions;
  signal: AbortSignal;
  /** Of more doubts than so many, as many are asked about and stand for the others. */
  mostAsked?: number;
}

/** The objects in doubt. */
export class Confirmations {
  private readonly options: ConfirmOptions;
  private readonly backoff: Backoff;
  /** Name → the doubt itself; a newer doubt about the same name is another object. */
  private doubts = new Map<string, object>();
  private running: Promise<void> | undefined;
  private wrongly = 0;
  /** Objects that are as those are that were asked about: gone, if all of these are. */
  private represented = new Set<string>();

  constructor(options: ConfirmOptions) {
    this.options = options;
    this.backoff = new Backoff(options.backoff);
  }

  /** Replaces the doubts by these. */
  doubt(names: readonly string[]): void {
    const { mostAsked = names.length } = this.options;
    const asked = names.length > mostAsked ? sampleOf(names, mostAsked) : names;
    this.doubts = new Map(asked.map((name) => [name, {}]));
    this.represented = new Set(asked === names ? [] : names.filter((name) => !this.doubts.has(name)));
    this.count();
    if (names.length === 0 || this.running !== undefined) return;
    this.running = this.run().finally(() => {
      this.running = undefined;
    });
  }

  /** Something certain was heard about a name in another way. */
  settle(name: string): void {
    if (this.doubts.delete(name) || this.represented.delete(name)) this.count();
  }

  private count(): void {
    this.options.onCount(this.doubts.size + this.represented.size);
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.running;
  }

  private async run(): Promise<void> {
    const { signal, onSettled } = this.options;
    this.backoff.reset();
    this.wrongly = 0;
    while (this.doubts.size > 0 && !signal.aborted) {
      const queue = [...this.doubts];
      const waits = await Promise.all(
        Array.from({ length: Math.min(CONCURRENCY, queue.length) }, () => this.ask(queue)),
      );
      if (this.doubts.size > 0) await pause(this.backoff.next(Math.max(...waits)), signal);
    }
    if (signal.aborted) return;
    const represented = [...this.represented];
    this.represented.clear();
    this.count();
    if (this.wrongly > 0) onSettled(this.wrongly);
    else for (const name of represented) this.options.onGone(name);
  }

  /** Works a queue off; the wait that a server asked for meanwhile, in milliseconds. */
  private async ask(queue: [string, object][]): Promise<number> {
    const { get, onPresent, onGone, onError, signal } = this.options;
    for (let next = queue.pop(); next !== undefined && !signal.aborted; next = queue.pop()) {
      const [name, doubt] = next;
      // Settled or doubted anew while the answer was under way: the answer may be older than that.
      const stale = () => this.doubts.get(name) !== doubt;
      if (stale()) continue;
      try {
        const object = await get(name, signal);
        if (stale()) continue;
        if (onPresent(object)) this.wrongly++;
        this.settle(name);
      } catch (error) {
        if (stale() || signal.aborted) continue;
        if (error instanceof ApiError && error.isGone(name.slice(name.indexOf("/") + 1))) {
          this.settle(name);
          onGone(name);
          continue;
        }
        onError(name, error);
        if (error instanceof ApiError && error.retryAfterMs !== undefined) {
          queue.length = 0; // the server wants rest: no more questions in this round
          return error.retryAfterMs;
        }
      }
    }
    return 0;
  }
}

/** So many of a list, chosen at random. */
function sampleOf(names: readonly string[], count: number): string[] {
  const left = [...names];
  for (let i = 0; i < count; i++) {
    const at = i + Math.floor(Math.random() * (left.length - i));
    [left[i], left[at]] = [left[at] as string, left[i] as string];
  }
  return left.slice(0, count);
}
