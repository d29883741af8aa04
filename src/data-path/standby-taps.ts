/** The host ends of pods with a claim whose addresses another node has: the first frame that such a pod sends takes them over. */
import { FirstFrames } from "../endpoints/index.ts";
import type { Logger } from "../log/index.ts";
import type { PodPort } from "../workloads/index.ts";

/** Listens there from the first {@link follow} to {@link close}. */
export class StandbyTaps {
  readonly #log: Logger;
  readonly #first: FirstFrames;
  /** Host ends of which it was said that nothing would be noticed there. */
  readonly #told = new Set<string>();
  #closed = false;

  /** @param netns descriptor of the host ends' namespace. @param onSeen told again and again while a pod sends */
  constructor(netns: number, log: Logger, onSeen: (ifname: string) => void) {
    this.#log = log;
    this.#first = new FirstFrames(netns, onSeen);
  }

  /** Listens for the MACs of these pods, at their host ends, and nowhere else. */
  follow(ports: readonly Pick<PodPort, "ifname" | "ifindex" | "mac">[]): void {
    if (this.#closed) return;
    const unmonitored = this.#first.follow(ports.map(({ ifname, ifindex, mac }) => ({ ifname, ifindex, macs: [mac] })));
    for (const name of this.#told) if (!unmonitored.has(name)) this.#told.delete(name);
    for (const [ifname, reason] of unmonitored) {
      if (!this.#told.has(ifname))
        this.#log.warn("a workload that takes its addresses over would not be noticed", { ifname, reason });
      this.#told.add(ifname);
    }
  }

  close(): void {
    this.#closed = true;
    this.#first.close();
  }
}
