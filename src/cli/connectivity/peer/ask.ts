/** One end of the test as a client: tries everything that it is asked at once, each thing again and again until it works or its time is over. */
import { createSocket, type RemoteInfo } from "node:dgram";
import { lookup } from "node:dns/promises";
import { get } from "node:http";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { familyOf } from "../../../addr/index.ts";
import { part } from "../../../json/index.ts";
import { openDatagrams, SysError } from "../../../sys/index.ts";
import { type Answer, headOf, keyIn, type Question, type Questions } from "./questions.ts";
import { HEADERS } from "./serve.ts";

/** How long one thing is tried, and one attempt at it, in milliseconds. */
export interface Patience {
  deadlineMs: number;
  attemptMs: number;
}

const PATIENCE: Patience = { deadlineMs: 10_000, attemptMs: 3000 };
/** Between a refusal and the next attempt, and between datagrams. */
const PAUSE_MS = 250;
/** A policy is made while it is asked about: so many times as long as anything else until no connection comes about. */
const CLOSING = 2;
/** Of a peer's answer over HTTP. */
const MOST_BODY = 4096;
const SMALL = 64;
/** Where a peer does not say its own: what every link of IPv6 has (RFC 8200, section 5). */
const LEAST_MTU = 1280;

/** Tries everything. @param mtu of this end's interface, in bytes */
export const ask = (
  { token, questions }: Questions,
  mtu: number | undefined,
  patience: Patience = PATIENCE,
): Promise<Answer[]> => Promise.all(questions.map((question) => askOne(question, token, mtu, patience)));

async function askOne(question: Question, token: string, mtu: number | undefined, patience: Patience): Promise<Answer> {
  const { deadlineMs, attemptMs } = patience;
  const deadline = Date.now() + deadlineMs;
  switch (question.kind) {
    case "http":
      return await again(deadline, () => request(question, attemptMs));
    case "connect":
      return await again(deadline, () => connection(question, attemptMs));
    case "udp":
      return await datagram(question, token, mtu, patience);
    case "closed":
      return await closed(question, Date.now() + deadlineMs * CLOSING, attemptMs);
    default:
      return await again(deadline, () => resolution(question, attemptMs));
  }
}

/** Until it works or time is over; at least once. */
async function again(deadline: number, attempt: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    const answer = await attempt();
    if (answer.ok || Date.now() + PAUSE_MS >= deadline) return answer;
    await sleep(PAUSE_MS);
  }
}

/** What a peer says over HTTP, or why it does not. */
function hello(ip: string, port: number, timeout: number): Promise<{ peer: string; mtu: number | undefined } | string> {
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(timeout);
    const fail = (error: Error): void => resolve(signal.aborted ? `no answer within ${timeout} ms` : wordsFor(error));
    const sent = get({ host: ip, port, path: "/", agent: false, signal }, (response) => {
      let body = "";
      response.setEncoding("latin1").on("data", (text: string) => {
        body += text;
        if (body.length > MOST_BODY) response.destroy(new Error("an answer that is too long"));
      });
      response.on("error", fail);
      response.on("end", () => resolve(helloOf(body)));
    });
    sent.on("error", fail);
  });
}

function helloOf(body: string): { peer: string; mtu: number | undefined } | string {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return "somebody else answers, who is none of this test";
  }
  const [peer, mtu] = [part(value, "peer"), part(value, "mtu")];
  if (typeof peer !== "string") return "somebody else answers, who is none of this test";
  return { peer, mtu: typeof mtu === "number" ? mtu : undefined };
}

async function request({ ip, port, peer }: Question & { kind: "http" }, timeout: number): Promise<Answer> {
  const said = await hello(ip, port, timeout);
  if (typeof said === "string") return { ok: false, is: said };
  if (peer !== "" && said.peer !== peer) return { ok: false, is: `${said.peer.slice(0, 64)} answers in its place` };
  return { ok: true, is: `${said.peer.slice(0, 64)} answers` };
}

/** "connected", or the error's code or what stands for it. */
function attempt(
  ip: string,
  port: number,
  timeout: number,
): Promise<{ connected: boolean; refused: boolean; is: string }> {
  return new Promise((resolve) => {
    const socket = connect({ host: ip, port, signal: AbortSignal.timeout(timeout) });
    socket.on("connect", () => {
      resolve({ connected: true, refused: false, is: "connected" });
      socket.destroy();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      const late = error.name === "AbortError" || error.code === "ABORT_ERR";
      const is = late ? `no answer within ${timeout} ms` : wordsFor(error);
      resolve({ connected: false, refused: error.code === "ECONNREFUSED", is });
    });
  });
}

