/**
 * The token bucket of a limit. A bucket is as exact as its clock, whatever the rate, as long as two sizes are right:
 *
 * - The burst adds to what passes once, so it is a hundredth of ten seconds' worth at most. It must hold what passes between two looks of the
 *   kernel at its timers (some milliseconds where a machine is busy), and two frames. Packets that are put together (GSO) and larger than the
 *   burst are cut by the kernel (tbf_segment in net/sched/sch_tbf.c), which costs time and loses nothing; from 6 Mbit/s on none has to be.
 * - The queue must hold a burst, as anything larger than its rest is dropped, and beyond that as much as may wait.
 *
 * Runtimes pass a burst of 2 or 4 Gbit, as "none": with that a pod of 1 Mbit/s would not be limited for half an hour, and behind a stream that fills
 * the limit everything would wait as long as the bucket is deep. So that one is left aside, and a smaller one counts only as far as it keeps the limit.
 */
import type { TokenBucket } from "../../netlink/index.ts";
import type { Limit } from "./limits.ts";

/** Largest packet that a pod's link carries in one piece: 64 KiB, with headers for each of its segments. */
const LARGEST_PACKET = 72_000;
/** What may pass at once: so much time's worth of the rate, in seconds; as much as makes large packets pass; and at most. */
const [LEAST_BURST, PACKET_BURST, MOST_BURST] = [0.005, 0.1, 0.25];
/** How long a packet waits at most, as the plugin bandwidth has it, in seconds. */
const WAIT = 0.025;
/** A burst from here on, in bits, is the largest number that a runtime can say (of 32 bits, with or without a sign), and not somebody's wish. */
const NO_WISH = 2 ** 31 - 1;
const ETHERNET_HEADER = 14;
/** Sizes are numbers of 32 bits to the kernel. At a rate at which this is too little, nothing is ever limited. */
const MOST_BYTES = 2 ** 30;

/** @param mtu of the pod's link, in bytes */
export function bucketOf({ rate: bits, burst: asked }: Limit, mtu: number): TokenBucket {
  const rate = Math.floor(bits / 8);
  const least = Math.max(
    2 * (mtu + ETHERNET_HEADER),
    rate * LEAST_BURST,
    Math.min(LARGEST_PACKET, rate * PACKET_BURST),
  );
  const wanted = asked === undefined || asked >= NO_WISH ? least : Math.min(asked / 8, rate * MOST_BURST);
  const burst = Math.min(MOST_BYTES, Math.ceil(Math.max(least, wanted)));
  return { rate, burst, limit: Math.min(MOST_BYTES, Math.ceil(burst + rate * WAIT)) + mtu };
}

/** The kernel keeps a burst as a time in steps of 64 ns, and hands out what that comes to. */
const STEP = 64e-9;

/** Whether the kernel has a bucket. */
export function isBucket(wanted: TokenBucket, there: TokenBucket | undefined): boolean {
  if (there?.rate !== wanted.rate || there.limit !== wanted.limit) return false;
  return Math.abs(there.burst - wanted.burst) <= 2 * STEP * wanted.rate + wanted.burst / 100;
}
