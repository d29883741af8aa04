/**
 * Verdicts as they stand: one is said (log, Event) when it has stood for a while, since while a rack is found to be cut off its nodes are found one by
 * one, and it is said that it is over when it no longer stands.
 */
import type { Logger } from "../log/index.ts";
import { monotonicMs } from "../sys/index.ts";
import type { Verdict } from "./judge.ts";
import type { StandingVerdict } from "./status.ts";
import { REASONS, type Worded } from "./words.ts";

/** In milliseconds. */
const STANDS_MS = 5_000;

/** What is asked of others. */
export interface StandingOptions {
  log: Logger;
  /** Emits a Warning Event on our Node. */
  event: (reason: string, message: string) => void;
  words: (verdict: Verdict) => Worded;
  /** Whether other nodes are being asked about one, whose answers may make another verdict of it. */
  asking: (node: string) => boolean;
  /** Whether this node writes the Event. */
  speaks: (verdict: Verdict) => boolean;
}

interface Standing {
  verdict: Verdict;
  /** When it is said, if it still stands. */
  due: number;
  since: string;
  said: boolean;
}

/** By which a verdict is the same, though more of the nodes of a link are known. */
const keyOf = ({ fault, scope, nodes, others }: Verdict): string =>
  [fault, scope, ...(scope === "node" ? nodes : scope === "pair" ? [...nodes, ...others] : [nodes[0] ?? ""])].join(" ");

/** Keeps them. */
export class StandingVerdicts {
  readonly #options: StandingOptions;
  readonly #all = new Map<string, Standing>();

  constructor(options: StandingOptions) {
    this.#options = options;
  }

  /** Takes what was judged anew. @returns in how many milliseconds there is something to say, if nothing changes; undefined for nothing */
  update(verdicts: readonly Verdict[]): number | undefined {
    const { log, words, asking } = this.#options;
    const now = monotonicMs();
    const keys = new Set<string>();
    for (const verdict of verdicts) {
      const key = keyOf(verdict);
      keys.add(key);
      const standing = this.#all.get(key);
      if (!standing)
        this.#all.set(key, { verdict, due: now + STANDS_MS, since: new Date().toISOString(), said: false });
      else {
        standing.verdict = verdict;
        if ([...verdict.nodes, ...verdict.others].some(asking)) standing.due = now + STANDS_MS;
      }
    }
    for (const [key, { verdict, said }] of this.#all) {
      if (keys.has(key)) continue;
      this.#all.delete(key);
      if (said) log.info(`over: ${words(verdict).found}`);
    }
    let next: number | undefined;
    for (const standing of this.#all.values()) {
      if (standing.said) continue;
      const rest = standing.due - now;
      if (rest > 0) next = Math.min(next ?? rest, rest);
      else this.#say(standing);
    }
    return next;
  }

  /** Those that stand, said or not. */
  get all(): StandingVerdict[] {
    return Array.from(this.#all.values(), ({ verdict, since }) => ({
      ...verdict,
      ...this.#options.words(verdict),
      since,
    }));
  }

  #say(standing: Standing): void {
    standing.said = true;
    const { verdict } = standing;
    const { log, event, words, speaks } = this.#options;
    const { found, cure } = words(verdict);
    log.warn(`probes: ${found}`, { cure });
    if (speaks(verdict)) event(REASONS[verdict.fault], `${found}. ${cure}`);
  }
}
