/**
 * Programs at devices by their traffic control (queueing discipline `clsact`, a filter each): for kernels that have no links for them. Such a filter stays when this
 * process is gone, known by its program's name and its priority; the programs themselves do nothing any more then, and whoever comes next replaces or removes them.
 *
 * What somebody else has at a device stays, and stays in force: a `clsact` goes with the last of our filters if it was made for them, and there is no other in it.
 */
import type { Filter, FilterSide, NetlinkError, Operation, Rtnl } from "../../netlink/index.ts";
import type { Attachment, Program } from "../bpf/index.ts";

const KIND = "clsact";
/** Names of all our programs begin so. */
const NAME = "sky_";
/** So many devices are looked at anew each time, whatever the kernel has told of them. */
const LOOKED_AT = 8;
/** The device or the filter is not there (any more), or nothing that it could hang on. */
const GONE: ReadonlySet<string> = new Set(["ENODEV", "ENOENT", "EINVAL"]);

/** Where a program is: a device's side, and its place among the filters there. */
export interface FilterPlace {
  ifindex: number;
  side: FilterSide;
  priority: number;
}

/** Places of our filters at a device; limits of pods come before them. */
export const PRIORITIES = { first: 759, second: 760 } as const;
const OURS: ReadonlySet<number> = new Set(Object.values(PRIORITIES));

const isOurs = ({ program, priority }: Filter): boolean =>
  program?.name.startsWith(NAME) === true && OURS.has(priority);
const placeName = ({ ifindex, side, priority }: FilterPlace): string => `${ifindex} ${side} ${priority}`;

type Filters = Readonly<Record<FilterSide, readonly Filter[]>>;

/** See the header. Methods throw NetlinkError, DumpInterrupted. */
export class Clsact {
  readonly #rtnl: Pick<Rtnl, "qdiscs" | "ingressFilters" | "egressFilters" | "executeAll">;
  /** What devices have, as it was when it was asked last; the one that was asked longest ago first. */
  readonly #known = new Map<number, Filters>();
  /** Devices whose `clsact` was made for our filters. */
  readonly #made = new Set<number>();

  constructor(rtnl: Pick<Rtnl, "qdiscs" | "ingressFilters" | "egressFilters" | "executeAll">) {
    this.#rtnl = rtnl;
  }

  /** Something has changed at a device; at all of them by default. */
  forget(ifindex?: number): void {
    if (ifindex === undefined) this.#known.clear();
    else this.#known.delete(ifindex);
  }

  /** Has some devices looked at anew. */
  doubt(): void {
    for (const ifindex of [...this.#known.keys()].slice(0, LOOKED_AT)) this.#known.delete(ifindex);
  }

  /** Whether nobody else has a filter in the `clsact` of a device. */
  isFree(ifindex: number): boolean {
    return this.#all(ifindex).every(isOurs);
  }

  /** Whether the `clsact` of a device is there for our filters alone. */
  isOwn(ifindex: number): boolean {
    const all = this.#all(ifindex);
    return all.every(isOurs) && (all.length > 0 || this.#made.has(ifindex));
  }

  /** Has a program at a place, whatever of ours is there. @throws NetlinkError ENODEV */
  attach(program: Program, place: FilterPlace): Attachment {
    const { ifindex } = place;
    if (this.isOwn(ifindex)) this.#made.add(ifindex);
    const qdisc: Operation = { op: "add", kind: "qdisc", qdisc: { ifindex, kind: KIND } };
    const [made] = this.#rtnl.executeAll([qdisc]);
    // There is one.
    if (made && made.error.code !== "EEXIST") throw made.error;
    if (!made) this.#made.add(ifindex);
    this.#put(program, place);
    let { id } = program;
    const has = (): boolean =>
      this.#filters(ifindex)[place.side].some(
        (filter) => filter.priority === place.priority && filter.program?.id === id,
      );
    return {
      get ifindex() {
        return has() ? ifindex : 0;
      },
      update: (next) => {
        this.#put(next, place);
        ({ id } = next);
      },
      [Symbol.dispose]: () => this.#remove(place),
    };
  }

  /** Takes away what is ours anywhere, but for some places. @returns what it was, in words */
  sweep(keep: Iterable<FilterPlace> = []): string[] {
    const kept = new Set(Array.from(keep, placeName));
    const swept: string[] = [];
    for (const { ifindex, kind } of this.#rtnl.qdiscs()) {
      if (kind !== KIND) continue;
      const filters = this.#filters(ifindex);
      if (this.isOwn(ifindex)) this.#made.add(ifindex);
      for (const side of ["receives", "sends"] as const)
        for (const filter of filters[side].filter(isOurs)) {
          const place = { ifindex, side, priority: filter.priority };
          if (kept.has(placeName(place))) continue;
          this.#remove(place);
          swept.push(`BPF program ${filter.program?.name} at device ${ifindex}`);
        }
    }
    return swept;
  }

  #put(program: Program, { ifindex, side, priority }: FilterPlace): void {
    this.forget(ifindex);
    const { name, fd } = program;
    const filter = { ifindex, side, priority, program: { name, fd } };
    const [refused] = this.#rtnl.executeAll([{ op: "replace", kind: "filter", filter }]);
    if (refused) throw refused.error;
  }

  #remove({ ifindex, side, priority }: FilterPlace): void {
    const there = this.#filters(ifindex)[side].some((filter) => filter.priority === priority && isOurs(filter));
    const filter = { ifindex, side, priority, program: { name: NAME, fd: -1 } };
    if (there) this.#execute({ op: "del", kind: "filter", filter });
    if (!this.#made.has(ifindex) || this.#all(ifindex).length > 0) return;
    this.#made.delete(ifindex);
    this.#execute({ op: "del", kind: "qdisc", qdisc: { ifindex, kind: KIND } });
  }

  #execute(operation: Extract<Operation, { kind: "filter" | "qdisc" }>): void {
    this.forget(operation.kind === "filter" ? operation.filter.ifindex : operation.qdisc.ifindex);
    const [refused] = this.#rtnl.executeAll([operation]);
    if (refused && !isGone(refused.error)) throw refused.error;
  }

  #all(ifindex: number): Filter[] {
    const { receives, sends } = this.#filters(ifindex);
    return [...receives, ...sends];
  }

  #filters(ifindex: number): Filters {
    const known = this.#known.get(ifindex);
    if (known) return known;
    const filters = { receives: this.#rtnl.ingressFilters(ifindex), sends: this.#rtnl.egressFilters(ifindex) };
    this.#known.set(ifindex, filters);
    return filters;
  }
}

const isGone = ({ code }: NetlinkError): boolean => GONE.has(code);

/** Takes the fast path's programs off all devices of a namespace where nobody looks after them. @returns what it was, in words. @throws NetlinkError */
export const removePrograms = (rtnl: Rtnl): string[] => new Clsact(rtnl).sweep();
