/**
 * What the page is sent, read a little at a time: a large cluster is millions of characters, which at once would hold up whatever else the page does.
 * Nothing of a change is shown before its last part is read, so that what is shown was so at one time.
 */
import { LISTS, type MapPart } from "../wire.ts";
import { type Change, type Everything, rowOf } from "./mirror.ts";

/** How long a turn may take, in milliseconds, but for the rest of a part. */
const TURN_MS = 8;

/** How a message begins: with everything, a change, or more of either. */
export type Kind = "all" | "change" | "part";

/** Who takes what was read. */
export interface Reader {
  /** Everything anew. */
  all(snapshot: Everything, clock: number): void;
  change(delta: Change, clock: number): void;
}

/** A part with its rows as bytes. */
type Read = Omit<MapPart, "rows"> & Pick<Change, "rows">;

export class Inbox {
  readonly #reader: Reader;
  readonly #onRead: () => void;
  readonly #later: (turn: () => void) => void;
  #waiting: { kind: Kind; text: string; clock: number }[] = [];
  #asked = false;
  /** The parts of what is being read. */
  #parts: Read[] = [];
  #kind: Kind = "all";
  #clock = 0;

  /** @param onRead told when a reader was told, or {@link Inbox.share} has grown. @param later calls back soon, after what else there is to do */
  constructor(reader: Reader, onRead: () => void, later: (turn: () => void) => void) {
    [this.#reader, this.#onRead, this.#later] = [reader, onRead, later];
  }

  /** How much of everything was read, 0 to 1; undefined where that is not what is being read. */
  get share(): number | undefined {
    const last = this.#parts.at(-1);
    return this.#kind === "all" && last ? this.#parts.length / (this.#parts.length + last.more) : undefined;
  }

  /** Takes a message. @param clock this machine's, in milliseconds since 1970 */
  push(kind: Kind, text: string, clock: number): void {
    this.#waiting.push({ kind, text, clock });
    this.#ask();
  }

  #ask(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.#later(() => {
      this.#asked = false;
      this.#turn();
    });
  }

  #turn(): void {
    const start = performance.now();
    let read = 0;
    for (const { kind, text, clock } of this.#waiting) {
      this.#read(kind, text, clock);
      read++;
      if (performance.now() - start > TURN_MS) break;
    }
    this.#waiting = this.#waiting.slice(read);
    if (this.#waiting.length > 0) this.#ask();
    this.#onRead();
  }

  #read(kind: Kind, text: string, clock: number): void {
    // Whatever a connection that was lost has left begun is over.
    if (kind !== "part") [this.#kind, this.#clock, this.#parts] = [kind, clock, []];
    const { rows, ...part } = JSON.parse(text) as MapPart;
    this.#parts.push({ ...part, ...(rows && { rows: rows.map(rowOf) }) });
    if (part.more > 0) return;
    const whole = joined(this.#parts);
    this.#parts = [];
    if (this.#kind === "all") this.#reader.all(whole, this.#clock);
    else this.#reader.change(whole, this.#clock);
  }
}

function joined(parts: readonly Read[]): Everything {
  const whole: Record<string, unknown> = { ...parts[0] };
  for (const list of LISTS) {
    const all = parts.flatMap((part): readonly unknown[] => part[list] ?? []);
    if (all.length > 0) whole[list] = all;
  }
  return whole as unknown as Everything;
}
