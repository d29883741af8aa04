/** Limits of pods as the plugin makes them where no agent answers: once, and as they are recorded. */
import { Rtnl } from "../../netlink/index.ts";
import { DeltaTracker, planAll } from "../../reconcile/index.ts";
import { SysError } from "../../sys/index.ts";
import { applyPlan } from "../kernel/index.ts";
import {
  entriesOf,
  ifbOf,
  isThereAlready,
  type LimitEntry,
  limitKey,
  limitOperations,
  makeIfb,
  readDevices,
  readLimits,
} from "./entries.ts";
import { isUnlimited, type Limits } from "./limits.ts";
import { endOf, type LimitOwner, type LimitRecord, type LimitRecords } from "./records.ts";

/** A pod cannot be limited as it should be. */
export class BandwidthRefused extends Error {
  override readonly name = "BandwidthRefused";
}

/** What an attachment asks for; limits are those that its runtime says. */
export type LimitRequest = Omit<LimitRecord, "annotated">;

/** What the verbs need. */
export interface PodBandwidth {
  /** Limits an attachment whose link is there. @throws BandwidthRefused, Error of the system. What was begun goes with `unlimit` */
  limit(request: LimitRequest): Promise<void>;
  /** Ends an attachment's limits, whatever was. @throws BandwidthRefused, Error of the system; the next call goes on then */
  unlimit(owner: LimitOwner): Promise<void>;
  /** How an attachment's limits differ from what is recorded, in words. @throws NetlinkError, Error of the system */
  differences(owner: LimitOwner): string[];
}

/** See the header. */
export class Bandwidth implements PodBandwidth {
  readonly #records: LimitRecords;

  constructor(records: LimitRecords) {
    this.#records = records;
  }

  async limit(record: LimitRequest): Promise<void> {
    if (isUnlimited(record.limits)) return;
    this.#records.write(record);
    const failures = await makeSo(endOf(record), record.limits, record.hostNetns);
    if (failures.length > 0)
      throw new BandwidthRefused(`the kernel refused the pod's bandwidth limit: ${failures.join("; ")}`);
  }

  async unlimit(owner: LimitOwner): Promise<void> {
    if (!this.#records.leave(owner)) return;
    const end = endOf({ owner });
    for (const { hostNetns } of this.#records.going().filter((record) => endOf(record) === end)) {
      const failures = isGone(hostNetns) ? [] : await makeSo(end, {}, hostNetns);
      if (failures.length > 0)
        throw new BandwidthRefused(`the kernel refused to end the pod's bandwidth limit: ${failures.join("; ")}`);
    }
    this.#records.forget(owner);
  }

  differences(owner: LimitOwner): string[] {
    const record = this.#records.find(owner);
    return record ? limitDifferences(record) : [];
  }
}

/** What of a record's limits the kernel does not have, in words. @throws NetlinkError, SysError */
export function limitDifferences(record: LimitRecord): string[] {
  const { hostNetns, limits } = record;
  using rtnl = Rtnl.open(hostNetns === undefined ? {} : { netns: hostNetns });
  const end = endOf(record);
  const devices = readDevices(rtnl);
  const wanted = trackerOf(end, limits);
  const there = readLimits(rtnl, devices, (key) => wanted.entries.has(key)).filter((object) => object.end === end);
  return [...wanted.entries].flatMap(([key, entry]) => {
    const isThere = there.some((object) => limitKey(object) === key && limitOperations.isRight(entry, object, devices));
    return isThere ? [] : [`the ${WORDS[entry.kind]} of its bandwidth limit is missing or different`];
  });
}

const WORDS: Readonly<Record<LimitEntry["kind"], string>> = {
  ifb: "IFB device",
  queue: "token bucket",
  hook: "ingress qdisc",
  redirect: "filter",
};

/** Whether a network namespace has gone, and all that was in it. @throws Error of the system */
export function isGone(netns: string | undefined): boolean {
  if (netns === undefined) return false;
  try {
    Rtnl.open({ netns }).close();
    return false;
  } catch (error) {
    // EINVAL: a file is there, and no namespace any more.
    if (error instanceof SysError && (error.code === "ENOENT" || error.code === "EINVAL")) return true;
    throw error;
  }
}

function trackerOf(end: string, limits: Limits): DeltaTracker<LimitEntry> {
  const tracker = new DeltaTracker<LimitEntry>();
  for (const entry of entriesOf(end, limits)) tracker.put(limitKey(entry), entry);
  return tracker;
}

/** Makes a host end's limits so; returns what failed, in words. @throws NetlinkError, SysError */
async function makeSo(end: string, limits: Limits, netns: string | undefined): Promise<string[]> {
  using rtnl = Rtnl.open(netns === undefined ? {} : { netns });
  const wanted = trackerOf(end, limits);
  if (limits.egress) {
    const made = makeIfb(rtnl, end, rtnl.link(ifbOf(end)));
    if (typeof made === "string") return [made];
  }
  const devices = readDevices(rtnl);
  const there = readLimits(rtnl, devices, (key) => wanted.entries.has(key)).filter((object) => object.end === end);
  const { operations, waiting } = planAll(wanted, there, limitOperations, devices);
  const failures = (await applyPlan(rtnl, operations)).filter((one) => !isThereAlready(one));
  const lost = waiting.length > 0 ? [`host end ${end} is not there`] : [];
  return [...lost, ...failures.map(({ error }) => error.message)];
}
