/** One node's part of a live trace: it marks the packet, watches, and, where the sender is, sends it from the pod's network namespace in the pod's name. */
import type { Family } from "../../../addr/index.ts";
import { NftError, toolRunner } from "../../../dataplane/nft/index.ts";
import { NoTracing, PacketWatch } from "../../../dataplane/nftrace/index.ts";
import { reservePort, sendPacket, SysError, withNetns } from "../../../sys/index.ts";
import { describeError } from "../../main.ts";
import { type Kernel, Unreachable } from "../read/kernel.ts";
import type { Half } from "../types.ts";
import { dataOf, type MarkedPacket, protocolOf, rulesFor } from "./mark.ts";
import { type DroppedBy, Observed } from "./observe.ts";
import { type Dropped, LIVE_VERSION, type LiveHalf, nothingOf } from "./types.ts";

/** Packets that are sent until one is answered: one that is lost is no verdict. */
const TRIES = 3;
/** Whoever watches for another node's packets gives up after so long, in milliseconds. */
const LONGEST_MS = 120_000;
const MAX_RULE = 500;

/** What a node does. */
export interface LiveWork {
  half: Pick<Half, "node" | "role" | "family">;
  packet: MarkedPacket;
  /** The sender's network namespace, where it is here. */
  netns?: string | undefined;
  kernel: Kernel;
  /** How long an answer is waited for, in milliseconds. */
  timeoutMs: number;
}

/** The table of one trace; another one at the same time has another mark. */
const tableOf = ({ mark }: MarkedPacket): string => `skylane_trace_${mark.nonce.toString("hex")}`;

/**
 * Sends the packet and watches what becomes of it on this node, until it is answered or dropped here, or nothing has come of some.
 * @throws UsageError, SysError
 */
export async function sendAndWatch(work: LiveWork & { netns: string }): Promise<LiveHalf> {
  const { packet, timeoutMs, netns } = work;
  const { node, role } = work.half;
  return await watching(work, async (observed, drained) => {
    const reserved = inPod(netns, () => reserve(packet));
    if (reserved instanceof SysError) return { packets: 0, error: describeError(reserved) };
    using _port = reserved;
    let packets = 0;
    while (packets < TRIES) {
      const error = inPod(netns, () => {
        const family: Family = work.half.family;
        const { from, to, traffic } = packet;
        sendPacket({ from, to, protocol: protocolOf(traffic, family), data: dataOf(packet) });
      });
      if (error instanceof SysError) return { packets, error: describeError(error) };
      packets++;
      if (await within(timeoutMs, () => isOver(observed), drained)) break;
    }
    return { packets };
  }).catch((error: unknown) => {
    // What would come of a packet nobody could tell: none is sent.
    if (error instanceof NoTracing || error instanceof Unreachable) return nothingOf(node, role, error.message);
    throw error;
  });
}

/** Watches until somebody says that the packet was sent. @param ready is called once packets are seen. @throws UsageError, NoTracing, SysError */
export async function watchUntil(work: LiveWork, ready: () => void, done: Promise<void>): Promise<LiveHalf> {
  return await watching(work, async () => {
    ready();
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([done, new Promise((resolve) => (timer = setTimeout(resolve, LONGEST_MS)))]);
    clearTimeout(timer);
    return undefined;
  });
}

/** Nothing more is to be expected: something came back to the pod, or the packet filter here has dropped the packet or its answer. */
const isOver = ({ seen, dropped }: Observed): boolean =>
  dropped.length > 0 || seen.some(({ kind, outer, hook }) => kind !== "request" && !outer && hook === "postrouting");

type Drained = (listener: () => void) => void;

/** Whether it came true, asked whenever something was seen. */
function within(timeoutMs: number, isTrue: () => boolean, onDrained: Drained): Promise<boolean> {
  return new Promise((resolve) => {
    const finish = (value: boolean): void => {
      clearTimeout(timer);
      onDrained(() => undefined);
      resolve(value);
    };
    const timer = setTimeout(() => finish(isTrue()), timeoutMs);
    onDrained(() => {
      if (isTrue()) finish(true);
    });
    if (isTrue()) finish(true);
  });
}

async function watching(
  { half, packet, kernel }: LiveWork,
  work: (observed: Observed, onEvent: Drained) => Promise<LiveHalf["sent"]>,
): Promise<LiveHalf> {
  const { node, role, family } = half;
  const table = tableOf(packet);
  const observed = new Observed(table, family, packet, (index) => kernel.in(undefined).link(index)?.name);
  let listener = (): void => undefined;
  using watch = PacketWatch.open(table, rulesFor(packet), (event) => {
    observed.take(event);
    listener();
  });
  const sent = await work(observed, (next) => (listener = next));
  watch.drain();
  const dropped = await Promise.all(observed.dropped.map(readRule));
  return {
    version: LIVE_VERSION,
    node,
    role,
    seen: observed.seen,
    dropped,
    passed: observed.passed,
    ...(sent && { sent }),
    ...(watch.lost && { missing: `${node} has not seen everything: there was too much of it` }),
  };
}

/** What a function of the pod's namespace returns, or what the kernel says to it. @throws Unreachable */
function inPod<T>(netns: string, fn: () => T): T | SysError {
  let entered = false;
  try {
    return withNetns(netns, () => {
      entered = true;
      return fn();
    });
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    if (!entered) throw new Unreachable(netns, error);
    return error;
  }
}

function reserve({ from, traffic: { protocol }, mark }: MarkedPacket): Disposable {
  if (protocol === "tcp" || protocol === "udp") return reservePort(protocol, from, mark.port);
  return { [Symbol.dispose]: () => undefined };
}

/** The rule as nft lists it. */
async function readRule({ family, name, handle, ...drop }: DroppedBy): Promise<Dropped> {
  if (handle === undefined) return { ...drop, rule: "policy drop" };
  try {
    const listed = await toolRunner()("nft", ["--handle", "list", "chain", family, name, drop.chain]);
    const end = ` # handle ${handle}`;
    const line = listed.split("\n").find((one) => one.endsWith(end));
    return line === undefined ? drop : { ...drop, rule: line.slice(0, -end.length).trim().slice(0, MAX_RULE) };
  } catch (error) {
    // The rule may have gone meanwhile; its chain and table are known.
    if (error instanceof NftError) return drop;
    throw error;
  }
}
