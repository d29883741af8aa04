/**
 * Single addresses that nodes may send from: those that they have, those that they had until a moment ago, and for a moment those that they are about
 * to have. A workload that moves may have packets under way when it is heard of elsewhere, and its former node may hear of that later than
 * this one; where it has gone, it may be heard of by its packets before it is by its endpoint, but not before its claim's status is written.
 * Whichever comes first, none of its packets is taken for another node's.
 */

/** How long a node may send from what it has no more, or not yet, in milliseconds. */
const MOMENT_MS = 10_000;

export type HostsByNode = ReadonlyMap<string, readonly string[]>;

/** See the header. */
export class SendingHosts {
  readonly #onChange: (nodes: ReadonlySet<string>, before: (node: string) => readonly string[]) => void;
  readonly #momentMs: number;
  #now: HostsByNode = new Map();
  #expected: HostsByNode = new Map();
  /** What it has no more or not yet, and until when on the clock of `performance`, by node and address. */
  readonly #besides = new Map<string, Map<string, number>>();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  /** @param onChange some nodes may send from other addresses than before */
  constructor(
    onChange: (nodes: ReadonlySet<string>, before: (node: string) => readonly string[]) => void,
    momentMs = MOMENT_MS,
  ) {
    this.#onChange = onChange;
    this.#momentMs = momentMs;
  }

  /** A node's addresses. */
  of(node: string): readonly string[] {
    const [now = [], besides] = [this.#now.get(node), this.#besides.get(node)];
    return besides ? [...new Set([...now, ...besides.keys()])] : now;
  }

  /** Takes which addresses nodes have, and which they should have by what is said of claims. */
  set(hosts: HostsByNode, expected: HostsByNode = new Map()): void {
    const news = (node: string): string[] => {
      const [before = [], now = []] = [this.#expected.get(node), expected.get(node)];
      if (String(before) === String(now)) return [];
      const known = new Set([...before, ...(hosts.get(node) ?? [])]);
      return now.filter((ip) => !known.has(ip));
    };
    const nodes = new Set([...this.#now.keys(), ...hosts.keys(), ...expected.keys()]);
    const changed = [...nodes].filter(
      (node) => String(this.#now.get(node)) !== String(hosts.get(node)) || news(node).length > 0,
    );
    this.#change(changed, () => {
      const until = performance.now() + this.#momentMs;
      for (const node of changed) {
        const besides = this.#besides.get(node) ?? new Map<string, number>();
        for (const ip of [...(this.#now.get(node) ?? []), ...news(node)]) besides.set(ip, until);
        for (const ip of hosts.get(node) ?? []) besides.delete(ip);
        if (besides.size > 0) this.#besides.set(node, besides);
        else this.#besides.delete(node);
      }
      this.#now = hosts;
      this.#expected = expected;
    });
    this.#wait();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #change(nodes: readonly string[], change: () => void): void {
    const before = new Map(nodes.map((node) => [node, this.of(node)]));
    change();
    if (nodes.length > 0) this.#onChange(new Set(nodes), (node) => before.get(node) ?? []);
  }

  #wait(): void {
    if (this.#timer || this.#stopped || this.#besides.size === 0) return;
    const next = Math.min(...this.#besides.values().flatMap((besides) => besides.values()));
    this.#timer = setTimeout(() => this.#expire(), Math.max(0, next - performance.now()));
    this.#timer.unref();
  }

  #expire(): void {
    this.#timer = undefined;
    const now = performance.now();
    const over = [...this.#besides].filter(([, besides]) => besides.values().some((until) => until <= now));
    this.#change(
      over.map(([node]) => node),
      () => {
        for (const [node, besides] of over) {
          for (const [ip, until] of besides) if (until <= now) besides.delete(ip);
          if (besides.size === 0) this.#besides.delete(node);
        }
      },
    );
    this.#wait();
  }
}
