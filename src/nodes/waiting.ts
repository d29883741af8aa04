/**
 * What the agent is waiting for. A missing pod CIDR or address is a normal stage of a node's life: it is said
 * once, as a log line and an Event on the Node where `kubectl describe` shows it, and again only when
 * the reason changes or the wait grows long; the agent never crash-loops over it.
 */
import type { Logger } from "../log/index.ts";

/** What may be waited for, and the Event's reason for it. */
const WAIT_REASONS = {
  node: "SkylaneWaitingForNode",
  podCidr: "SkylaneWaitingForPodCIDR",
  underlay: "SkylaneWaitingForUnderlay",
} as const;

/** One of the things that are waited for. */
export type WaitKind = keyof typeof WAIT_REASONS;

/** Says it again after this long, in milliseconds. */
const REMIND_MS = 10 * 60_000;

/** Announces waits. */
export class Waiting {
  readonly #log: Logger;
  readonly #event: (reason: string, message: string) => void;
  #now: { kind: WaitKind; message: string; since: number; said: number } | undefined;

  /** @param event emits a Warning Event on our own Node. */
  constructor(log: Logger, event: (reason: string, message: string) => void) {
    this.#log = log;
    this.#event = event;
  }

  /** The network cannot go on without this. */
  for(kind: WaitKind, message: string, now = Date.now()): void {
    const before = this.#now;
    const same = before?.kind === kind && before.message === message;
    if (same && now - before.said < REMIND_MS) return;
    this.#now = { kind, message, since: before?.since ?? now, said: now };
    this.#log.warn(`waiting: ${message}`, same ? { seconds: Math.round((now - before.since) / 1000) } : {});
    this.#event(WAIT_REASONS[kind], message);
  }

  /** Nothing is missing any more. */
  over(now = Date.now()): void {
    if (!this.#now) return;
    this.#log.info("no longer waiting", { seconds: Math.round((now - this.#now.since) / 1000) });
    this.#now = undefined;
  }

  /** What is being waited for now. */
  get current(): { kind: WaitKind; message: string } | undefined {
    return this.#now;
  }
}
