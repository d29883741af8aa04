/**
 * Packets that policies deny, or would deny if they were not in audit mode, told to people: each kind once at its first packet, in the agent's log and
 * as an Event of the pod, and what more of it came at the end of a minute. Rules log some packets of a flood and count all
 * (`skylane_policy_packets_total`), so numbers here are those of packets that were seen.
 *
 * Pods choose what is denied them, so everything has a bound: kinds that are told one by one, pods, Events.
 */
import { PacketLog, type LoggedPacket } from "../../dataplane/nflog/index.ts";
import type { Logger } from "../../log/index.ts";
import { DEFAULT_DENY, LOG_GROUP, type Outcome, type Policy } from "../../policy/index.ts";
import { Task, TokenBucket } from "../../reconcile/index.ts";
import { policyProtocol, portInWords, protocolName } from "./words.ts";
import { keyOf } from "../../json/index.ts";

/** How long packets of one kind are one line. */
const WINDOW_MS = 60_000;
/** Kinds of packets that are told one by one in that time: of one pod and rule, and of all. */
const MOST_OF_ONE = 10;
const MOST_OF_ALL = 200;
/** Events: a few at once, then one a minute. Those of other kinds must not be crowded out. */
const EVENTS_AT_ONCE = 5;
const EVENT_MS = 60_000;

/** A pod of this node. */
export interface KnownPod {
  namespace: string;
  name: string;
  uid?: string | undefined;
}

/** Something worth an Event of a pod. */
export interface DenialEvent {
  pod: { namespace: string; name: string; uid: string };
  reason: "PolicyDenied" | "PolicyWouldDeny";
  message: string;
}

export interface DeniedPacketsOptions {
  log: Logger;
  netns?: string | number | undefined;
  /** What a logged packet met with, by what stands before it; undefined for rules that are gone. */
  outcomeOf: (prefix: string) => Outcome | undefined;
  /** The pod of this node that has an address. */
  podAt: (ip: string) => KnownPod | undefined;
  /** Who has an address, in words: "pod shop/front", "node node2"; undefined where nobody that is known. */
  nameOf: (ip: string) => string | undefined;
  /** Policies that isolate an address of this node in a direction. */
  isolating: (direction: "ingress" | "egress", ip: string) => readonly Policy[];
  event: (event: DenialEvent) => void;
  /** Hears of each packet that was denied, and of who denied it. */
  onDenied?: ((packet: LoggedPacket, policy: string) => void) | undefined;
  /** Milliseconds, growing; for tests. */
  now?: () => number;
}

/** Packets that are alike: of one pod, rule, peer, protocol and port. */
interface Kind {
  line: Readonly<Record<string, unknown>>;
  message: string;
  /** Those that came after the one that was told of. */
  more: number;
}

/** See the header. */
export class DeniedPackets {
  readonly #options: DeniedPacketsOptions;
  #log: PacketLog | undefined;
  #listens = false;
  readonly #opening: Task;
  /** Of the minute that runs. */
  readonly #kinds = new Map<string, Kind>();
  readonly #ofOne = new Map<string, number>();
  #untold = 0;
  #window: NodeJS.Timeout | undefined;
  readonly #events: TokenBucket;

  constructor(options: DeniedPacketsOptions) {
    this.#options = options;
    this.#events = new TokenBucket(EVENTS_AT_ONCE, EVENT_MS, options.now ?? (() => performance.now()));
    this.#opening = new Task(
      async () => {
        if (this.#listens) this.#log ??= this.#open();
        else await this.#close();
      },
      { baseMs: 1_000, maxMs: 300_000 },
      (error, attempt) => {
        if (attempt === 1)
          options.log.warn(
            `packets that policies deny cannot be told of, as group ${LOG_GROUP} of logged packets cannot be listened to; they are counted, and it is tried again`,
            { error },
          );
      },
    );
  }

  /** Listens from now on, or no more; what there is to be told then is told. */
  listen(listens: boolean): void {
    this.#listens = listens;
    this.#opening.want();
  }

  /** Listens no more, for good. */
  async stop(): Promise<void> {
    await this.#opening.stop();
    await this.#close();
  }

