/**
 * Addresses that domain names have, as DNS servers have told pods of this node: until when, who asked first, and no more than there is room for. Pods choose
 * what they ask, so a pod has a share of its own. Names that no longer have an address stay known for a while, since
 * connections go on that began before.
 */
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseIp } from "../../addr/index.ts";
import type { DnsAnswer } from "../../dns/index.ts";
import type { Changes, NamedAddress } from "../../policy/index.ts";
import { makeDirectory, writeFileAtomic } from "../../sys/index.ts";

/** Programs connect some time after they have asked, and many keep an answer for longer than it says (seconds). */
const LEAST_TTL = 30;
const MOST_TTL = 86_400;
/** Addresses of one name, of names that one pod has asked for, and of all. */
const MOST_OF_NAME = 100;
const MOST_OF_POD = 1_000;
const MOST = 10_000;
const VERSION = 1;

interface Entry extends NamedAddress {
  /** Address of the pod that asked. */
  pod: string;
  /** Milliseconds since the epoch. */
  until: number;
  /** Told to the rules as over. */
  over: boolean;
}

type NameChanges = NonNullable<Changes["names"]>;

/** See the header. */
export class KnownNames {
  /** By name and address; what was heard of last comes last. */
  readonly #entries = new Map<string, Entry>();
  readonly #perName = new Map<string, number>();
  readonly #perPod = new Map<string, number>();
  readonly #path: string;
  readonly #now: () => number;

  /**
   * Knows what was written to a file before.
   * @param now milliseconds since the epoch
   */
  constructor(path: string, now: () => number = Date.now) {
    this.#path = path;
    this.#now = now;
  }

  /** Takes in what an agent before this one knew; nothing where there is none. @throws Error when the file cannot be read */
  load(): NameChanges {
    let text: string;
    try {
      text = readFileSync(this.#path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
      throw error;
    }
    const { version, names } = JSON.parse(text) as { version: unknown; names: unknown };
    if (version !== VERSION || !Array.isArray(names)) throw new Error(`${this.#path} has another layout`);
    const now = this.#now();
    for (const one of (names as unknown[]).slice(0, MOST)) {
      const [name, ip, pod, until] = one as unknown[];
      if (typeof name !== "string" || typeof ip !== "string" || typeof pod !== "string" || typeof until !== "number")
        throw new Error(`${this.#path} has an entry that is none`);
      // A clock that was put back must not make an answer last.
      const latest = Math.min(until, now + MOST_TTL * 1_000);
      this.#add({ name, ip: parseIp(ip), pod: parseIp(pod), until: latest, over: latest <= now });
    }
    return { set: [...this.#entries.values()].map(said) };
  }

  /** Writes down what is known. @throws Error */
  save(): void {
    const names = [...this.#entries.values()].map(({ name, ip, pod, until }) => [name, ip, pod, until]);
    makeDirectory(dirname(this.#path), 0o700);
    writeFileAtomic(this.#path, `${JSON.stringify({ version: VERSION, names })}\n`);
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Addresses that names have now. */
  current(): NamedAddress[] {
    const now = this.#now();
    return [...this.#entries.values()].filter(({ until }) => until > now).map(({ name, ip }) => ({ name, ip }));
  }

  /** When the next name ceases to have an address, in milliseconds from now; undefined where none has one. */
  get nextMs(): number | undefined {
    let next = Number.POSITIVE_INFINITY;
    for (const { until, over } of this.#entries.values()) if (!over) next = Math.min(next, until);
    return Number.isFinite(next) ? Math.max(0, next - this.#now()) : undefined;
  }

  /**
   * Takes in an answer to a pod. What it tells that is known for as long already is no change, and what there is no room for is left out.
   * @param pod the address to which it went
   */
  learn(pod: string, { name, addresses }: DnsAnswer): { changes: Required<NameChanges>; refused: number } {
    const changes = { set: [] as (NamedAddress & { until: number })[], gone: [] as NamedAddress[] };
    let refused = 0;
    for (const { ip, ttl } of addresses) {
      const until = this.#now() + Math.min(Math.max(ttl, LEAST_TTL), MOST_TTL) * 1_000;
      const known = this.#entries.get(keyOf(name, ip));
      if (known && !known.over && known.until >= until) continue;
      if (!known && !this.#makeRoom(pod, name, changes.gone)) {
        refused++;
        continue;
      }
      if (known) this.#remove(known);
      this.#add({ name, ip, pod: known?.pod ?? pod, until, over: false });
      changes.set.push({ name, ip, until });
    }
    return { changes, refused };
  }

  /** What is over by now. @param wanted whether rules ask for a name: what they do not is forgotten */
  lapse(wanted: (name: string) => boolean): Required<NameChanges> {
    const now = this.#now();
    const changes = { set: [] as (NamedAddress & { until: number })[], gone: [] as NamedAddress[] };
    for (const one of this.#entries.values()) {
      if (one.over || one.until > now) continue;
      if (wanted(one.name)) {
        one.over = true;
        changes.set.push(said(one));
      } else {
        this.#remove(one);
        changes.gone.push({ name: one.name, ip: one.ip });
      }
    }
    return changes;
  }

  /** Lets go of what is over, the oldest first, where there is too much. */
  #makeRoom(pod: string, name: string, gone: NamedAddress[]): boolean {
    const full = (): ((one: Entry) => boolean) | undefined => {
      if ((this.#perName.get(name) ?? 0) >= MOST_OF_NAME) return (one) => one.name === name;
      if ((this.#perPod.get(pod) ?? 0) >= MOST_OF_POD) return (one) => one.pod === pod;
      return this.#entries.size >= MOST ? () => true : undefined;
    };
    for (let among = full(); among; among = full()) {
      const oldest = this.#entries.values().find((one) => one.over && among?.(one));
      if (!oldest) return false;
      this.#remove(oldest);
      gone.push({ name: oldest.name, ip: oldest.ip });
    }
    return true;
  }

  #add(entry: Entry): void {
    this.#entries.set(keyOf(entry.name, entry.ip), entry);
    count(this.#perName, entry.name, 1);
    count(this.#perPod, entry.pod, 1);
  }

  #remove(entry: Entry): void {
    this.#entries.delete(keyOf(entry.name, entry.ip));
    count(this.#perName, entry.name, -1);
    count(this.#perPod, entry.pod, -1);
  }
}

const keyOf = (name: string, ip: string): string => `${name} ${ip}`;
const said = ({ name, ip, until, over }: Entry): NamedAddress & { until: number } => ({
  name,
  ip,
  until: over ? 0 : until,
});

function count(counts: Map<string, number>, key: string, more: number): void {
  const now = (counts.get(key) ?? 0) + more;
  if (now > 0) counts.set(key, now);
  else counts.delete(key);
}
