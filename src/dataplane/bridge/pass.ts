/**
 * One pass over a bridged network: make the kernel what is desired, as far as it lets us. As in the overlay, what is known
 * goes in and comes out as a value; a trusted pass looks at what changed alone.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Logger } from "../../log/index.ts";
import { type BridgeFdbEntry, describeOperation, type Rtnl } from "../../netlink/index.ts";
import { applyPlan, type LinkNetns } from "../vxlan/index.ts";
import { type Backoff, type Changed } from "../../reconcile/index.ts";
import { type Devices, readBridge } from "./actual.ts";
import type { BridgeDesired } from "./desired.ts";
import { ensureBridge, ensurePorts } from "./device.ts";
import { planBridge } from "./plan.ts";
import { type BridgedNetwork, type BridgeEntry, type BridgeEntryKind, kindOf } from "./types.ts";

/** What the kernel holds as far as we know. */
export interface KnownBridge {
  local: BridgedNetwork;
  devices: Devices;
  /** Desired entries that are not in place. */
  missing: ReadonlySet<string>;
  problems: readonly string[];
}

/** What one pass did. */
export interface BridgePassReport {
  /** The kernel was dumped. */
  dumped: boolean;
  operations: number;
  failures: number;
  /** How long it took, in seconds. */
  seconds: number;
}

export interface BridgePassInput {
  rtnl: Rtnl;
  netns: number | string | undefined;
  birthplace: LinkNetns | undefined;
  desired: BridgeDesired;
  known: KnownBridge | undefined;
  trusted: boolean;
  backoff: Backoff;
  logger: Logger;
}

export interface BridgePassOutcome {
  known: KnownBridge;
  /** Whether the kernel is now known to hold `known`. */
  trusted: boolean;
  /** Entries that somebody had changed, by kind. */
  repairs: Map<BridgeEntryKind | "device", number>;
  /** Addresses seen at locked ports; undefined when nobody looked. */
  locked: readonly BridgeFdbEntry[] | undefined;
  report: BridgePassReport;
}

/** Repairs that are described one by one in the log. */
const TOLD = 5;

/** Runs a pass. @throws DeviceConflict, NetlinkError and others when devices cannot be made or the kernel not be read */
export async function runBridgePass(input: BridgePassInput): Promise<BridgePassOutcome> {
  const { ledger } = input.desired;
  try {
    const outcome = await makeRight(input);
    ledger.settle();
    return outcome;
  } catch (error) {
    ledger.putBack();
    throw error;
  }
}

async function makeRight(input: BridgePassInput): Promise<BridgePassOutcome> {
  const { rtnl, desired, known, trusted, backoff, logger } = input;
  const start = performance.now();
  const wantedBefore = known?.local === desired.local;
  const dumped = !(trusted && known && wantedBefore);
  const looked = dumped ? lookAtDevices(input, wantedBefore) : undefined;
  const actual = looked ? await readBridge(rtnl, looked.devices) : undefined;
  // From here on up to the plan nothing may wait: what is desired goes on changing.
  const changed = desired.ledger.begin();
  const before = known?.missing ?? new Set<string>();
  const keys = actual
    ? new Set([...desired.entries.keys(), ...actual.entries.keys()])
    : new Set([...changed.keys(), ...before]);
  const ports = looked ?? lookAtPorts(rtnl, desired, known as KnownBridge, keys);
  const { devices, refused } = ports;
  const there = actual?.entries ?? assumed(keys, changed, before, desired);
  const { steps, waiting } = planBridge(keys, desired.entries, there, devices);
  const tried = steps.filter(({ key }) => backoff.due(key));
  if (actual) await nextTurn();
  const failures = await applyPlan(
    rtnl,
    tried.map(({ operation }) => operation),
  );
  const failed = new Map(failures.map(({ index, error }) => [tried[index]?.key ?? "", error.message]));
  for (const [ifname, why] of refused) failed.set(`port ${ifname}`, why);
  const wasRight = (key: string) => known !== undefined && wantedBefore && !changed.has(key) && !before.has(key);
  const repaired = tried.filter(({ key }) => wasRight(key));
  tell(logger, desired.local.device, repaired);
  const repairs = new Map<BridgeEntryKind | "device", number>(
    looked?.did.length && wantedBefore ? [["device", 1]] : [],
  );
  const put = [...ports.changed].map((ifname) => `port ${ifname}`).filter(wasRight);
  if (put.length > 0) logger.warn(`repaired what somebody changed: ${put.join(", ")}`);
  for (const key of new Set([...put, ...repaired.map((step) => step.key)])) {
    repairs.set(kindOf(key), (repairs.get(kindOf(key)) ?? 0) + 1);
  }
  const missing = book({ desired, steps, tried, waiting, failed, devices, backoff, logger });
  return {
    known: {
      local: looked ? looked.local : desired.local,
      devices,
      missing,
      problems: looked?.problems ?? known?.problems ?? [],
    },
    trusted: !failures.some(({ operation }) => operation.op === "del"),
    repairs,
    locked: actual?.locked,
    report: {
      dumped,
      operations: tried.length,
      failures: failures.length,
      seconds: (performance.now() - start) / 1000,
    },
  };
}

