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
import { policyProtocol, portInWords } from "./observe/words.ts";

/** Connections that the log names at one time. */
const MOST_NAMED = 5;

/**
 * How long connections of a pod that comes wait, in milliseconds: those that its addresses had before it. Reading the kernel's table takes longer than all
 * other work of policies at an ADD, and many pods that come at once share it; no container of the pod runs before ADD has answered.
 */
const COMING_MS = 50;

export interface ConnectionJudgeOptions {
  log: Logger;
  /** Network namespace whose connections they are; the agent's own by default. */
  netns?: number | undefined;
  /** Whether rules let a packet pass that begins a connection. @param toNode it goes to this node itself */
  passes: (packet: Packet, toNode: boolean) => boolean;
  /** This node's own addresses. @throws NetlinkError */
  ownAddresses: () => ReadonlySet<string>;
}

/** See the header. */
export class ConnectionJudge {
  readonly #options: ConnectionJudgeOptions;
  readonly #task: Task;
  /** Pods here whose connections are to be judged: with these peers, or with anybody. */
  #wanted = new Map<string, Set<string> | "anybody">();

  constructor(options: ConnectionJudgeOptions) {
    this.#options = options;
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

  /**
   * Has connections judged by the rules as they are now; what comes while it is under way is judged after it.
   * @param coming they are those of pods that come, which are not to wait for it
   */
  want(revocations: readonly Revocation[], coming = false): void {
    for (const { ip, peer } of revocations) {
      const before = this.#wanted.get(ip);
      if (peer === undefined) this.#wanted.set(ip, "anybody");
      else if (before === undefined) this.#wanted.set(ip, new Set([peer]));
      else if (before !== "anybody") before.add(peer);
    }
    if (this.#wanted.size > 0) this.#task.want(coming ? COMING_MS : 0);
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }

  async #judge(): Promise<void> {
    const wanted = this.#wanted;
    this.#wanted = new Map();
    const { log, netns, ownAddresses } = this.#options;
    try {
      const own = ownAddresses();
      using conntrack = Conntrack.open(netns);
      const lost = await conntrack.select((connection) => !this.#passes(connection, wanted, own));
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