async function connection(question: Question & { kind: "connect" }, timeout: number): Promise<Answer> {
  const { connected, refused, is } = await attempt(question.ip, question.port, timeout);
  if (refused && question.refusalCounts) return { ok: true, is: "refused, so it was reached" };
  return { ok: connected, is };
}

/** Two failures, one after the other, are taken for closed: what is lost once comes through the second time. */
async function closed({ ip, port }: Question & { kind: "closed" }, deadline: number, timeout: number): Promise<Answer> {
  for (let failures = 0; ; ) {
    const { connected, is } = await attempt(ip, port, timeout);
    failures = connected ? 0 : failures + 1;
    if (failures === 2) return { ok: true, is };
    if (connected && Date.now() >= deadline) return { ok: false, is: "it still connects" };
    if (connected) await sleep(PAUSE_MS);
  }
}

async function resolution({ name, ips }: Question & { kind: "name" }, timeout: number): Promise<Answer> {
  const late = sleep(timeout, undefined, { ref: false }).then(() => `no answer within ${timeout} ms`);
  const found = lookup(name, { all: true }).then(
    (all) => all.map(({ address }) => address),
    (error: Error) => wordsFor(error),
  );
  const said = await Promise.race([found, late]);
  if (typeof said === "string") return { ok: false, is: said };
  return { ok: said.some((one) => ips.includes(one)), is: `resolves to ${said.slice(0, 8).join(", ")}` };
}

/** Sends until one comes back, or time is over. */
async function datagram(
  question: Question & { kind: "udp" },
  token: string,
  mtu: number | undefined,
  { deadlineMs, attemptMs }: Patience,
): Promise<Answer> {
  const { ip, port, size } = question;
  const family = familyOf(ip);
  let bytes = SMALL;
  if (size !== "small") {
    if (mtu === undefined) return { ok: false, is: "this end does not know its own MTU: it has no interface eth0" };
    const there = await hello(ip, port, attemptMs);
    // The smaller of the two: a packet that is as large as the path claims to carry.
    const least = Math.min(mtu, typeof there === "string" ? mtu : (there.mtu ?? LEAST_MTU));
    bytes = least + (size === "over" ? 1 : 0) - HEADERS[family];
  }
  return await exchange({ ...question, bytes, family }, token, Date.now() + deadlineMs);
}

/** A datagram with its own size in bytes of payload. */
type Sized = Question & { kind: "udp" } & { bytes: number; family: 4 | 6 };

function exchange({ ip, port, size, key, bytes, family }: Sized, token: string, deadline: number): Promise<Answer> {
  const socket = createSocket(`udp${family}`);
  const data = Buffer.alloc(bytes);
  data.write(headOf(token, key));
  const packet = `${bytes + HEADERS[family]} bytes`;
  return new Promise((resolve) => {
    let problem = `no answer to packets of ${packet}`;
    const end = (answer: Answer): void => {
      clearInterval(sending);
      resolve(answer);
      socket.close();
    };
    const send = (): void => {
      if (Date.now() >= deadline) return end({ ok: false, is: problem });
      socket.send(data, port, ip, (error) => {
        if (error) problem = `${packet}: ${wordsFor(error)}`;
      });
    };
    const sending = setInterval(send, PAUSE_MS);
    socket.on("error", (error) => (problem = `${packet}: ${wordsFor(error)}`));
    socket.on("message", (answer: Buffer, from: RemoteInfo) => {
      const head = headOf(token, key, bytes);
      const whole = answer.subarray(0, head.length).toString("latin1") === head;
      if (from.port !== port || keyIn(answer, token) !== key || !whole) return;
      // What came in one piece has to come back in one; more than that has only its length told.
      if (size !== "over" && answer.length !== bytes) problem = `the answer to ${packet} has another length`;
      else end({ ok: true, is: `${packet} come back` });
    });
    try {
      socket.bind(size === "over" ? { port: 0 } : { fd: openDatagrams(family) }, send);
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      end({ ok: false, is: wordsFor(error) });
    }
  });
}

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "refused",
  ECONNRESET: "reset",
  EHOSTUNREACH: "no route to it (a router says so, or no neighbour answers)",
  ENETUNREACH: "no route to it here",
  ENOTFOUND: "the name does not resolve",
  EAI_AGAIN: "no DNS server answers",
  EMSGSIZE: "this end refuses to send it: its route has a smaller MTU than its interface",
  EPERM: "a packet filter here refuses to send it",
};

const wordsFor = (error: Error): string => {
  const { code } = error as NodeJS.ErrnoException;
  return (code !== undefined && WORDS[code]) || error.message.slice(0, 200);
};
