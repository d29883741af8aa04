/**
 * One pass: make the kernel what the desired state says, as far as the kernel lets us. What is known of the kernel goes
 * in and comes out as a value, so a pass has no memory of its own and no idea why it was called.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Logger } from "../../log/index.ts";
import { describeOperation, type Operation, type Rtnl } from "../../netlink/index.ts";
import { familyOf } from "../../addr/index.ts";
import { readActual } from "./plan/actual.ts";
import { applyPlan, operationKey } from "./plan/apply.ts";
import type { Backoff } from "../../reconcile/index.ts";
import type { LinkNetns } from "./device/link-netns.ts";
import { ensureDevice } from "./device/device.ts";
import { type Desired, ownersOf } from "./desired/desired.ts";
import { isDesired } from "./desired/entries.ts";
import { plan } from "./plan/plan.ts";
import { planChanges } from "./plan/plan-changes.ts";
import { type RepairKind, repairsIn } from "./plan/repairs.ts";
import { replaceForeignRoutes } from "./plan/foreign-routes.ts";
import type { Preparation } from "./device/prepare.ts";
import { type DesiredDevice, type DesiredState, sameDevice } from "../../peers/index.ts";

/** What the kernel holds as far as we know. */
export interface Known {
  /** The device as it was desired when it was last made right. */
  device: DesiredDevice;
  ifindex: number;
  /** Desired entries that are not in place. */
  missing: ReadonlySet<string>;
  /** Settings of the device that could not be made. */
  problems: readonly string[];
}

/** What one pass did, for metrics. */
export interface PassReport {
  /** The kernel was dumped. */
  dumped: boolean;
  operations: number;
  failures: number;
  planSeconds: number;
  applySeconds: number;
}

/** What a pass is given. */
export interface PassInput {
  rtnl: Rtnl;
  netns: number | string | undefined;
  /** Where the device is made, when not there. */
  birthplace: LinkNetns | undefined;
  desired: Desired;
  /** What the last pass left. */
  known: Known | undefined;
  /** Whether `known` still holds; a pass that cannot rely on it dumps. */
  trusted: boolean;
  backoff: Backoff;
  logger: Logger;
}

/** What it leaves. */
export interface PassOutcome {
  known: Known;
  /** Whether the kernel is now known to hold `known`; when not, the next pass has to look. */
  trusted: boolean;
  repairs: Map<RepairKind, number>;
  report: PassReport;
}

/** Repairs that are described one by one in the log. */
const TOLD = 5;

/**
 * Runs a pass.
 * @throws DeviceConflict, NetlinkError and others when the device cannot be made or the kernel not be read
 */
export async function runPass(input: PassInput): Promise<PassOutcome> {
  try {
    const outcome = await makeRight(input);
    input.desired.settle();
    return outcome;
  } catch (error) {
    input.desired.putBack();
    throw error;
  }
}

