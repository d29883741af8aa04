/**
 * What is in the data of the echo requests that agents send each other, behind what sys/sockets/probe-socket.ts puts there. The kernel of whoever is
 * asked answers each by itself, with the data as it came. Most say nothing but a nonce; some ask the agent at the other end to look at a third node,
 * or tell what came of that. 48 bytes: kind 1, four states 1 each, 1 unused, the size that passes 2, nonce 8, subject 16, nonce of the question 8, unused.
 *
 * Whatever is in one is the word of the node whose address it came from, and of nobody else.
 */
import { bytesToIp, FAMILIES, familyOf, ipToBytes } from "../addr/index.ts";
import type { Observation, Seen } from "./judge.ts";

/** By which these requests are known to each other: "SKYP". */
export const MAGIC = 0x534b_5950;
const LENGTH = 48;
const NONCE = 8;
const SUBJECT = 16;
const QUESTION = 32;
const MAPPED = Buffer.from("00000000000000000000ffff", "hex");
const KINDS = ["probe", "question", "report"] as const;
const SEEN: readonly (Seen | undefined)[] = [undefined, "answers", "lossy", "narrow", "silent"];
const HEARS: readonly (boolean | undefined)[] = [undefined, true, false];

/** What an agent found, as it tells others. */
export type Finding = Omit<Observation, "from" | "to">;

/** One message. Nonces are eight bytes as a number. */
export type Message =
  | { kind: "probe"; nonce: bigint }
  /** Look at the node with this underlay address, and tell what you find. @see Message "report" */
  | { kind: "question"; nonce: bigint; subject: string; question: bigint; urgent: boolean }
  | { kind: "report"; nonce: bigint; subject: string; question: bigint; finding: Finding };

/** Writes a message into the same buffer each time; it is to be sent before the next one. */
const buffer = Buffer.alloc(LENGTH);

/** The message's bytes, which are others after the next call. */
export function encode(message: Message): Buffer {
  buffer.fill(0);
  buffer.writeUInt8(KINDS.indexOf(message.kind), 0);
  buffer.writeBigUInt64BE(message.nonce, NONCE);
  if (message.kind === "probe") return buffer;
  buffer.set(
    familyOf(message.subject) === 4 ? Buffer.concat([MAPPED, ipToBytes(message.subject)]) : ipToBytes(message.subject),
    SUBJECT,
  );
  buffer.writeBigUInt64BE(message.question, QUESTION);
  if (message.kind === "question") {
    buffer.writeUInt8(Number(message.urgent), 1);
    return buffer;
  }
  const { inside, beside, hears } = message.finding;
  for (const [n, seen] of [inside[4], inside[6], beside].entries()) buffer.writeUInt8(SEEN.indexOf(seen), 1 + n);
  buffer.writeUInt8(HEARS.indexOf(hears), 4);
  return buffer;
}

/** The nonce of a message of any kind; undefined for what is none. */
export const nonceOf = (data: Buffer): bigint | undefined =>
  data.length < LENGTH ? undefined : data.readBigUInt64BE(NONCE);

/** Reads a message; undefined for what is none, or of a kind that this version does not know. */
export function decode(data: Buffer): Message | undefined {
  const nonce = nonceOf(data);
  const kind = KINDS[data[0] ?? KINDS.length];
  if (nonce === undefined || kind === undefined) return undefined;
  if (kind === "probe") return { kind, nonce };
  const mapped = data.subarray(SUBJECT, SUBJECT + MAPPED.length).equals(MAPPED);
  const subject = bytesToIp(data.subarray(SUBJECT + (mapped ? MAPPED.length : 0), SUBJECT + 16));
  const question = data.readBigUInt64BE(QUESTION);
  if (kind === "question") return { kind, nonce, subject, question, urgent: data[1] === 1 };
  const [four, six, beside] = [1, 2, 3].map((at) => SEEN[data[at] ?? 0]);
  const inside: Observation["inside"] = {};
  for (const family of FAMILIES) {
    const seen = family === 4 ? four : six;
    if (seen) inside[family] = seen;
  }
  const hears = HEARS[data[4] ?? 0];
  const finding = { inside, ...(beside && { beside }), ...(hears !== undefined && { hears }) };
  return { kind, nonce, subject, question, finding };
}
