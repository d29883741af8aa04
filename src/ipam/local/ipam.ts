/**
 * Gives, frees and collects addresses: decides under the lock what store.ts then does in single steps.
 *
 * The order of those steps is what makes a kill at any instruction harmless. Giving writes the owner's record,
 * then one entry an address; freeing removes the entries, then the record. Between any two of them each address is
 * either free or has an entry, an entry says whose it is, and the owner's DEL, GC or the collector frees it.
 */
import { cidrContains } from "../../addr/index.ts";
import { bootId, withLock } from "../../sys/index.ts";
import {
  errnoCode,
  IpamDuplicate,
  IpamError,
  IpamExhausted,
  IpamInvalid,
  IpamStorageError,
  IpamTaken,
} from "./errors.ts";
import { readReservations, sweep, type Warn } from "./inventory.ts";
import { sandboxOf, uptime } from "./liveness.ts";
import { nextFit, poolContains, poolSize, without } from "./pool.ts";
import { type Memory } from "./history.ts";
import { type OwnerRecord, ownerKey } from "./record.ts";
import { type Choice, choicesOf } from "./request.ts";
import { isAddress, Store } from "./store.ts";
import { usageOf } from "./usage.ts";
import type { BlockUsage, Owner, Reservation, ReserveRequest } from "./types.ts";

type InUse = NonNullable<ReserveRequest["inUse"]>;
type Attachment = Pick<Owner, "containerId" | "ifname">;

/** The addresses of one pod network on this node. Any number of processes may have one at the same time. */
export class Ipam {
  readonly #store: Store;
  readonly #warn: Warn;

  /**
   * @param o.dir `<dataDir>/ipam/<network>`, made when first needed.
   * @param o.warn told of entries that are damaged or not ours; each keeps its address and harms nothing else.
   * @param o.unlink removes a record's name; unlink(2) by default.
   */
  constructor(o: { dir: string; warn?: Warn; unlink?: (path: string) => void }) {
    this.#store = new Store(o.dir, o.unlink);
    this.#warn = o.warn ?? (() => undefined);
  }

