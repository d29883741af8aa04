/** Reads what another node has seen. It may be hostile: it is read strictly, and bounded. */
import { isObject } from "../../../json/index.ts";
import { CommandError } from "../../command.ts";
import { LIVE_VERSION, type LiveHalf } from "./types.ts";

const MOST = 128;
const MAX_TEXT = 2_048;
const KINDS: readonly unknown[] = ["request", "answer", "error"];
const HOOKS: readonly unknown[] = ["prerouting", "input", "forward", "output", "postrouting"];
const ROLES: readonly unknown[] = ["source", "destination", "both"];

const isText = (value: unknown): value is string => typeof value === "string" && value.length <= MAX_TEXT;
const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
const texts = (value: Record<string, unknown>, keys: readonly string[]): boolean =>
  keys.every((key) => value[key] === undefined || isText(value[key]));
const listOf = (value: unknown, is: (one: unknown) => boolean): boolean =>
  Array.isArray(value) && value.length <= MOST && value.every(is);

const isPlaced = (value: unknown): value is Record<string, unknown> =>
  isObject(value) &&
  KINDS.includes(value["kind"]) &&
  HOOKS.includes(value["hook"]) &&
  typeof value["outer"] === "boolean" &&
  isCount(value["packets"]);

const isSeen = (value: unknown): boolean => isPlaced(value) && texts(value, ["in", "out", "source", "says"]);
const isDropped = (value: unknown): boolean =>
  isPlaced(value) && isText(value["table"]) && isText(value["chain"]) && texts(value, ["rule"]);

const isSent = (value: unknown): boolean => isObject(value) && isCount(value["packets"]) && texts(value, ["error"]);

const isLiveHalf = (value: unknown): value is LiveHalf =>
  isObject(value) &&
  value["version"] === LIVE_VERSION &&
  isText(value["node"]) &&
  ROLES.includes(value["role"]) &&
  listOf(value["seen"], isSeen) &&
  listOf(value["dropped"], isDropped) &&
  listOf(value["passed"], isText) &&
  (value["sent"] === undefined || isSent(value["sent"])) &&
  texts(value, ["missing"]);

/** @param node whose it has to be. @throws CommandError when it is none, or another's */
export function parseLiveHalf(text: string, node: string, roles: readonly LiveHalf["role"][]): LiveHalf {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CommandError(`what ${node} tells of marked packets is not JSON`, { cause });
  }
  if (!isLiveHalf(value))
    throw new CommandError(`${node} tells nothing of marked packets that this version understands`);
  if (value.node !== node) throw new CommandError(`node ${node} calls itself ${value.node}`);
  if (!roles.includes(value.role)) throw new CommandError(`${node} tells of the other end of the way`);
  return value;
}
