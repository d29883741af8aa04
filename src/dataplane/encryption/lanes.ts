/**
 * Lanes: the ways between two nodes that change their keys. A device of WireGuard has one key, and one peer for an address; so that a node can be
 * reached by the key that it has and by the one that it goes over to, each has two slots for keys, and there is a device for each pair of a slot here
 * and a slot there, as long as somebody uses it. All lanes of a pair receive all the time; each node sends by the best one of which it has seen a
 * handshake itself. So it never sends by one that the other node does not have yet.
 */
import type { WireguardIdentity } from "../../peers/index.ts";

/** The place of a key. */
export type Slot = 0 | 1;
/** Twice the slot here, and the slot there. */
export type Lane = 0 | 1 | 2 | 3;

/** All that there can be. */
export const LANES: readonly Lane[] = [0, 1, 2, 3];

/** The device of a lane. */
export const DEVICES: Readonly<Record<Lane, string>> = {
  0: "skylane-wg",
  1: "skylane-wg01",
  2: "skylane-wg10",
  3: "skylane-wg11",
};

/** The lane that a device is of. */
export const laneOfDevice = (name: string): Lane | undefined => LANES.find((lane) => DEVICES[lane] === name);

export const otherSlot = (slot: Slot): Slot => (slot === 0 ? 1 : 0);
/** @param here the slot of this node's key. @param there that of the other node's */
export const laneOf = (here: Slot, there: Slot): Lane => (2 * here + there) as Lane;
/** The slot of this node's key. */
export const slotHere = (lane: Lane): Slot => (lane < 2 ? 0 : 1);

/** This node's keys, as far as others may know them. */
export interface OwnKeys {
  slot: Slot;
  /** Public halves: of the key that it has, and of the one that it goes over to, in the other slot. */
  key: string;
  next?: string;
}

/** A lane to another node: its key there, and the port of its device. */
export interface PeerLane {
  lane: Lane;
  key: string;
  port: number;
}

/**
 * The lanes to a node, better ones behind: the key that it goes over to counts for more than that of this node, so that each node sees of the other's
 * packets whether its own old key is still used. There are at most two while this node has one key, whatever the other one says, and none to one that
 * publishes a key of this node.
 */
export function lanesOf(own: OwnKeys, { key, port, slot, next }: WireguardIdentity): PeerLane[] {
  const isOwn = (one: string): boolean => one === own.key || one === own.next;
  if (isOwn(key)) return [];
  // It has one device, and knows the key alone that this node has.
  if (slot === undefined) return [{ lane: laneOf(own.slot, 0), key, port }];
  const first = port - 2 * slot;
  const here: Slot[] = own.next === undefined ? [own.slot] : [own.slot, otherSlot(own.slot)];
  const there = [{ key, slot }, ...(next === undefined || isOwn(next) ? [] : [{ key: next, slot: otherSlot(slot) }])];
  return there.flatMap((its) =>
    here.map((mine) => ({ lane: laneOf(mine, its.slot), key: its.key, port: first + laneOf(its.slot, mine) })),
  );
}

/**
 * The lane to send by: the best one with a handshake, or that by which was sent, or the first one.
 * @param agreed whether there was a handshake
 */
export function bestLane(
  lanes: readonly PeerLane[],
  agreed: (lane: PeerLane) => boolean,
  before?: Lane,
): PeerLane | undefined {
  return lanes.findLast(agreed) ?? lanes.find(({ lane }) => lane === before) ?? lanes[0];
}
