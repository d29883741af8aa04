/** What one end of the test is asked, and what it says: JSON in both directions, read strictly. */
import { isIP } from "node:net";
import { isObject } from "../../../json/index.ts";

/** Where peers listen, TCP (HTTP) and UDP. */
export const PEER_PORT = 7359;

/** How large a datagram is: small; as large as the interface's MTU, with DF; one byte more, which takes two packets. */
export type Size = "small" | "full" | "over";

/** Something to try. */
export type Question =
  /** A request over TCP, answered by this peer; by any where that is "". */
  | { kind: "http"; ip: string; port: number; peer: string }
  /** A connection over TCP; a refusal by whoever has the address is an answer as well. */
  | { kind: "connect"; ip: string; port: number; refusalCounts: boolean }
  /** A datagram that comes back. */
  | { kind: "udp"; ip: string; port: number; size: Size; key: string }
  /** That no connection comes about, sooner or later. */
  | { kind: "closed"; ip: string; port: number }
  /** That a name resolves to one of these addresses. */
  | { kind: "name"; name: string; ips: readonly string[] };

/** What came of it. */
export interface Answer {
  ok: boolean;
  /** In words. */
  is: string;
}

/** All questions for one end. */
export interface Questions {
  /** What datagrams begin with: a peer answers no others. */
  token: string;
  questions: readonly Question[];
}

const MOST_QUESTIONS = 512;
const MOST_TEXT = 1024;
const TOKEN = /^[0-9a-f]{8,64}$/;
/** Of a datagram: printable, without white space, so that a line holds token, key and length. */
const KEY = /^[!-~]{1,64}$/;

/** Whether a text can be a token. */
export const isToken = (text: string | undefined): text is string => text !== undefined && TOKEN.test(text);

/** The first line of a datagram: of the question the token and its key, of the answer how long the question was. */
export const headOf = (token: string, key: string, length?: number): string =>
  `${[token, key, ...(length === undefined ? [] : [length])].join(" ")}\n`;

/** The key of a datagram that begins with the token. */
export function keyIn(data: Buffer, token: string): string | undefined {
  const [said, key = ""] = data.subarray(0, 256).toString("latin1").split("\n", 1)[0]?.split(" ") ?? [];
  return said === token && KEY.test(key) ? key : undefined;
}

const isPort = (value: unknown): boolean =>
  Number.isInteger(value) && (value as number) > 0 && (value as number) < 65_536;
const isText = (value: unknown): value is string => typeof value === "string" && value.length <= MOST_TEXT;

function isQuestion(value: unknown): value is Question {
  if (!isObject(value)) return false;
  if (value["kind"] === "name")
    return isText(value["name"]) && Array.isArray(value["ips"]) && value["ips"].every(isText);
  if (!isText(value["ip"]) || isIP(value["ip"]) === 0 || !isPort(value["port"])) return false;
  if (value["kind"] === "http") return isText(value["peer"]);
  if (value["kind"] === "connect") return typeof value["refusalCounts"] === "boolean";
  if (value["kind"] === "udp")
    return isText(value["key"]) && KEY.test(value["key"]) && ["small", "full", "over"].includes(String(value["size"]));
  return value["kind"] === "closed";
}

/** Reads what an end is asked. @throws Error when it is nothing that this version can try */
export function parseQuestions(text: string): Questions {
  const value: unknown = JSON.parse(text);
  const [token, questions] = isObject(value) ? [value["token"], value["questions"]] : [];
  if (!isText(token) || !isToken(token) || !Array.isArray(questions) || questions.length > MOST_QUESTIONS)
    throw new Error("these are no questions");
  const unknown = questions.findIndex((one) => !isQuestion(one));
  if (unknown >= 0) throw new Error(`question ${unknown} is none that this version can try`);
  return { token, questions: questions as Question[] };
}

/** Reads what an end has said to so many questions. @throws Error when it is no answer to them */
export function parseAnswers(text: string, count: number): Answer[] {
  const value: unknown = JSON.parse(text);
  const whole =
    Array.isArray(value) &&
    value.length === count &&
    value.every((one) => isObject(one) && typeof one["ok"] === "boolean" && isText(one["is"]));
  if (!whole) throw new Error(`these are no answers to ${count} questions`);
  return (value as Answer[]).map(({ ok, is }) => ({ ok, is }));
}

/** Reads which datagrams an end has heard. @throws Error when it is no list of keys */
export function parseHeard(text: string): Set<string> {
  const value: unknown = JSON.parse(text);
  if (!Array.isArray(value) || !value.every((one) => isText(one) && KEY.test(one)))
    throw new Error("this is no list of keys");
  return new Set(value as string[]);
}
