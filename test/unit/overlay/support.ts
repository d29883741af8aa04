/** Values for the overlay's tests: a node of a small cluster by its number, and arbitrary ones. */
import fc from "fast-check";
import { parseCidr, parseIp } from "../../../src/addr/index.ts";
import { type Link, OVERLAY_LINK_GROUP } from "../../../src/netlink/index.ts";
import {
  type Actual,
  Desired,
  type OnDevice,
  type OverlayEntry,
  overlayOperations,
} from "../../../src/dataplane/vxlan/index.ts";
import { type Changed, planAll, planChanges } from "../../../src/reconcile/index.ts";
import type { Granted, LocalNetwork, NodeVtep, Peer } from "../../../src/peers/index.ts";

/** This node, number 0 of the cluster. */
export const local: LocalNetwork = {
  network: "default",
  node: "node0",
  vni: 4096,
  device: "sky.4096",
  port: 4789,
  mtu: 1450,
  mac: "02:00:00:00:00:00",
  underlayIp: "172.30.0.100",
  podCidrs: ["10.244.0.0/24", "fd00:10:244::/64"],
  clusterCidrs: [],
};

/** What entries lie on. */
export const device: OnDevice = { ifindex: 7, vni: local.vni, port: local.port };

/** The desired state of a node with these peers. */
export function desiredState(own: LocalNetwork, peers: readonly Peer[]): Desired {
  const desired = new Desired(own);
  desired.change(peers.map((one) => [one.node, one]));
  return desired;
}

/** The entries of a kind, by what they are called in the kernel. */
export const entriesOf = <K extends OverlayEntry["kind"]>({ entries }: Desired, kind: K) =>
  new Map(
    entries.values().flatMap((entry) => {
      const id = "dst" in entry && entry.kind !== "fdb" ? entry.dst : entry.kind === "fdb" ? entry.mac : entry.ip;
      return entry.kind === kind ? [[id, entry as Extract<OverlayEntry, { kind: K }>] as const] : [];
    }),
  );

/** What turns what there is into what is desired. */
export const plan = (desired: Desired, actual: Iterable<Actual> = []) =>
  planAll(desired.tracker, actual, overlayOperations, device).operations;

/** The same of what has changed since it was last right. */
export const planOfChanges = (desired: Desired, changed: Changed<OverlayEntry>, missing: ReadonlySet<string>) =>
  planChanges(desired.tracker, changed, missing, overlayOperations, device).operations;

/** What a dump shows once these entries have been applied, but for those in `without`. */
export const applied = (
  entries: ReadonlyMap<string, OverlayEntry>,
  without: ReadonlySet<string> = new Set(),
): Actual[] =>
  [...entries].flatMap(([key, entry]) => (without.has(key) ? [] : [overlayOperations.applied(entry, device)]));

/** This node's device as the kernel shows it when all is well. */
export const ownDevice: Link = {
  index: 9,
  name: "sky.4096",
  kind: "vxlan",
  mac: local.mac,
  mtu: local.mtu,
  up: true,
  lowerUp: true,
  loopback: false,
  alias: "skylane network default",
  group: OVERLAY_LINK_GROUP,
  vxlan: { vni: 4096, port: 4789, local: local.underlayIp, learning: false },
};

/** Another node by its number. */
export const peer = (n: number): Peer => ({
  node: `node${n}`,
  mac: `02:00:00:00:00:${n.toString(16).padStart(2, "0")}`,
  underlayIp: `172.30.0.${100 + n}`,
  podCidrs: [`10.244.${n}.0/24`, `fd00:10:244:${n.toString(16)}::/64`],
});

/**
 * Its Node object, older for lower numbers; parts of its annotation can be other than they should. What the API server says of it is
 * what it says itself, unless given.
 */
export function nodeOf(
  n: number,
  other: Partial<Record<string, unknown>> = {},
  granted: Partial<Granted> = {},
): NodeVtep & { granted: Granted } {
  const { node, mac, underlayIp, podCidrs } = peer(n);
  const entry = { vni: local.vni, mac, ips: [underlayIp], podCidrs, port: local.port, ...other };
  const list = (value: unknown): string[] => (Array.isArray(value) ? value.map((one) => canonical(String(one))) : []);
  return {
    name: node,
    creationTimestamp: createdAt(n),
    vtepAnnotation: JSON.stringify({ default: entry }),
    granted: { podCidrs: list(entry.podCidrs), addresses: list(entry.ips), heard: true, ...granted },
  };
}

function canonical(text: string): string {
  try {
    return text.includes("/") ? parseCidr(text) : parseIp(text);
  } catch {
    return text;
  }
}

export const createdAt = (n: number): string => new Date(Date.UTC(2026, 0, 1, 0, n)).toISOString();

/** Peers that do not conflict, each with its own values in some places. */
export const anyPeers: fc.Arbitrary<Peer[]> = fc
  .uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 6 })
  .chain((numbers) =>
    fc.tuple(
      ...numbers.map((n) =>
        fc.record({ moved: fc.boolean(), otherMac: fc.boolean(), otherVni: fc.boolean(), one: fc.boolean() }).map(
          ({ moved, otherMac, otherVni, one }): Peer => ({
            ...peer(n),
            ...(moved && { underlayIp: `172.30.1.${n}` }),
            ...(otherMac && { mac: `02:00:00:00:01:0${n}` }),
            ...(otherVni && { vni: 5000, port: 8472 }),
            ...(one && { podCidrs: peer(n).podCidrs.slice(0, 1) }),
          }),
        ),
      ),
    ),
  );
