/**
 * A TCP transfer between two pods: real bytes, counted and hashed on both sides. Each side is a small program in the
 * pod's network; what they say of their own is compared by the lab.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import type { LabContext } from "../cluster/context.ts";
import { entering } from "../exec.ts";
import { podNetns } from "./pods.ts";
import type { PodRecord } from "../cluster/records.ts";

/** What one side saw. */
export interface SideReport {
  bytes: number;
  sha256: string;
  /** From the first byte to the last, in milliseconds. */
  ms: number;
}

/** How a transfer goes. */
export interface TransferOptions {
  /** Spreads the bytes evenly over so many milliseconds; as fast as they go by default. */
  overMs?: number;
  /** Called when the first byte has arrived: the connection is there. */
  onStart?: () => void;
}

/** What the receiving side saw. */
export interface Received extends SideReport {
  /** Longest time that the bytes were held up, in milliseconds. */
  pauseMs: number;
}

/** What came of a transfer. It is one connection: had it broken, there would be none of this. */
export interface Transfer {
  sent: SideReport;
  received: Received;
  /** Whether both sides counted and hashed the same. */
  same: boolean;
  /** Megabytes (10⁶) a second, as the receiver saw it. */
  rate: number;
}

const BLOCK = 1 << 20;
/** A transfer that is to take its time sends a little this often, in milliseconds. */
const TICK_MS = 10;
const TIMEOUT_MS = 30_000;

const say = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

/** The receiving side: says its port, takes one connection, says that bytes arrive and reports what came. */
export async function receive(host: string): Promise<void> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, host);
  await once(server, "listening");
  const address = server.address();
  say({ port: typeof address === "object" ? address?.port : undefined });
  const [socket] = (await once(server, "connection")) as [Socket];
  server.close();
  const hash = createHash("sha256");
  let bytes = 0;
  let start: number | undefined;
  let last: number | undefined;
  let pauseMs = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    const now = performance.now();
    if (start === undefined) say({ started: true });
    start ??= now;
    pauseMs = Math.max(pauseMs, now - (last ?? now));
    last = now;
    bytes += chunk.length;
    hash.update(chunk);
  }
  if (start === undefined) say({ started: false });
  const ms = performance.now() - (start ?? performance.now());
  socket.end();
  say({ bytes, sha256: hash.digest("hex"), ms, pauseMs } satisfies Received);
}

/**
 * The sending side: random blocks, each with its number in it so that none could stand for another.
 * @param overMs spreads them evenly over so many milliseconds; 0: as fast as they go
 */
export async function send(host: string, port: number, bytes: number, overMs: number): Promise<void> {
  const socket = connect({ host, port });
  await once(socket, "connect");
  const hash = createHash("sha256");
  const random = randomBytes(BLOCK);
  const size = overMs > 0 ? Math.min(BLOCK, Math.ceil((bytes * TICK_MS) / overMs)) : BLOCK;
  const start = performance.now();
  for (let sent = 0; sent < bytes; sent += size) {
    const early = start + (sent / bytes) * overMs - performance.now();
    if (early > 0) await delay(early);
    const block = Buffer.from(random.subarray(0, Math.min(size, bytes - sent)));
    if (block.length >= 8) block.writeBigUInt64BE(BigInt(sent));
    hash.update(block);
    if (!socket.write(block)) await once(socket, "drain");
  }
  socket.end();
  // The receiver closes its side when it has everything.
  socket.resume();
  await once(socket, "close");
  say({ bytes, sha256: hash.digest("hex"), ms: performance.now() - start } satisfies SideReport);
}

interface Side {
  child: ChildProcess;
  lines: Interface;
  next(): Promise<unknown>;
}

function startSide(lab: LabContext, pod: PodRecord, args: string[]): Side {
  const argv = entering({ netns: podNetns(lab, pod) }, join(lab.binDir, "skylanectl"), ["lab", "transfer", ...args]);
  const [command, ...rest] = argv as [string, ...string[]];
  const child = spawn(command, rest, { stdio: ["ignore", "pipe", "inherit"], env: lab.env, timeout: TIMEOUT_MS });
  const lines = createInterface({ input: child.stdout });
  const iterator = lines[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => {
    const line = await iterator.next();
    if (line.done) throw new Error(`the transfer's side in ${pod.name} ended without a word`);
    return JSON.parse(line.value);
  };
  return { child, lines, next };
}

/**
 * Sends bytes from one pod to an address of another, at full speed or over so many milliseconds.
 * @throws Error when a side fails or it takes over 30 s
 */
export async function transfer(
  lab: LabContext,
  from: PodRecord,
  to: PodRecord,
  ip: string,
  bytes: number,
  { overMs = 0, onStart }: TransferOptions = {},
): Promise<Transfer> {
  const receiver = startSide(lab, to, ["receive", ip]);
  let sender: Side | undefined;
  try {
    const { port } = (await receiver.next()) as { port: number };
    sender = startSide(lab, from, ["send", ip, String(port), String(bytes), String(overMs)]);
    const receiving = receiver.next().then(() => {
      onStart?.();
      return receiver.next();
    });
    const [sent, received] = (await Promise.all([sender.next(), receiving])) as [SideReport, Received];
    return {
      sent,
      received,
      same: sent.bytes === received.bytes && sent.sha256 === received.sha256,
      rate: received.bytes / 1000 / received.ms,
    };
  } finally {
    for (const side of [sender, receiver]) {
      side?.lines.close();
      side?.child.kill("SIGKILL");
    }
  }
}
