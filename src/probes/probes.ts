/**
 * Measures the peers of the default network, all the time and at a constant cost. Every peer is visited in its turn (schedule.ts) with a full packet
 * of each family in the tunnel and one beside it, which its kernel answers. One that does not answer is looked at (look.ts), and when it stays so,
 * this node asks a few others what they find, and the peer itself, beside the tunnel, what it hears. All of it is judged together (judge.ts).
 *
 * A timer's beat sends a second's packets at once where all is well, which costs a busy process least, and a fifth of a second's while there are
 * suspects, so that no second has more than twenty, whatever goes wrong: looks at suspects have what visits leave, and those of every other visit. Nothing is written into the API but an Event about a verdict, by a few nodes that all find by themselves (helpers.ts).
 */
import { tunnelOverhead } from "../dataplane/vxlan/index.ts";
import { errorText, type Logger } from "../log/index.ts";
import type { LocalNetwork, Peer } from "../peers/index.ts";
import { Task } from "../reconcile/index.ts";
import { monotonicMs } from "../sys/index.ts";
import { Channel, type Said } from "./channel.ts";
import { PathMtus } from "./path-mtus.ts";
import { ASKED, helpersFor, speakersOf, speakersOfSide } from "./helpers.ts";
import { faultOf, judge, type Observation, type Verdict } from "./judge.ts";
import { answersTcp, look } from "./look.ts";
import type { Message } from "./message.ts";
import { hash, Rounds, roundMs, VISITS } from "./schedule.ts";
import type { PeerFigures, ProbeCount, ProbesStatus } from "./status.ts";
import { StandingVerdicts } from "./standing.ts";
import { StudyTurns } from "./study-turns.ts";
import { figuresOf, type Path, pathOf, Target } from "./target.ts";
import { inWords, type Worded } from "./words.ts";

/** A beat, in milliseconds, and the packets of one: 20 in a second either way. */
const CALM = { ms: 1_000, packets: 20 };
/** While there are suspects, whose packets wait for each other's answers. */
const BUSY = { ms: 200, packets: 4 };
/** Peers that are looked at, at once. */
const LOOKS = 8;
/** How long the answers of those that were asked are waited for, in milliseconds. */
const ANSWERS_MS = 8_000;
/** A peer that something is wrong with is looked at again, and others are asked about it again, after this long, in milliseconds. */
const AGAIN_MS = 10_000;
const ASK_AGAIN_MS = 60_000;
/** What others told counts for so long, in milliseconds. */
const TOLD_MS = 90_000;
/** Times that a question or a report is sent without being answered by the other node's kernel. */
const TRIES = 3;
const TCP_MS = 1_000;
/** A node that asks another what it hears sends something to hear right before; what was heard so long ago, in milliseconds, was heard since the fault began. */
const JUST_MS = 3_000;
/** News of a moment are judged together, in milliseconds. */
const SETTLE_MS = 500;
/** So many of the peers that nothing is wrong with are enough to judge by, where no more are faulty than half of that. */
const WELL = 64;

/** What probes are given. */
export interface ProbesOptions {
  log: Logger;
  /** Emits a Warning Event on our Node. */
  event: (reason: string, message: string) => void;
  /** A packet was answered, after so many seconds. */
  onAnswer: (path: ProbeCount["path"], seconds: number) => void;
}

