/**
 * Rules with domain names, fed by what DNS servers answer: an answer to a pod that has such rules, by UDP or TCP, is held until the rules know the addresses that it tells, so
 * that the pod's first packet to them is let through. Whatever goes wrong on the way, the answer goes on, and the name's rule allows nothing new.
 */
import { setTimeout as delay } from "node:timers/promises";
import { PacketQueue, type QueuedPacket, tcpSegment, udpPacket } from "../../dataplane/nfqueue/index.ts";
import { type DnsAnswer, readAnswer } from "../../dns/index.ts";
import type { Logger } from "../../log/index.ts";
import { ANSWER_QUEUE, type Changes, type NamedAddress } from "../../policy/index.ts";
import { Task } from "../../reconcile/index.ts";
import { SysError } from "../../sys/index.ts";
import { KnownNames } from "./known-names.ts";
import { TcpAnswers } from "./tcp-answers.ts";

/** How long an answer is held at most, in milliseconds. */
const PATIENCE_MS = 1_000;
/** How soon what was learnt is written down, and what is over is told of, in milliseconds. */
const SAVE_MS = 250;
const LAPSE_MS = 1_000;

export interface NameAnswersOptions {
  log: Logger;
  netns?: number | string | undefined;
  /** File in which addresses are kept for the agent that starts next. */
  path: string;
  /** Tells the rules; resolves when they are in the kernel. */
  change: (changes: Changes) => Promise<void>;
  wantsName: (name: string) => boolean;
  /** {@link NameAnswers.fault} or {@link NameAnswers.tried} is otherwise. */
  onFault: () => void;
}

/** See the header. */
export class NameAnswers {
  readonly #options: NameAnswersOptions;
  readonly #known: KnownNames;
  #tcp = new TcpAnswers();
  readonly #opening: Task;
  readonly #saving: Task;
  #queue: PacketQueue | undefined;
  #listens = false;
  #fault: string | undefined;
  #lapse: NodeJS.Timeout | undefined;
  /** Pods of which it was said that their names are too many. */
  readonly #said = new Set<string>();

  constructor(options: NameAnswersOptions) {
    this.#options = options;
    const { log, path } = options;
    this.#known = new KnownNames(path);
    this.#opening = new Task(
      async () => {
        if (this.#listens) this.#queue ??= this.#open();
        else await this.#close();
        this.#fault = undefined;
        options.onFault();
      },
      { baseMs: 1_000, maxMs: 60_000 },
      (error, attempt) => {
        this.#fault = `queue ${ANSWER_QUEUE} of held packets cannot be listened to: ${error instanceof Error ? error.message : String(error)}`;
        options.onFault();
        if (attempt === 1)
          log.error(
            "rules with domainNames allow nothing, as answers of DNS servers cannot be read; it is tried again",
            {
              error,
            },
          );
      },
    );
    this.#saving = new Task(
      () => this.#known.save(),
      { baseMs: 1_000, maxMs: 60_000 },
      (error, attempt) => {
        if (attempt === 1) log.warn("addresses of domain names cannot be written down", { error });
      },
    );
  }

  /** Tells the rules what an agent before this one knew. */
  start(): void {
    try {
      void this.#tell(this.#known.load());
    } catch (error) {
      this.#options.log.warn(
        "addresses of domain names that were written down cannot be read; pods have to ask again",
        {
          error,
        },
      );
    }
    this.#schedule();
  }

  /** Answers are held from now on, or no more. */
  listen(listens: boolean): void {
    if (this.#listens === listens) return;
    this.#listens = listens;
    this.#opening.want();
  }

  /** Why answers are not read; undefined where they are, or nobody needs them. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** Whether listening has been tried since it was asked for. */
  get tried(): boolean {
    return !this.#listens || this.#queue !== undefined || this.#fault !== undefined;
  }

  /** Addresses that names have now. */
  current(): NamedAddress[] {
    return this.#known.current();
  }

  async stop(): Promise<void> {
    clearTimeout(this.#lapse);
    await this.#opening.stop();
    await this.#close();
    await this.#saving.stop();
    if (this.#known.size > 0) this.#known.save();
  }

  async #close(): Promise<void> {
    const queue = this.#queue;
    this.#queue = undefined;
    this.#tcp = new TcpAnswers();
    await queue?.close();
  }

  #open(): PacketQueue {
    const { netns, log } = this.#options;
    return PacketQueue.open({
      queue: ANSWER_QUEUE,
      netns,
      onPacket: (packet) => this.#packet(packet),
      onLost: (reason) => log.warn("answers of DNS servers were lost; pods ask again", { reason }),
    });
  }

  #packet({ bytes, release }: QueuedPacket): void {
    const { pod, messages } = this.#messagesOf(bytes);
    const learnt = messages.flatMap((message) => {
      const answer = readAnswer(message);
      return answer && answer.addresses.length > 0 ? (this.#learn(pod, answer) ?? []) : [];
    });
    void this.#release(release, learnt.length > 0 ? Promise.all(learnt) : undefined);
  }

  /** DNS messages that a packet brings, and whom. Of a message in several segments by TCP only the last is held. */
  #messagesOf(bytes: Buffer): { pod: string; messages: readonly Buffer[] } {
    const udp = udpPacket(bytes);
    if (udp) return { pod: udp.destination, messages: [udp.payload] };
    const segment = tcpSegment(bytes);
    return segment ? { pod: segment.destination, messages: this.#tcp.take(segment) } : { pod: "", messages: [] };
  }

  /** What is to be waited for; undefined where nothing is new. */
  #learn(pod: string, answer: DnsAnswer): Promise<void> | undefined {
    const { log, wantsName } = this.#options;
    if (!wantsName(answer.name)) return undefined;
    const { changes, refused } = this.#known.learn(pod, answer);
    if (refused > 0 && !this.#said.has(pod)) {
      this.#said.add(pod);
      log.warn("a pod asks for more domain names than there is room for; those that are too many are not allowed", {
        pod,
        name: answer.name,
      });
    }
    return this.#tell(changes);
  }

  async #release(release: () => void, learnt: Promise<unknown> | undefined): Promise<void> {
    if (learnt) await Promise.race([learnt, delay(PATIENCE_MS, undefined, { ref: false })]);
    try {
      release();
    } catch (error) {
      // The queue was closed meanwhile, and what waited in it is gone.
      if (!(error instanceof SysError)) throw error;
      this.#options.log.debug("an answer of a DNS server could not be let go", { error });
    }
  }

  #tell(names: NonNullable<Changes["names"]>): Promise<void> | undefined {
    if ((names.set?.length ?? 0) + (names.gone?.length ?? 0) === 0) return undefined;
    this.#saving.want(SAVE_MS);
    this.#schedule();
    return this.#options.change({ names });
  }

  /** Tells the rules when the next name ceases to have an address; the kernel has let go of it by then. */
  #schedule(): void {
    if (this.#lapse !== undefined) return;
    const next = this.#known.nextMs;
    if (next === undefined) return;
    this.#lapse = setTimeout(
      () => {
        this.#lapse = undefined;
        void this.#tell(this.#known.lapse(this.#options.wantsName));
        this.#schedule();
      },
      Math.max(LAPSE_MS, next),
    ).unref();
  }
}
