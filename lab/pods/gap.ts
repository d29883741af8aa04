/** How long one pod is out of another one's reach while something is done to it, and what becomes of its connections. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { entering } from "../exec.ts";
import type { Lab } from "../lab.ts";
import { podNetns } from "./pods.ts";
import type { PodRecord } from "../cluster/records.ts";
import { Echoes } from "./echoes.ts";
import type { Transfer } from "./transfer.ts";

/** What came of the echo requests. */
export interface Gap {
  /**
   * The longest time that the other was out of reach, in milliseconds: from the first request of a row without an answer until
   * the first that has one again, or that an answer took. Times at which nothing was asked (a busy machine) are none of it.
   */
  longestMs: number;
  sent: number;
  answered: number;
}

/** Seconds between two echo requests, and until the last one whatever happens, where nobody says otherwise. */
const EVERY_S = 0.01;
const LIMIT_S = 60;
/** An answer that is late by so much, in milliseconds, does not come any more. */
const LOST_MS = 10_000;

/**
 * Has a pod send echo requests to an address every 10 ms, from before `work` begins until it is answered after `work` has ended.
 * @param limitS how long at most, in seconds
 * @throws Error when it is not answered before or after; what `work` throws
 */
export async function gapDuring(
  lab: Lab,
  from: PodRecord,
  ip: string,
  work: () => Promise<void>,
  limitS = LIMIT_S,
): Promise<Gap> {
  // With a deadline (-w) it would end at the first "unreachable", which a node may say of a pod that has just left it.
  const ping = ["-n", "-D", "-O", "-i", String(EVERY_S), "-c", String(limitS / EVERY_S), ip];
  const argv = entering({ netns: podNetns(lab.context, from) }, "ping", ping);
  const [command, ...args] = argv as [string, ...string[]];
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], env: lab.context.env });
  const closed = once(child, "close");
  const echoes = new Echoes();
  let [sent, answered] = [0, 0];
  let onAnswer = (): void => undefined;
  createInterface({ input: child.stdout }).on("line", (line) => {
    const counts = /^(\d+) packets transmitted, (\d+) received/.exec(line);
    if (counts) [sent, answered] = [Number(counts[1]), Number(counts[2])];
    if (echoes.read(line)) onAnswer();
  });
  /** Resolves with the next answer. */
  const answer = async (when: string): Promise<void> => {
    const why = `${from.name} does not reach ${ip} ${when}`;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${why}: no answer within ${LOST_MS / 1000} s`)), LOST_MS);
    });
    const over = closed.then(() => Promise.reject(new Error(`${why}: ping has ended`)));
    try {
      await Promise.race([new Promise<void>((resolve) => (onAnswer = resolve)), late, over]);
    } finally {
      clearTimeout(timer);
    }
  };
  try {
    await answer("before anything is done");
    await work();
    await answer("any more");
  } finally {
    child.kill("SIGINT");
    await closed;
  }
  return { longestMs: echoes.longestGapMs(), sent, answered };
}

/** What came of a move. */
export interface MoveUnderLoad {
  gap: Gap;
  /** Of a connection that was there before the move. */
  transfer: Transfer;
  /** How long the move took, in milliseconds. */
  ms: number;
}

/** Bytes of the connection that goes on during the move, and over how many milliseconds they are spread. */
const BYTES = 30 << 20;
const OVER_MS = 3000;

/**
 * Moves a pod to another node while a second one sends echo requests to one of its addresses, and bytes over a connection.
 * @throws Error when the address is not answered any more, or the connection breaks
 */
export async function moveUnderLoad(
  lab: Lab,
  { pod, to, from, ip }: { pod: string; to: string; from: PodRecord; ip: string },
): Promise<MoveUnderLoad> {
  let started = (): void => undefined;
  const start = new Promise<void>((resolve) => (started = resolve));
  const transfer = lab.transfer(from, lab.pod(pod), ip, BYTES, { overMs: OVER_MS, onStart: () => started() });
  let ms = 0;
  const moving = (async () => {
    await Promise.race([start, transfer]);
    return gapDuring(lab, from, ip, async () => {
      const begun = performance.now();
      await lab.movePod(pod, to);
      ms = performance.now() - begun;
      await transfer;
    });
  })();
  // The one that fails first must not leave the other's failure unheard.
  const [moved, sent] = await Promise.allSettled([moving, transfer]);
  if (moved.status === "rejected") throw moved.reason as Error;
  if (sent.status === "rejected") throw sent.reason as Error;
  return { gap: moved.value, transfer: sent.value, ms };
}
