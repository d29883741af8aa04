/**
 * Memory of which peers are refused and why, so that each is told once: when it is first refused, when its
 * reason changes, and when it is accepted again. Without it every Node event would repeat every complaint.
 */
import type { Refusal } from "../peers/index.ts";

/** What changed between two looks. */
export interface RefusalNews {
  /** Refused now, and not before or for another reason. */
  fresh: Refusal[];
  /** Names of nodes that are refused no longer. */
  lifted: string[];
}

/** The refusals of one pod network. */
export class RefusalLog {
  #known = new Map<string, Refusal>();

  /** Takes the refusals of the latest look and returns what is new in them. */
  update(refused: readonly Refusal[]): RefusalNews {
    const now = new Map(refused.map((refusal) => [refusal.node, refusal]));
    const fresh = refused.filter(({ node, reason, message }) => {
      const before = this.#known.get(node);
      return before?.reason !== reason || before.message !== message;
    });
    const lifted = [...this.#known.keys()].filter((node) => !now.has(node));
    this.#known = now;
    return { fresh, lifted };
  }

  /** The refusals as of the last look. */
  get current(): readonly Refusal[] {
    return [...this.#known.values()];
  }

  /** How many nodes are refused for each reason. */
  byReason(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const { reason } of this.#known.values()) counts.set(reason, (counts.get(reason) ?? 0) + 1);
    return counts;
  }
}