  async #close(): Promise<void> {
    const log = this.#log;
    this.#log = undefined;
    await log?.close();
    this.#endWindow();
  }

  #open(): PacketLog {
    const { netns, log } = this.#options;
    return PacketLog.open({
      group: LOG_GROUP,
      netns,
      onPackets: (packets) => this.take(packets),
      onLost: (reason) => log.debug("packets that policies deny were not all told of", { reason }),
    });
  }

  /** Takes in packets that were logged. */
  take(packets: readonly LoggedPacket[]): void {
    for (const packet of packets) {
      const outcome = this.#options.outcomeOf(packet.prefix);
      if (outcome) this.#packet(packet, outcome);
    }
  }

  #packet(packet: LoggedPacket, outcome: Outcome): void {
    const { source, destination, protocol, port } = packet;
    const [own, peer] = outcome.direction === "ingress" ? [destination, source] : [source, destination];
    const of = `${outcome.chain} ${own}`;
    const key = `${of} ${peer} ${protocol} ${port}`;
    if (outcome.kind === "deny") this.#options.onDenied?.(packet, this.#inWords(outcome, own));
    const known = this.#kinds.get(key);
    if (known) {
      known.more++;
      return;
    }
    this.#window ??= setTimeout(() => this.#endWindow(), WINDOW_MS).unref();
    const ofOne = this.#ofOne.get(of) ?? 0;
    if (ofOne >= MOST_OF_ONE || this.#kinds.size >= MOST_OF_ALL) {
      this.#untold++;
      return;
    }
    this.#ofOne.set(of, ofOne + 1);
    const kind = this.#tell(packet, outcome, own, peer);
    this.#kinds.set(key, kind);
  }

  #tell({ protocol, port }: LoggedPacket, outcome: Outcome, own: string, peer: string): Kind {
    const { podAt, nameOf, log } = this.#options;
    const pod = podAt(own);
    const { direction, kind, rule } = outcome;
    const by = this.#inWords(outcome, own);
    const line = {
      pod: pod ? keyOf(pod) : own,
      direction,
      peer: nameOf(peer) ?? peer,
      ip: own,
      peerIp: peer,
      protocol: protocolName(protocol),
      ...(port !== undefined && policyProtocol(protocol) !== "other" && { port }),
      policy: by,
      ...(rule && { rule: `${direction}[${rule.index}]` }),
    };
    const message =
      kind === "audit" ? "a network policy in audit mode would deny a packet" : "a network policy denied a packet";
    log.info(message, line);
    if (pod?.uid !== undefined && this.#events.take()) {
      const way = direction === "ingress" ? "from" : "to";
      const does = kind === "audit" ? "would deny (audit mode)" : "denies";
      this.#options.event({
        pod: { namespace: pod.namespace, name: pod.name, uid: pod.uid },
        reason: kind === "audit" ? "PolicyWouldDeny" : "PolicyDenied",
        message: `${by} ${does} ${portInWords(protocol, port)} ${way} ${nameOf(peer) ?? peer}; more like it is in the agent's log, not here`,
      });
    }
    return { line, message, more: 0 };
  }

  /** Who denies: the policy, or those that isolate the pod without allowing this. */
  #inWords({ rule, direction }: Outcome, own: string): string {
    if (rule) return `${rule.policy.kind} ${keyOf(rule.policy)}`;
    const names = this.#options.isolating(direction, own).map((policy) => keyOf(policy));
    return names.length === 0 ? DEFAULT_DENY : `${DEFAULT_DENY} by NetworkPolicy ${names.join(", ")}`;
  }

  #endWindow(): void {
    clearTimeout(this.#window);
    this.#window = undefined;
    for (const { line, message, more } of this.#kinds.values())
      if (more > 0) this.#options.log.info(`${message}, again`, { ...line, packets: more });
    if (this.#untold > 0)
      this.#options.log.info("network policies denied more packets, which are not told one by one", {
        packets: this.#untold,
      });
    this.#kinds.clear();
    this.#ofOne.clear();
    this.#untold = 0;
  }
}
