/**
 * Drift on purpose: takes an entry of ours out of a node's kernel behind the agent's back, as a careless hand would,
 * and measures how long it stays away. A look at the kernel follows every notification from it, so the time is the
 * repair's, not a polling interval's.
 */
import { randomInt } from "node:crypto";
import { CommandError } from "../../src/cli/index.ts";
import { type Link, Monitor, type Operation, POD_LINK_GROUP, ROUTE_PROTOCOL, Rtnl } from "../../src/netlink/index.ts";
import { initOf, type LabContext } from "../cluster/context.ts";
import type { NodeRecord } from "../cluster/records.ts";

/** What can be taken away. */
export const DRIFT_KINDS = ["route", "neighbour", "fdb", "address", "device"] as const;
export type DriftKind = (typeof DRIFT_KINDS)[number];

/** One entry taken away. */
export interface Drift {
  node: string;
  kind: DriftKind;
  /** The entry in words. */
  entry: string;
  /** How long it was away, in milliseconds; absent when it did not come back in time. */
  repairedMs?: number;
}

/** An entry in the kernel: in words that are the same before and after a repair, and how to take it away. */
interface Entry {
  kind: DriftKind;
  text: string;
  remove: Operation;
}

/** Everything of the overlay that is in a node's kernel. */
function overlayEntries(rtnl: Rtnl, device: string): Entry[] {
  const link: Link | undefined = rtnl.link(device);
  if (!link) return [];
  const ifindex = link.index;
  return [
    {
      kind: "device",
      text: `${device} ${link.mac} mtu ${link.mtu} ${link.up ? "up" : "down"}`,
      remove: { op: "del", kind: "link", link: { index: ifindex, name: device } },
    },
    ...rtnl.addresses({ ifindex }).map(
      (address): Entry => ({
        kind: "address",
        text: `${address.ip}/${address.prefix} dev ${device}`,
        remove: { op: "del", kind: "address", address },
      }),
    ),
    ...rtnl.routes({ ifindex, protocol: ROUTE_PROTOCOL }).map(
      (route): Entry => ({
        kind: "route",
        text: `${route.dst} via ${route.gateway} dev ${device}`,
        remove: { op: "del", kind: "route", route },
      }),
    ),
    ...rtnl
      .neighbours({ ifindex })
      .filter(({ mac, state }) => mac !== undefined && ((state ?? 0) & NUD_PERMANENT) !== 0)
      .map(
        (neighbour): Entry => ({
          kind: "neighbour",
          text: `${neighbour.ip} lladdr ${neighbour.mac} dev ${device}`,
          remove: { op: "del", kind: "neighbour", neighbour },
        }),
      ),
    ...rtnl.fdb({ ifindex }).map(
      (fdb): Entry => ({
        kind: "fdb",
        text: `${fdb.mac} dst ${fdb.dst} dev ${device}`,
        remove: { op: "del", kind: "fdb", fdb },
      }),
    ),
  ];
}

/** Routes to the node's own pods, in words: those of IPv4 go along with the overlay's address, which is their source. */
function podRoutes(rtnl: Rtnl): string[] {
  const ends = new Set(rtnl.links().flatMap(({ index, group }) => (group === POD_LINK_GROUP ? [index] : [])));
  const routes = rtnl.routes({ protocol: ROUTE_PROTOCOL }).filter(({ ifindex }) => ends.has(ifindex ?? 0));
  return routes.map(({ dst, ifindex }) => `${dst} dev ${ifindex}`);
}

/** linux/neighbour.h: NUD_PERMANENT; others are the kernel's own, such as those of multicast. */
const NUD_PERMANENT = 0x80;

/** How to choose. */
export interface DriftOptions {
  kind: DriftKind;
  /** Which of several entries, by their number; at random by default. */
  pick?: (count: number) => number;
  /** How long to wait for the repair, in milliseconds (5,000). */
  timeoutMs?: number;
}

/**
 * Takes one entry of a kind away on a node and waits until the kernel is as it was.
 * @throws CommandError when the node has no entry of that kind
 */
export async function drift(lab: LabContext, node: NodeRecord, options: DriftOptions): Promise<Drift> {
  const device = `sky.${lab.record.vni}`;
  const netns = `/proc/${initOf(node)}/ns/net`;
  using rtnl = Rtnl.open({ netns });
  const before = overlayEntries(rtnl, device);
  const candidates = before.filter(({ kind }) => kind === options.kind);
  const chosen = candidates[candidates.length === 0 ? 0 : (options.pick ?? randomInt)(candidates.length)];
  if (!chosen) throw new CommandError(`${node.name} has no ${options.kind} entry on ${device}`);
  const texts = (entries: readonly Entry[]): string[] => [...entries.map(({ text }) => text), ...podRoutes(rtnl)];
  const wanted = texts(before);
  const whole = (): boolean => {
    const present = new Set(texts(overlayEntries(rtnl, device)));
    return wanted.every((text) => present.has(text));
  };
  const drifted: Drift = { node: node.name, kind: options.kind, entry: chosen.text };
  let changed = (): void => undefined;
  const monitor = Monitor.open({
    netns,
    kinds: ["link", "address", "route", "neighbour"],
    onEvents: () => changed(),
    onResync: () => changed(),
  });
  try {
    const repairedMs = await new Promise<number | undefined>((resolve, reject) => {
      const timer = setTimeout(() => resolve(undefined), options.timeoutMs ?? 5000);
      let start = 0;
      changed = () => {
        try {
          if (start === 0 || !whole()) return;
          clearTimeout(timer);
          resolve(performance.now() - start);
        } catch (error) {
          clearTimeout(timer);
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      rtnl.execute(chosen.remove);
      start = performance.now();
    });
    return repairedMs === undefined ? drifted : { ...drifted, repairedMs };
  } finally {
    await monitor.close();
  }
}