/** Measures from the first {@link setLocal} on, until {@link stop}. */
export class Probes {
  readonly #options: ProbesOptions;
  #local: LocalNetwork | undefined;
  /** This node's name, and its hash. */
  #name = "";
  #self = 0;
  #channel: Channel | undefined;
  #fault: string | undefined;
  #rounds = new Rounds<Target>(0);
  #measured = 0;
  readonly #targets = new Map<string, Target>();
  /** By each address that a peer's packets come from. */
  readonly #byIp = new Map<string, Target>();
  /** Peers that wait to be looked at, and those that something is wrong with. */
  readonly #suspects = new Set<Target>();
  readonly #faulty = new Set<Target>();
  #looking = 0;
  readonly #studies = new StudyTurns((target) => this.#suspects.add(target));
  #pace = CALM;
  /** Whether the last beat left out a visit for the sake of suspects. */
  #leftOut = false;
  /** Packets that wait for room in a beat. */
  #queue: (() => void)[] = [];
  /** What routes to peers are to take. */
  readonly mtus = new PathMtus();
  readonly #judging: Task;
  readonly #standing: StandingVerdicts;
  readonly #counts = new Map<string, ProbeCount>();
  readonly #errands = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: ProbesOptions) {
    this.#options = options;
    this.#standing = new StandingVerdicts({
      ...options,
      words: (verdict) => this.#words(verdict),
      asking: (node) => this.#targets.get(node)?.asking ?? false,
      speaks: (verdict) => this.#speaks(verdict),
    });
    this.#judging = new Task(
      () => this.#judge(),
      { baseMs: 1_000, maxMs: 60_000 },
      (error, attempt) => {
        if (attempt === 1) options.log.error("what the probes have measured cannot be judged; trying again", { error });
      },
    );
  }

  /** What this node is. All peers are measured anew where that makes a difference. */
  setLocal(local: LocalNetwork): void {
    const before = this.#local;
    this.#local = local;
    if (!before) {
      this.#name = local.node;
      this.#self = hash(local.node);
      this.#rounds = new Rounds(this.#self);
      this.#start();
    }
  }

  /** All peers there are. */
  setPeers(peers: Iterable<Peer>): void {
    const before = new Map(this.#targets);
    this.#targets.clear();
    this.#byIp.clear();
    for (const peer of peers) this.#keep(peer, before.get(peer.node));
    for (const [node, target] of before) if (this.#targets.get(node) !== target) this.#forget(target);
    this.#rounds.set(this.#targets.values());
    this.#count();
  }

  /** Peers that came, changed or went. */
  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    for (const [node, peer] of changes) {
      const before = this.#targets.get(node);
      if (before) {
        this.#targets.delete(node);
        for (const { ip } of before.paths) if (this.#byIp.get(ip) === before) this.#byIp.delete(ip);
      }
      const now = peer && this.#keep(peer, before);
      if (now === before) continue;
      if (before) {
        this.#rounds.remove(before);
        this.#forget(before);
      }
      if (now) this.#rounds.add(now);
    }
    this.#count();
  }

  /** The summary. */
  status(): ProbesStatus {
    const on = this.#channel !== undefined;
    const all = this.#targets.size;
    const roundSeconds = roundMs(all) / 1_000;
    return {
      on,
      message: on
        ? `every peer within ${roundSeconds} seconds`
        : (this.#fault ?? "not before it is known what this node is"),
      roundSeconds,
      peers: { all, measured: this.#measured, faulty: this.#faulty.size },
      verdicts: this.#standing.all,
    };
  }

  /** Packets since the start, by what became of them. */
  get counts(): readonly ProbeCount[] {
    return [...this.#counts.values()];
  }

  /** All peers with what was measured of each. */
  figures(): PeerFigures[] {
    const all = Array.from(this.#targets.values(), (target) => figuresOf(target, this.mtus.of(target.node)));
    return all.sort((a, b) => (a.node < b.node ? -1 : 1));
  }

  /** Ends it. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#judging.stop();
    this.#queue = [];
    this.#channel?.[Symbol.dispose]();
    this.#channel = undefined;
  }

  #start(): void {
    try {
      this.#channel = Channel.open((from, message) => this.#heard(from, message));
    } catch (error) {
      this.#fault = errorText(error);
      this.#options.log.warn("the peers are not measured: there is no socket for ICMP", { error });
      return;
    }
    this.#next(CALM.ms);
  }

  #keep(peer: Peer, before: Target | undefined): Target {
    const fresh = new Target(this.#local as LocalNetwork, peer);
    const target = before?.same(fresh) ? before : fresh;
    this.#targets.set(peer.node, target);
    for (const { ip } of target.paths) this.#byIp.set(ip, target);
    return target;
  }

  #forget(target: Target): void {
    this.#suspects.delete(target);
    this.#faulty.delete(target);
    this.#studies.forget(target);
    this.mtus.forget(target);
    target.question?.settled();
    this.#judging.want(SETTLE_MS);
  }

  #count(): void {
    this.#measured = 0;
    for (const { finding } of this.#targets.values()) if (finding) this.#measured++;
  }

  #next(ms: number): void {
    this.#timer = setTimeout(() => this.#beat(), ms).unref();
  }

  /** One beat: what has come is taken first, so that a late beat loses nothing. */
  #beat(): void {
    const channel = this.#channel;
    if (!channel) return;
    channel.poll();
    const now = monotonicMs();
    let room = this.#pace.packets;
    // While there are suspects, they have every other visit's packets.
    this.#leftOut = !this.#leftOut && this.#queue.length > 0;
    const most = this.#pace === CALM ? VISITS : 1;
    for (let n = 0; n < most && !this.#leftOut; n++) {
      const target = this.#rounds.turn(now);
      if (!target) break;
      for (const path of target.paths) this.#visit(target, path);
      room -= target.paths.length;
    }
    for (; room > 0; room--) {
      const next = this.#queue.shift();
      if (!next) break;
      next();
    }
    for (const wider of this.mtus.due(now)) this.#suspects.add(wider);
    for (const faulty of this.#faulty) if (now - faulty.lookedAt > AGAIN_MS) this.#suspects.add(faulty);
    while (this.#looking < LOOKS) {
      const [suspect] = this.#suspects;
      if (!suspect) break;
      this.#suspects.delete(suspect);
      void this.#inspect(suspect);
    }
    const before = this.#pace;
    this.#pace = this.#looking > 0 || this.#suspects.size > 0 || this.#queue.length > 0 ? BUSY : CALM;
    // The packets of a calm beat are a whole second's, and come a second after what was before.
    this.#next(Math.max(before.ms, this.#pace.ms));
  }

  #visit(target: Target, path: Path): void {
    this.#send(path, path.full, (answered) => {
      if (answered) {
        if (path.seen === "silent" || path.seen === "narrow") this.#suspects.add(target);
        else if (path.seen === undefined) path.become("answers");
        if (target.finding === undefined && target.paths.every(({ seen }) => seen !== undefined)) {
          target.wellNow();
          this.#measured++;
        }
      } else if (this.#targets.get(target.node) === target && !this.#explained(target, path))
        this.#suspects.add(target);
    });
  }

  /** Whether it is known why a full packet is not answered: the peer is looked at from time to time, or answers nothing beside the tunnel and all in it. */
  #explained(target: Target, { inside, seen }: Path): boolean {
    if (seen !== "silent" && seen !== "narrow") return false;
    return this.#faulty.has(target) || (!inside && target.fault === undefined);
  }

  /** Sends a packet, now, and counts what becomes of it. */
  #send(path: Path, size: number, done: (answered: boolean) => void, said: Said = { kind: "probe" }): void {
    this.#channel?.send(
      path,
      said,
      (rttMs, error) => {
        this.#tally(path, error ? "refused" : rttMs === undefined ? "lost" : "answered");
        if (rttMs !== undefined) this.#options.onAnswer(pathOf(path), rttMs / 1_000);
        path.record(rttMs);
        done(rttMs !== undefined);
      },
      size,
    );
  }

  #tally(path: Path, outcome: ProbeCount["outcome"]): void {
    const family = `IPv${path.family}` as const;
    const key = `${path.inside} ${family} ${outcome}`;
    let count = this.#counts.get(key);
    if (!count) this.#counts.set(key, (count = { path: pathOf(path), family, outcome, packets: 0 }));
    count.packets++;
  }

  /** Sends a packet when a beat has room for it; whether it was answered. */
  #ask(path: Path, size = 0, said?: Said): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.#stopped) resolve(false);
      else this.#queue.push(() => this.#send(path, size, resolve, said));
    });
  }

  /** Looks at a peer, and asks others about it where it has a fault that they can have seen. */
  async #inspect(target: Target, errand = false): Promise<void> {
    await this.#lookAt(target, errand);
    const { fault } = target;
    if (fault && ASKED.has(fault) && this.#faulty.has(target)) await this.#askOthers(target);
  }

  /** Looks at a peer; whoever asks while somebody looks at it waits for the same. @param errand for another node */
  #lookAt(target: Target, errand: boolean): Promise<void> {
    target.look ??= this.#look(target, errand).finally(() => {
      target.look = undefined;
    });
    return target.look;
  }

  async #look(target: Target, errand: boolean): Promise<void> {
    this.#looking++;
    try {
      await look(target, {
        ask: (path, size) => this.#ask(path, size),
        tcp: (ip) => answersTcp(ip, TCP_MS),
        echoes: () => this.#echoes(),
        study: () => this.#studies.take(target),
      });
    } finally {
      this.#looking--;
    }
    target.lookedAt = monotonicMs();
    if (this.#stopped || this.#targets.get(target.node) !== target) return;
    this.mtus.looked(target, target.lookedAt);
    this.#count();
    if (target.fault === undefined) {
      if (this.#faulty.delete(target)) target.told.clear();
    } else if (!errand || this.#speakers(target.node).includes(this.#name)) this.#faulty.add(target);
    this.#judging.want(SETTLE_MS);
  }

  /** Whether hosts beside the tunnel answer as a rule, by those that were measured. */
  #echoes(): boolean {
    let [answer, silent] = [0, 0];
    for (const { beside } of this.#targets.values())
      if (beside.rttMs !== undefined) answer++;
      else if (beside.seen !== undefined) silent++;
    return answer >= silent && answer > 0;
  }

  /** Asks a few others about a peer, and the peer itself, and waits for what they say. */
  async #askOthers(target: Target): Promise<void> {
    const local = this.#local;
    const now = monotonicMs();
    if (!local || (target.question && now - target.question.at < ASK_AGAIN_MS)) return;
    const speakers = this.#speakers(target.node);
    const helpers = helpersFor(target, this.#targets, speakers, this.#self);
    const { promise, resolve } = Promise.withResolvers<void>();
    const nonce = crypto.getRandomValues(new BigUint64Array(1))[0] as bigint;
    const { open } = target;
    const asked = new Set([...helpers.map(({ node }) => node), ...(open ? [target.node] : [])]);
    if (asked.size === 0) return;
    target.question = { nonce, at: now, asked, settled: resolve };
    for (const helper of helpers) {
      const urgent = speakers.includes(helper.node);
      void this.#tell(helper, { kind: "question", subject: target.underlayIp, urgent, question: nonce });
    }
    if (open) {
      const subject = local.publicIp ?? local.underlayIp;
      void this.#tell(target, { kind: "question", subject, urgent: true, question: nonce }, true);
    }
    target.asking = true;
    const timer = setTimeout(resolve, ANSWERS_MS);
    await promise;
    clearTimeout(timer);
    target.asking = false;
    const { finding } = target;
    // Asked by this node, it has sent through the tunnel by now.
    if (finding && target.heardAt > now - JUST_MS) finding.hears = true;
    else if (finding && (target.told.get(target.node)?.at ?? 0) > now) finding.hears = false;
    this.#judging.want(SETTLE_MS);
  }

  /** Says something to a peer on a path that is open, a few times at most. @param knock whether to send packets through the tunnel right before, which it may hear or not */
  async #tell(target: Target, said: Said, knock = false): Promise<void> {
    const { open, paths } = target;
    if (!open) return;
    for (let n = 0; n < TRIES; n++) {
      if (knock) for (const path of paths) if (path.inside) void this.#ask(path);
      if (await this.#ask(open, 0, said)) return;
    }
  }

  /** The nodes that write Events about one, of this node and those that were not found to be out of reach. */
  #speakers(about: string): string[] {
    const fine = [...this.#targets.values()].filter(({ finding, reached }) => !finding || reached);
    return speakersOf(about, [{ node: this.#name, hash: this.#self }, ...fine]);
  }

  /** A request of another agent has come. */
  #heard(from: string, message: Message): void {
    const sender = this.#byIp.get(from);
    if (!sender) return;
    if (from !== sender.underlayIp) sender.heardAt = monotonicMs();
    if (message.kind === "question") void this.#runErrand(sender, message);
    else if (message.kind === "report") this.#told(sender, message);
  }

  /** Another node asks what this one finds of a third, or of itself. */
  async #runErrand(
    sender: Target,
    { subject, question, urgent }: Extract<Message, { kind: "question" }>,
  ): Promise<void> {
    const own = subject === sender.underlayIp;
    const target = own ? sender : this.#byIp.get(subject);
    // One errand for a node at a time; a node that asks more is not worth more of what this one may send.
    if (!target || target.underlayIp !== subject || this.#errands.has(sender.node) || this.#errands.size >= LOOKS)
      return;
    this.#errands.add(sender.node);
    const hears = sender.heardAt > monotonicMs() - JUST_MS;
    try {
      await this.#lookAt(target, !urgent || own);
      const { finding } = target;
      if (own && finding && target.fault !== undefined) finding.hears = hears;
      if (finding && !this.#stopped) await this.#tell(sender, { kind: "report", subject, question, finding });
    } finally {
      this.#errands.delete(sender.node);
    }
    if (urgent && !own) await this.#inspect(target);
  }

  #told(sender: Target, { subject, question, finding }: Extract<Message, { kind: "report" }>): void {
    const { local, target } = { local: this.#local, target: this.#byIp.get(subject) };
    if (!local) return;
    const own = subject === (local.publicIp ?? local.underlayIp);
    const about = own ? sender : target;
    const asked = about?.question;
    if (!about || !asked || asked.nonce !== question || !asked.asked.delete(sender.node)) return;
    about.told.set(sender.node, {
      observation: { ...finding, from: sender.node, to: own ? local.node : about.node },
      at: monotonicMs(),
    });
    if (asked.asked.size === 0) asked.settled();
  }

  /** Everything that is known: this node's own row, and what others told of those that something is wrong with. */
  #observations(local: LocalNetwork): Observation[] {
    const now = monotonicMs();
    const known: Observation[] = [];
    let well = Math.max(WELL, this.#faulty.size * 2);
    for (const target of this.#targets.values()) {
      if (!target.finding || (target.fault === undefined && well-- <= 0)) continue;
      known.push({ ...target.finding, from: local.node, to: target.node });
      if (faultOf(target.finding) !== undefined)
        for (const { observation, at } of target.told.values()) if (now - at < TOLD_MS) known.push(observation);
    }
    return known;
  }

  #judge(): void {
    const local = this.#local;
    if (!local) return;
    const verdicts = this.#faulty.size === 0 ? [] : judge(this.#observations(local));
    const next = this.#standing.update(verdicts.filter((verdict) => this.#concerns(verdict)));
    if (next !== undefined) this.#judging.want(next);
  }

  /** What this node has not seen itself is for others to say. */
  #concerns({ nodes, others, scope }: Verdict): boolean {
    const own = (node: string): boolean => node === this.#name || this.#faulty.has(this.#targets.get(node) as Target);
    return scope === "all" || nodes.some(own) || others.some(own);
  }

  #words(verdict: Verdict): Worded {
    const local = this.#local as LocalNetwork;
    const { node, port, mtu } = local;
    const sizes = [...verdict.nodes, ...verdict.others].flatMap((name) => {
      const { paths = [] } = this.#targets.get(name) ?? {};
      return paths.flatMap(({ inside, passes }) => (inside && passes !== undefined ? [passes] : []));
    });
    const passes = sizes.length > 0 ? Math.min(...sizes) : undefined;
    return inWords(verdict, { node, port, mtu, overhead: tunnelOverhead(local), passes });
  }

  /** Whether this node writes the Event: of itself, as one of the few that speak of a node, or as one of a side's. */
  #speaks({ scope, nodes, others }: Verdict): boolean {
    const [about] = nodes;
    if (scope === "node" && about !== undefined)
      return about === this.#name || this.#speakers(about).includes(this.#name);
    return speakersOfSide(nodes.includes(this.#name) ? nodes : others).includes(this.#name);
  }
}
