/**
 * What an agent that starts has to know before the API server has said anything: which pods' answers come through the tunnel, so that a restart loses none
 * of them; and egress addresses that this node has put on a device: what of a device's addresses are ours no kernel before 5.18 can say, and one that moved
 * away while no agent ran has to go. An address is written down before it is put there.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseIp } from "../../addr/index.ts";
import { makeDirectory, writeFileAtomic } from "../../sys/index.ts";
import type { EgressAnswer } from "../nft/index.ts";

/** Name of the folder, in the data directory. */
export const EGRESS = "egress";
const ADDRESSES = "addresses";
const ANSWERS = "answers";

/** The words of a file, line by line; a line that is not made of addresses is none. @throws Error of fs */
function readLines(dataDir: string, file: string): string[][] {
  const path = join(dataDir, EGRESS, file);
  const text = existsSync(path) ? readFileSync(path, "utf8") : "";
  return text.split("\n").flatMap((line) => {
    try {
      return line === "" ? [] : [line.split(" ").map(parseIp)];
    } catch (error) {
      if (error instanceof RangeError) return [];
      throw error;
    }
  });
}

function writeLines(dataDir: string, file: string, lines: readonly string[]): void {
  makeDirectory(join(dataDir, EGRESS));
  writeFileAtomic(
    join(dataDir, EGRESS, file),
    [...lines]
      .sort()
      .map((line) => `${line}\n`)
      .join(""),
    { durable: true },
  );
}

/** Addresses on disk. @throws Error of fs */
export const heldAddresses = (dataDir: string): Set<string> =>
  new Set(readLines(dataDir, ADDRESSES).flatMap(([ip]) => ip ?? []));

/** Writes them down, where they are others than before. @throws Error of fs */
export function holdAddresses(dataDir: string, addresses: ReadonlySet<string>): void {
  const before = heldAddresses(dataDir);
  if (before.size === addresses.size && [...before].every((ip) => addresses.has(ip))) return;
  writeLines(dataDir, ADDRESSES, [...addresses]);
}

/** Answers that were let in last. @throws Error of fs */
export const rememberedAnswers = (dataDir: string): EgressAnswer[] =>
  readLines(dataDir, ANSWERS).flatMap(([pod, gateway]) =>
    pod === undefined || gateway === undefined ? [] : [{ pod, gateway }],
  );

/** Writes them down, where they are others than before. @throws Error of fs */
export function rememberAnswers(dataDir: string, answers: readonly EgressAnswer[]): void {
  const lines = answers.map(({ pod, gateway }) => `${pod} ${gateway}`);
  const before = new Set(rememberedAnswers(dataDir).map(({ pod, gateway }) => `${pod} ${gateway}`));
  if (before.size === lines.length && lines.every((line) => before.has(line))) return;
  writeLines(dataDir, ANSWERS, lines);
}
