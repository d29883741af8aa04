/**
 * Candidates of a gateway watch each other by ICMP echoes, which a node's kernel answers whatever its agent does. What has arrived is read before it is
 * judged, and beats are counted, not seconds: an agent that did not get to run takes nobody for dead.
 */
import { FAMILIES, type Family, familyOf } from "../addr/index.ts";
import type { Logger } from "../log/index.ts";
import { ProbeSocket, sockaddrOf, SysError } from "../sys/index.ts";

/** Between two beats, in milliseconds. */
const BEAT_MS = 400;
/** So many in a row that are not answered are one's death. */
const MISSED = 4;
/** The word by which these echoes are told from others ("SKYB"). */
const MAGIC = 0x534b_5942;
/** Answers that are read at once. */
const MOST = 256;
/** A number that names whom a beat is for. */
const NUMBER = 8;

export interface BeatsOptions {
  log: Logger;
  /** Whether a node is heard is otherwise. */
  onChange: () => void;
  /** After each beat, while there is anybody to watch. */
  onBeat: () => void;
  /** Opens a socket of a family; for tests. @throws SysError */
  open?: (family: Family) => BeatSocket;
}

/** What beats need of a socket. */
export type BeatSocket = Pick<ProbeSocket, "send" | "answers" | "requests"> & Disposable;

interface Watched {
  ip: string;
  to: Buffer;
  number: bigint;
  /** Beats in a row without an answer; the one under way is not counted. */
  missed: number;
  answered: boolean;
  /** Whether it has ever answered, or has been missed for long enough. */
  known: boolean;
}

/** See the header. */
export class Beats {
  readonly #options: BeatsOptions;
  readonly #open: (family: Family) => BeatSocket;
  readonly #watched = new Map<string, Watched>();
  readonly #sockets = new Map<Family, BeatSocket>();
  #timer: NodeJS.Timeout | undefined;
  #number = 0n;
  #failed = false;

  constructor(options: BeatsOptions) {
    this.#options = options;
    this.#open = options.open ?? ((family) => ProbeSocket.open(family, MAGIC));
  }

  /** Watches these nodes, by their underlay addresses, and no others. */
  follow(nodes: ReadonlyMap<string, string>): void {
    for (const [node, { ip }] of this.#watched) if (nodes.get(node) !== ip) this.#watched.delete(node);
    for (const [node, ip] of nodes)
      if (!this.#watched.has(node))
        this.#watched.set(node, {
          ip,
          to: sockaddrOf(ip),
          number: ++this.#number,
          missed: 0,
          answered: true,
          known: false,
        });
    if (this.#watched.size > 0) this.#timer ??= setInterval(() => this.beat(), BEAT_MS);
    else this.#rest();
  }

  /** Whether a node is heard; undefined while it is too early to say, or nobody watches it. */
  hears(node: string): boolean | undefined {
    const watched = this.#watched.get(node);
    return watched?.known ? watched.missed < MISSED : undefined;
  }

  stop(): void {
    this.#watched.clear();
    this.#rest();
  }

  #rest(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const socket of this.#sockets.values()) socket[Symbol.dispose]();
    this.#sockets.clear();
  }

  /** One beat: takes what has arrived since the last one, judges, and asks once more. */
  beat(): void {
    try {
      this.#take();
      this.#send();
      this.#failed = false;
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      // Nobody is taken for dead by one who cannot ask.
      if (!this.#failed)
        this.#options.log.warn("the nodes of egress gateways cannot be watched; their Leases alone tell who is dead", {
          error,
        });
      this.#failed = true;
    }
    this.#options.onBeat();
  }

  #take(): void {
    const byNumber = new Map(Array.from(this.#watched.values(), (one) => [one.number, one]));
    for (const socket of this.#sockets.values()) {
      socket.answers(MOST, ({ from, data }) => {
        const one = data.length >= NUMBER ? byNumber.get(data.readBigUInt64BE()) : undefined;
        if (one?.ip === from) one.answered = true;
      });
      // The kernel answers them; they are read so that they are not in the way.
      socket.requests(MOST, () => undefined);
    }
    let changed = false;
    for (const one of this.#watched.values()) {
      const before = one.known && one.missed < MISSED;
      const wasKnown = one.known;
      // The first beat has not been sent yet.
      if (one.answered) one.missed = 0;
      else one.missed++;
      one.known ||= one.missed >= MISSED || (one.answered && this.#sockets.size > 0);
      changed ||= wasKnown !== one.known || before !== (one.known && one.missed < MISSED);
    }
    if (changed) this.#options.onChange();
  }

  #send(): void {
    for (const family of FAMILIES) {
      const wanted = [...this.#watched.values()].some(({ ip }) => familyOf(ip) === family);
      if (wanted && !this.#sockets.has(family)) this.#sockets.set(family, this.#open(family));
    }
    const data = Buffer.alloc(NUMBER);
    for (const one of this.#watched.values()) {
      data.writeBigUInt64BE(one.number);
      one.answered = false;
      // What cannot be sent is not answered either.
      this.#sockets.get(familyOf(one.ip))?.send(one.to, data);
    }
  }
}