function lookAtDevices({ rtnl, netns, birthplace, desired, logger }: BridgePassInput, wantedBefore: boolean) {
  const { local } = desired;
  const found = ensureBridge(rtnl, local, desired.ports.keys(), { netns, birthplace });
  if (found.did.length > 0) {
    const what = `${wantedBefore ? "repaired the bridge" : "bridge"} of network ${local.network}: ${found.did.join("; ")}`;
    if (wantedBefore) logger.warn(what);
    else logger.info(what);
  }
  return { ...found, local };
}

/** Looks at the ports among the keys alone. */
function lookAtPorts(rtnl: Rtnl, desired: BridgeDesired, known: KnownBridge, keys: ReadonlySet<string>) {
  const ports = new Map(known.devices.ports);
  const names = [...keys].filter((key) => kindOf(key) === "port").map((key) => key.slice("port ".length));
  for (const ifname of names) ports.delete(ifname);
  const wanted = names.filter((ifname) => desired.ports.has(ifname));
  const found = ensurePorts(rtnl, wanted, (ifname) => rtnl.link(ifname), known.devices.bridge, ports);
  return { devices: { ...known.devices, ports }, ...found };
}

/** What a dump would show of these keys: what was applied last. */
function assumed(
  keys: ReadonlySet<string>,
  changed: Changed<BridgeEntry>,
  missing: ReadonlySet<string>,
  { entries }: BridgeDesired,
): Map<string, BridgeEntry> {
  const there = new Map<string, BridgeEntry>();
  for (const key of keys) {
    const entry = changed.has(key) ? changed.get(key) : entries.get(key);
    if (entry && !missing.has(key)) there.set(key, entry);
  }
  return there;
}

function tell(
  logger: Logger,
  device: string,
  repaired: readonly { operation: Parameters<typeof describeOperation>[0] }[],
): void {
  if (repaired.length === 0) return;
  const first = repaired.slice(0, TOLD).map(({ operation }) => describeOperation(operation, () => device));
  const more = repaired.length > TOLD ? ` and ${repaired.length - TOLD} more` : "";
  logger.warn(`repaired what somebody changed: ${first.join("; ")}${more}`);
}

interface Booking {
  desired: BridgeDesired;
  steps: readonly { key: string }[];
  tried: readonly { key: string }[];
  waiting: readonly string[];
  failed: ReadonlyMap<string, string>;
  devices: Devices;
  backoff: Backoff;
  logger: Logger;
}

/** Books successes and failures; returns what is still missing. */
function book({ desired, steps, tried, waiting, failed, devices, backoff, logger }: Booking): Set<string> {
  const missing = new Set(waiting);
  for (const { key } of steps) {
    if ((failed.has(key) || !backoff.due(key)) && desired.entries.has(key)) missing.add(key);
  }
  for (const ifname of desired.ports.keys()) if (!devices.ports.has(ifname)) missing.add(`port ${ifname}`);
  if (backoff.size > 0) for (const { key } of tried) if (!failed.has(key)) backoff.clear(key);
  for (const [key, reason] of failed) {
    if (backoff.failed(key, reason))
      logger.warn("the kernel refused an entry of a bridge; it is tried again", {
        network: desired.local.network,
        entry: key,
        reason,
      });
  }
  return missing;
}
