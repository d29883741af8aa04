/**
 * Ending what is not allowed any more. The rules judge packets that begin a connection; those of a connection that is known pass. So when rules change,
 * the connections that may have lost by it are judged by the same model, and those that would not begin now are ended.
 *
 * The kernel's table of connections is also what the fast path goes by: it asks it for every packet, and lets pass what is there as established. So what is ended here
 * is off the fast path with its next packet, which the rules judge; nothing else has to be revoked there.
 */
import { type Connection, Conntrack } from "../dataplane/conntrack/index.ts";
import type { Logger } from "../log/index.ts";
import type { Packet, Revocation } from "../policy/index.ts";
import { Task } from "../reconcile/index.ts";
import { UsedAddresses } from "./used-addresses.ts";
import { policyProtocol, portInWords } from "./observe/words.ts";

/** Connections that the log names at one time. */
const MOST_NAMED = 5;

/** What a change of the rules is about: pods that come and wait for their answer, pods that have left this node, or anything else. */
export type Occasion = "change" | "coming" | "leaving";

/**
 * How long connections wait to be judged, in milliseconds. Reading the kernel's table takes longer than all other work of policies at an ADD or a DEL,
 * and many pods share it. What a pod's addresses had before it cannot be used before ADD has answered; what a pod had that is gone, by nobody, and
 * when another one gets its addresses, that one's time holds.
 */
const DELAY_MS: Readonly<Record<Occasion, number>> = { change: 0, coming: 50, leaving: 500 };

export interface ConnectionJudgeOptions {
  log: Logger;
  /** Network namespace whose connections they are; the agent's own by default. */
  netns?: number | undefined;
  /** Whether rules let a packet pass that begins a connection. @param toNode it goes to this node itself */
  passes: (packet: Packet, toNode: boolean) => boolean;
  /** This node's own addresses. @throws NetlinkError */
  ownAddresses: () => ReadonlySet<string>;
  /** Whether an address can only ever be a pod's of this node, canonical. */
  isOurs: (ip: string) => boolean;
  /** Whether a pod here has an address now. */
  isHeld: (ip: string) => boolean;
}

/** See the header. */
export class ConnectionJudge {
  readonly #options: ConnectionJudgeOptions;
  readonly #task: Task;
  /** Pods here whose connections are to be judged: with these peers, or with anybody. */
  #wanted = new Map<string, Set<string> | "anybody">();
  readonly #used: UsedAddresses;

  constructor(options: ConnectionJudgeOptions) {
    this.#options = options;
    this.#used = new UsedAddresses(options.isOurs);
    this.#task = new Task(
      () => this.#judge(),
      { baseMs: 100, maxMs: 10_000 },
      (error, attempt) => {
        if (attempt === 1)
          options.log.error("connections that policies do not allow any more cannot be ended; it is tried again", {
            error,
          });
      },
    );
  }

  /** Has connections judged by the rules as they are now; what comes while it is under way is judged after it. */
  want(revocations: readonly Revocation[], occasion: Occasion = "change"): void {
    let any = false;
    for (const { ip, peer } of revocations) {
      // The pod that comes is the one, or the other: what was there before it is not about its address.
      if (occasion === "coming" && this.#used.isFresh(peer ?? ip)) continue;
      any = true;
      const before = this.#wanted.get(ip);
      if (peer === undefined) this.#wanted.set(ip, "anybody");
      else if (before === undefined) this.#wanted.set(ip, new Set([peer]));
      else if (before !== "anybody") before.add(peer);
    }
    if (any) this.#task.want(DELAY_MS[occasion]);
  }

  /** A pod here has addresses, and may have connections by them from now on. */
  uses(ips: readonly string[]): void {
    for (const ip of ips) this.#used.use(ip);
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }

  async #judge(): Promise<void> {
    const wanted = this.#wanted;
    this.#wanted = new Map();
    const { log, netns, ownAddresses, isHeld } = this.#options;
    try {
      const own = ownAddresses();
      using conntrack = Conntrack.open(netns);
      this.#used.reading(isHeld);
      const lost = await conntrack.select((connection) => {
        this.#used.see(connection.original.source);
        this.#used.see(connection.reply.source);
        return !this.#passes(connection, wanted, own);
      });
      this.#used.wasRead();
      const gone = lost.filter((connection) => conntrack.delete(connection));
      if (gone.length === 0) return;
      log.info("ended connections that network policies do not allow any more", {
        connections: gone.length,
        among: gone.slice(0, MOST_NAMED).map(inWords),
      });
    } catch (error) {
      this.want(
        [...wanted].flatMap(([ip, peers]): Revocation[] =>
          peers === "anybody" ? [{ ip, peer: undefined }] : [...peers].map((peer) => ({ ip, peer })),
        ),
      );
      throw error;
    }
  }

  #passes(
    { protocol, original, reply }: Connection,
    wanted: ReadonlyMap<string, Set<string> | "anybody">,
    own: ReadonlySet<string>,
  ): boolean {
    // Who began it is as it was sent; whom it reached, the one who answers.
    const [source, destination] = [original.source, reply.source];
    const concerns = (ip: string, peer: string): boolean => {
      const peers = wanted.get(ip);
      return peers !== undefined && (peers === "anybody" || peers.has(peer));
    };
    if (!concerns(source, destination) && !concerns(destination, source)) return true;
    // A node reaches its own pods always.
    if (own.has(source)) return true;
    const known = policyProtocol(protocol);
    const packet: Packet = {
      source,
      destination,
      protocol: known,
      port: known === "other" ? 0 : reply.sourcePort,
    };
    return this.#options.passes(packet, own.has(destination));
  }
}

function inWords({ protocol, original, reply }: Connection): string {
  const port = policyProtocol(protocol) === "other" ? undefined : reply.sourcePort;
  return `${portInWords(protocol, port)} from ${original.source} to ${reply.source}`;
}
