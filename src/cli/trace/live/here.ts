/** What this node does in a live trace: sends, where the sender is here, and otherwise watches until its input ends. */
import type { Knowledge } from "../plan/knowledge.ts";
import type { PlannedHalf } from "../plan/plan.ts";
import type { Kernel } from "../read/kernel.ts";
import type { Mark } from "./mark.ts";
import type { LiveHalf } from "./types.ts";
import { sendAndWatch, watchUntil } from "./watch.ts";

/**
 * @param options how long an answer is waited for, in milliseconds, and how the packet is known
 * @throws UsageError for a protocol of which no packet is made, NoTracing where only watching was asked for, SysError
 */
export async function watchHere(
  { from, to, traffic }: Knowledge,
  half: PlannedHalf,
  { mark, kernel, timeoutMs }: { mark: Mark; kernel: Kernel; timeoutMs: number },
): Promise<LiveHalf> {
  const work = { half, packet: { from: from.ip, to: to.ip, traffic, mark }, kernel, timeoutMs };
  if (from.local) return await sendAndWatch({ ...work, netns: from.local.netns });
  const ended = new Promise<void>((resolve) => process.stdin.resume().once("close", resolve).once("end", resolve));
  try {
    return await watchUntil(work, () => process.stdout.write('{"watching":true}\n'), ended);
  } finally {
    process.stdin.destroy();
  }
}
