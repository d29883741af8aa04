/** The entries of an overlay: what the kernel should hold for it besides the device itself. */
import { entryKey } from "../../../reconcile/index.ts";

/** The kinds of entries that are there, as they are shown. */
export const ENTRY_KINDS = ["fdb", "neighbour", "route", "address"] as const;
export type EntryKind = (typeof ENTRY_KINDS)[number];

/** An FDB entry: where frames for a peer's MAC go. */
export interface DesiredFdb {
  kind: "fdb";
  mac: string;
  dst: string;
  vni?: number;
  port?: number;
}

/** A permanent neighbour: the MAC behind a peer's VTEP address. */
export interface DesiredNeighbour {
  kind: "neighbour";
  ip: string;
  mac: string;
}

/** A route to a peer's pods, or to a pod here whose address may as well be a peer's. */
export interface DesiredRoute {
  kind: "route";
  dst: string;
  /** Absent in the route to a VTEP itself, and in that to a pod here. */
  gateway?: string;
  /** Our VTEP address of the family, where we have one: the source of what the host itself sends to pods. */
  prefSrc?: string;
  /** The underlay interface of a direct route, or the host end of a pod here; absent: the route lies on the VXLAN device. */
  ifindex?: number;
  /** The largest packet that the way takes, in bytes, where that is less than the device's MTU. */
  mtu?: number;
}

/** In the place of a route: nothing of ours may lead there, neither to a pod here nor to a peer. */
export interface DesiredVacancy {
  kind: "vacant";
  dst: string;
}

/** A VTEP address of our own. */
export interface DesiredAddress {
  kind: "address";
  ip: string;
}

/** An entry of any kind. */
export type OverlayEntry = DesiredAddress | DesiredFdb | DesiredNeighbour | DesiredRoute | DesiredVacancy;

/** Whether a route leads to a pod here. */
export const leadsToPod = ({ gateway, ifindex }: DesiredRoute): boolean =>
  gateway === undefined && ifindex !== undefined;

/** One name for an entry of any kind, by its key in the kernel: an address, a MAC, a destination. */
export function keyOf(entry: OverlayEntry): string {
  switch (entry.kind) {
    case "fdb":
      return entryKey("fdb", entry.mac);
    case "route":
    case "vacant":
      return entryKey("route", entry.dst);
    default:
      return entryKey(entry.kind, entry.ip);
  }
}
