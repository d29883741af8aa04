/** Puts together what the kernel tells of marked packets on one node: where they were seen, what let them pass, and what ended them. Pure. */
import { bytesToIp, type Family } from "../../../addr/index.ts";
import { SEEN_CHAINS, type TraceEvent } from "../../../dataplane/nftrace/index.ts";
import { markOf } from "./mark.ts";
import type { Dropped, Hook, Kind, Seen } from "./types.ts";

/** Of so many kinds something is remembered. */
const MOST = 64;

/** A rule that has ended packets, by its handle; what it says is read afterwards. */
export type DroppedBy = Omit<Dropped, "rule"> & { family: string; name: string; handle?: number };

interface Way {
  kind: Kind;
  outer: boolean;
  hook: Hook;
}

const MARKS: ReadonlyMap<string, { kind: Kind; outer: boolean }> = new Map(
  (["request", "answer", "error"] as const).flatMap((kind) =>
    [false, true].map((outer) => [markOf(kind, outer), { kind, outer }] as const),
  ),
);

/** Where the source is in an IP header, and how long it is. */
const SOURCE = { 4: [12, 16], 6: [8, 24] } as const;

export class Observed {
  readonly #table: string;
  readonly #family: Family;
  readonly #ends: { from: string; to: string };
  readonly #deviceOf: (index: number) => string | undefined;
  /** What a packet is by its number in traces. */
  readonly #packets = new Map<number, Way>();
  readonly #seen = new Map<string, Seen>();
  readonly #dropped = new Map<string, DroppedBy>();
  readonly #passed = new Set<string>();

  /** @param table in which packets are marked. @param deviceOf its name, where it is there */
  constructor(
    table: string,
    family: Family,
    ends: { from: string; to: string },
    deviceOf: (index: number) => string | undefined,
  ) {
    this.#table = table;
    this.#family = family;
    this.#ends = ends;
    this.#deviceOf = deviceOf;
  }

  get seen(): Seen[] {
    return [...this.#seen.values()];
  }

  get dropped(): DroppedBy[] {
    return [...this.#dropped.values()];
  }

  get passed(): string[] {
    return [...this.#passed];
  }

  take(event: TraceEvent): void {
    if (event.family === "inet" && event.table === this.#table) return this.#takeOwn(event);
    const way = this.#packets.get(event.id);
    if (!way) return;
    const table = `${event.family} ${event.table}`;
    if (event.verdict === "drop") {
      const { kind, outer, hook } = way;
      const key = [kind, outer, table, event.chain, event.rule].join(" ");
      const known = this.#dropped.get(key);
      if (known) known.packets++;
      else if (this.#dropped.size < MOST)
        this.#dropped.set(key, {
          kind,
          outer,
          hook,
          table,
          chain: event.chain,
          packets: 1,
          family: event.family,
          name: event.table,
          ...(event.rule !== undefined && { handle: event.rule }),
        });
    } else if (event.verdict !== "on" && way.kind === "request" && this.#passed.size < MOST)
      this.#passed.add(`${table} ${event.chain}${event.verdict === "queue" ? " (queue)" : ""}`);
  }

  #takeOwn(event: TraceEvent): void {
    const mark = MARKS.get(event.chain);
    const marked = mark && event.rule !== undefined;
    const known = this.#packets.get(event.id);
    const hook = marked ? (event.out === undefined ? "prerouting" : "output") : hookOf(event.chain);
    const what = marked ? mark : known;
    // A base chain tells of its end and of its policy: once with the packet, once without.
    if (!what || hook === undefined || (!marked && !event.network)) return;
    const way = { kind: what.kind, outer: what.outer, hook };
    if (known || this.#packets.size < MOST * MOST) this.#packets.set(event.id, way);
    const seen: Seen = { ...way, packets: 1, ...this.#devices(event), ...this.#particular(way, event) };
    const key = JSON.stringify(seen);
    const before = this.#seen.get(key);
    if (before) before.packets++;
    else if (this.#seen.size < MOST) this.#seen.set(key, seen);
  }

  #devices(event: TraceEvent): Pick<Seen, "in" | "out"> {
    const name = (index: number | undefined): string | undefined =>
      index === undefined ? undefined : this.#deviceOf(index);
    const [incoming, outgoing] = [name(event.in), name(event.out)];
    return { ...(incoming !== undefined && { in: incoming }), ...(outgoing !== undefined && { out: outgoing }) };
  }

  /** Who sends it, where that is no matter of course, and what an error says. */
  #particular({ kind, outer }: Way, { network, transport }: TraceEvent): Pick<Seen, "source" | "says"> {
    const [from, to] = SOURCE[this.#family];
    if (outer || !network || network.length < to) return {};
    const source = bytesToIp(network.subarray(from, to));
    if (kind !== "error") return source === (kind === "request" ? this.#ends.from : this.#ends.to) ? {} : { source };
    const [type, code] = transport ?? [];
    return { source, says: errorText(this.#family, type ?? 0, code ?? 0) };
  }
}

const hookOf = (chain: string): Hook | undefined => SEEN_CHAINS.find((one) => one === chain);

/** ICMP's types and codes (RFC 792, RFC 1812 section 5.2.7.1, RFC 4443 section 3), those that end a packet's way. */
const ERRORS: Readonly<Record<Family, Readonly<Record<string, string>>>> = {
  4: {
    "3.0": "network unreachable",
    "3.1": "host unreachable",
    "3.2": "protocol unreachable",
    "3.3": "port unreachable",
    "3.4": "fragmentation needed",
    "3.9": "network prohibited",
    "3.10": "host prohibited",
    "3.13": "administratively prohibited",
    "11.0": "time to live exceeded",
  },
  6: {
    "1.0": "no route",
    "1.1": "administratively prohibited",
    "1.3": "address unreachable",
    "1.4": "port unreachable",
    "2.0": "packet too big",
    "3.0": "hop limit exceeded",
    "4.1": "protocol unreachable",
  },
};

const errorText = (family: Family, type: number, code: number): string =>
  ERRORS[family][`${type}.${code}`] ?? `ICMP type ${type} code ${code}`;