async function makeRight(input: PassInput): Promise<PassOutcome> {
  const { rtnl, desired, known, trusted, backoff, logger } = input;
  const start = performance.now();
  const { state } = desired;
  const { device } = state;
  const wantedBefore = known !== undefined && sameDevice(known.device, device);
  const dumped = !(trusted && wantedBefore);
  const look = dumped || !known ? lookAtDevice(input, wantedBefore) : { ...known, changed: false };
  const { ifindex, problems } = look;
  const on = { ifindex, vni: device.vni, port: device.port };
  const actual =
    dumped || !known ? await readActual(rtnl, on, !known || desired.local.directRouting === "auto") : undefined;
  // From here on up to the plan nothing may wait: what is desired goes on changing.
  const changed = desired.begin();
  const missing = known?.missing ?? new Set<string>();
  const planned = actual ? plan(state, actual) : planChanges(state, changed, on, missing);
  const tried = planned.filter((operation) => backoff.due(operationKey(operation)));
  const plannedAt = performance.now();
  if (actual) await nextTurn();
  const { failures, replaced } = replaceForeignRoutes(rtnl, await applyPlan(rtnl, tried));
  const end = performance.now();
  for (const route of replaced) logger.warn("replaced a route that was not Skylane's", { route });
  // On a device that was made otherwise because that was wanted, everything else is made anew for the same reason.
  const before = !known || (look.changed && !wantedBefore) ? undefined : changed;
  const found = repairsIn(tried, before, missing);
  tell(logger, (index) => (index === ifindex ? device.name : rtnl.link(index)?.name), found);
  return {
    known: { device, ifindex, missing: settle({ desired, planned, tried, failures, backoff, logger }), problems },
    // An address that goes may take routes along; a removal that failed leaves something that nobody remembers.
    trusted:
      !tried.some(({ kind, op }) => kind === "address" && op === "del") &&
      !failures.some(({ operation }) => operation.op === "del"),
    repairs: count(found, look.changed && wantedBefore),
    report: {
      dumped,
      operations: tried.length,
      failures: failures.length,
      planSeconds: (plannedAt - start) / 1000,
      applySeconds: (end - plannedAt) / 1000,
    },
  };
}

function lookAtDevice(input: PassInput, wantedBefore: boolean) {
  const { rtnl, netns, birthplace, logger } = input;
  const desired = input.desired.state;
  const { link, changed, did, problems } = ensureDevice(
    rtnl,
    desired.device,
    preparationOf(desired, netns),
    birthplace,
  );
  if (changed) {
    const [level, what] = wantedBefore
      ? (["warn", "repaired VXLAN device"] as const)
      : (["info", "VXLAN device"] as const);
    logger[level](`${what} ${link.name}: ${did.join("; ")}`);
  }
  return { ifindex: link.index, problems, changed };
}

/** How the device of a state is prepared. */
export const preparationOf = ({ addresses }: DesiredState, netns: PassInput["netns"]): Preparation => ({
  netns,
  ipv6: addresses.keys().some((ip) => familyOf(ip) === 6),
});

function count(found: ReturnType<typeof repairsIn>, device: boolean): Map<RepairKind, number> {
  const repairs = new Map<RepairKind, number>(device ? [["device", 1]] : []);
  for (const { kind } of found.values()) repairs.set(kind, (repairs.get(kind) ?? 0) + 1);
  return repairs;
}

function tell(
  logger: Logger,
  nameOf: (index: number) => string | undefined,
  found: Map<string, { operation: Operation }>,
): void {
  if (found.size === 0) return;
  const first = [...found.values()].slice(0, TOLD).map(({ operation }) => describeOperation(operation, nameOf));
  const more = found.size > TOLD ? ` and ${found.size - TOLD} more` : "";
  logger.warn(`repaired what somebody changed: ${first.join("; ")}${more}`);
}

interface Settling {
  desired: Desired;
  planned: readonly Operation[];
  tried: readonly Operation[];
  failures: readonly { operation: Operation; message: string }[];
  backoff: Backoff;
  logger: Logger;
}

/** Books successes and failures; returns what is still missing. */
function settle({ desired, planned, tried, failures, backoff, logger }: Settling): Set<string> {
  const failed = new Map(failures.map(({ operation, message }) => [operationKey(operation), message]));
  const missing = new Set<string>();
  for (const operation of planned) {
    const key = operationKey(operation);
    if ((failed.has(key) || !backoff.due(key)) && isDesired(desired.state, key)) missing.add(key);
  }
  if (backoff.size > 0)
    for (const operation of tried) if (!failed.has(operationKey(operation))) backoff.clear(operationKey(operation));
  const owners = failed.size > 0 ? ownersOf(desired.local, desired.peers.values()) : undefined;
  for (const [key, message] of failed) {
    if (backoff.failed(key, message))
      logger.warn("the kernel refused an entry; it is tried again", {
        entry: key,
        node: owners?.get(key),
        reason: message,
      });
  }
  return missing;
}
