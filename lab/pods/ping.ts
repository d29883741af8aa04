/** Who reaches whom: one echo request from every pod to every address of every other pod. */
import { type Family, familyOf } from "../../src/addr/index.ts";
import type { LabContext } from "../cluster/context.ts";
import { entering, mapLimit, tryRun } from "../exec.ts";
import { podNetns } from "./pods.ts";
import type { PodRecord } from "../cluster/records.ts";

/** One echo request and what came of it. */
export interface Echo {
  from: string;
  to: string;
  family: Family;
  ip: string;
  /** Round-trip time in milliseconds; absent when no answer came. */
  rttMs?: number;
  /** Why there was none. */
  error?: string;
}

const PARALLEL = 8;

/** Round-trip time from ping(8)'s summary. */
export function parseRtt(output: string): number | undefined {
  const found = /(?:rtt|round-trip) [^=]*= [\d.]+\/([\d.]+)\//.exec(output)?.[1];
  return found === undefined ? undefined : Number(found);
}

/** Sends one echo request from a pod and waits at most `timeoutMs` for the answer. */
export async function pingFrom(
  lab: LabContext,
  from: PodRecord,
  ip: string,
  timeoutMs = 1000,
): Promise<Omit<Echo, "to">> {
  const seconds = String(timeoutMs / 1000);
  const argv = entering({ netns: podNetns(lab, from) }, "ping", ["-n", "-q", "-c", "1", "-W", seconds, ip]);
  const { status, stdout, stderr } = await tryRun(argv, { env: lab.env });
  const answered = { from: from.name, family: familyOf(ip), ip };
  const rttMs = status === 0 ? parseRtt(stdout) : undefined;
  if (rttMs !== undefined) return { ...answered, rttMs };
  return { ...answered, error: stderr.trim() || "no answer" };
}

/** Pings every address of every pod from every other pod. */
export function pingAll(lab: LabContext, pods: readonly PodRecord[], timeoutMs = 1000): Promise<Echo[]> {
  const pairs = pods.flatMap((from) =>
    pods.filter((to) => to !== from).flatMap((to) => to.ips.map((ip) => ({ from, to, ip }))),
  );
  return mapLimit(pairs, PARALLEL, async ({ from, to, ip }) => ({
    ...(await pingFrom(lab, from, ip, timeoutMs)),
    to: to.name,
  }));
}