  /**
   * Gives an attachment one address a family of the request's pod CIDRs, in their order: all or none.
   * An address that was never given comes first, then the one freed longest ago.
   * @throws IpamExhausted, IpamTaken, IpamDuplicate (it has addresses already), IpamInvalid, IpamStorageError
   * (a full disk, for one); nothing is reserved then.
   */
  reserve(owner: Owner, request: ReserveRequest): string[] {
    const choices = choicesOf(request);
    const draft = { owner, since: Date.now(), uptime: uptime(), bootId: bootId(), ...sandboxOf(owner.netns) };
    return this.#storing("cannot reserve an address", () => {
      this.#store.prepare();
      return withLock(this.#store.lockFile, () => this.#give(draft, choices, request.inUse));
    });
  }

  /** Frees all addresses of an attachment and returns them; none is fine. @throws IpamStorageError */
  release(owner: Attachment): string[] {
    return this.#storing("cannot release addresses", () => this.#locked([], () => this.#release(ownerKey(owner))));
  }

  /** The addresses that an attachment has. @throws IpamStorageError */
  reservationsOf(owner: Attachment): string[] {
    return this.#storing("cannot read reservations", () => this.#entriesOf(ownerKey(owner)));
  }

  /** All reservations that can be read; the others are told to `warn`. @throws IpamStorageError */
  list(): Reservation[] {
    return this.#storing("cannot read reservations", () => readReservations(this.#store, this.#warn));
  }

  /**
   * Frees the reservations of which `isDead` is sure, and what killed processes left half done; returns the freed
   * ones. `isDead` is asked without the lock, since looking at sandboxes may take long; a reservation that changed
   * hands in the meantime stays.
   * @throws IpamStorageError, and what `isDead` throws.
   */
  collect(isDead: (reservation: Reservation) => boolean): Reservation[] {
    const dead = this.list().filter(isDead);
    return this.#storing("cannot collect reservations", () =>
      this.#locked([], () => sweep(this.#store, dead, this.#warn)),
    );
  }

  /**
   * How many addresses of each block are taken, and how many there are for pods.
   * @throws IpamInvalid for what is no CIDR, IpamStorageError
   */
  usage(blocks: readonly string[], exclude: readonly string[] = []): BlockUsage[] {
    const names = this.#storing("cannot read reservations", () => this.#store.takenNames());
    return usageOf(blocks, names, exclude);
  }

  /**
   * Ends giving from a block if nothing of it is taken; returns whether that is so now. From then on no process gives an
   * address of it, whatever list of blocks it goes by, until `admit`: also after a kill. @throws IpamStorageError
   */
  retire(block: string): boolean {
    return this.#storing("cannot retire a block", () => {
      this.#store.prepare();
      return withLock(this.#store.lockFile, () => {
        if (this.#store.takenNames().some((name) => isAddress(name) && cidrContains(block, name))) return false;
        this.#store.retire(block);
        return true;
      });
    });
  }

  /** Lets a block be given from (again). @throws IpamStorageError */
  admit(block: string): void {
    this.#storing("cannot admit a block", () => this.#locked(undefined, () => this.#store.admit(block)));
  }

  /** The blocks that were retired and not admitted since. @throws IpamStorageError */
  retired(): string[] {
    return this.#storing("cannot read retired blocks", () => this.#store.retired());
  }

  #give(draft: Omit<OwnerRecord, "ips">, choices: readonly Choice[], inUse: InUse = () => false): string[] {
    const store = this.#store;
    const key = ownerKey(draft.owner);
    if (store.recordOf(key) !== undefined) {
      const held = this.#entriesOf(key);
      if (held.length > 0) throw new IpamDuplicate(draft.owner.containerId, draft.owner.ifname, held);
      store.removeRecord(key);
    }
    const taken = new Set(store.takenNames());
    const memories = store.history.read();
    const retired = store.retired();
    const ips = choices.map((choice) => this.#pick(choice, taken, memories[choice.pool.family], { retired, inUse }));
    store.addRecord(key, { ...draft, ips });
    try {
      for (const ip of ips) store.take(ip, key);
    } catch (error) {
      for (const ip of ips) if (store.holds(key, ip)) store.untake(ip);
      store.removeRecord(key);
      throw error;
    }
    store.history.given(ips.filter((_, at) => choices[at]?.wanted === undefined));
    return ips;
  }

  #pick(
    choice: Choice,
    taken: ReadonlySet<string>,
    { freed, last }: Memory,
    { retired, inUse }: { retired: readonly string[]; inUse: InUse },
  ): string {
    const { wanted } = choice;
    const pool = retired.length === 0 ? choice.pool : without(choice.pool, retired);
    if (wanted !== undefined) {
      const block = retired.find((one) => cidrContains(one, wanted));
      if (block !== undefined)
        throw new IpamInvalid(`address ${wanted} cannot be given: its block ${block} is no longer this node's`);
      if (taken.has(wanted)) throw new IpamTaken(wanted, this.#holderOf(wanted));
      if (inUse(wanted)) throw new IpamTaken(wanted, "a pod on this node of which no record is left");
      return wanted;
    }
    const from = last !== undefined && isAddress(last) ? last : undefined;
    const fresh = nextFit(pool, from, (ip) => taken.has(ip) || freed.has(ip) || inUse(ip));
    if (fresh !== undefined) return fresh;
    for (const ip of freed) if (!taken.has(ip) && isAddress(ip) && poolContains(pool, ip) && !inUse(ip)) return ip;
    let used = 0n;
    for (const name of taken) if (isAddress(name) && poolContains(pool, name)) used++;
    throw new IpamExhausted(pool.label, poolSize(pool), used);
  }

  #release(key: string): string[] {
    const ips = this.#entriesOf(key);
    this.#store.free(ips);
    this.#store.removeRecord(key);
    return ips;
  }

  /** The addresses whose entries name a key. Without a readable record that says which, all entries are looked at. */
  #entriesOf(key: string): string[] {
    const record = this.#store.recordOf(key);
    const ips = record === undefined || record === "damaged" ? this.#store.takenNames() : record.ips;
    return ips.filter((ip) => isAddress(ip) && this.#store.holds(key, ip));
  }

  #holderOf(ip: string): string {
    const holder = this.#store.holderOf(ip);
    if (holder === undefined || holder === "damaged")
      return `a file that is no reservation, ${this.#store.dir}/taken/${ip}`;
    const { owner, since } = holder;
    return `container ${owner.containerId} interface ${owner.ifname} since ${new Date(since).toISOString()}`;
  }

  /** Under the lock, or `otherwise` where nothing was ever reserved. */
  #locked<T>(otherwise: T, fn: () => T): T {
    return this.#store.exists() ? withLock(this.#store.lockFile, fn) : otherwise;
  }

  /** Gives the system's errors the words of what was being done. */
  #storing<T>(doing: string, fn: () => T): T {
    try {
      return fn();
    } catch (error) {
      if (error instanceof IpamError || errnoCode(error) === undefined) throw error;
      throw new IpamStorageError(doing, this.#store.dir, error);
    }
  }
}
