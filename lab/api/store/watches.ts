/** All open watches of a server, for what happens to all of them at once. */
import { expired } from "../errors.ts";
import type { ResourceType } from "../types.ts";
import type { WatchStream } from "./watch.ts";

/** The open watches. */
export class Watches {
  readonly #open = new Set<WatchStream>();

  /** How many are open. */
  get count(): number {
    return this.#open.size;
  }

  /** Notes an open watch. Returns the way to forget it. */
  add(watch: WatchStream): () => void {
    this.#open.add(watch);
    return () => this.#open.delete(watch);
  }

  /** Ends all, cleanly or by breaking the connections. */
  drop(how: "end" | "reset"): void {
    for (const watch of this.#open) {
      if (how === "end") watch.end();
      else watch.reset();
    }
  }

  /** Ends those of one resource. */
  endOf(type: ResourceType): void {
    for (const watch of this.#open) if (watch.type === type) watch.end();
  }

  /** Sends nonsense on all. */
  corrupt(how: "garbage" | "truncate"): void {
    for (const watch of this.#open) watch.corrupt(how);
  }

  /** Ends all with 410 Expired. */
  expire(): void {
    for (const watch of this.#open) watch.fail(expired("The resourceVersion for the provided watch is too old."));
  }

  /** Goes on after a stall. */
  resume(): void {
    for (const watch of this.#open) watch.resume();
  }
}
