/**
 * The maps that programs look things up in, and how entries are written:
 *
 * - pods: by a pod's address, behind which device it is, what fits through that, and the MAC of the pod's end.
 * - devices: the host ends that pods are behind. The kernel itself takes an entry out when its device goes (kernel/bpf/devmap.c, dev_map_notification):
 *   so an entry of `pods` counts for as long as its device is there, also while the agent does nothing for a minute.
 * - peers: by prefix, at which underlay address a node is that has it, and the MAC of its VTEP; or the address to which packets go without the tunnel. Behind that programs themselves note the way to that
 *   address, as the kernel has it, for some milliseconds. A hash and not the kernel's map of longest prefixes, which takes three times as long: programs know
 *   of which lengths prefixes are (usually one), and look for each.
 * - alive: until when programs that outlive the agent do anything, as the kernel's monotonic clock has it.
 * - counters: packets by what became of them.
 */
import { addressBits, type Family, familyOf, ipToBytes, macToBytes } from "../../../addr/index.ts";
import type { MapSpec } from "../../bpf/index.ts";
import { COUNTERS } from "./outcomes.ts";

/** Where what is in an entry of `pods`. */
export const POD = { ifindex: 0, mtu: 4, mac: 8, bytes: 16 } as const;
/** The same of `peers`; an IPv4 address takes the first four bytes, `direct` is 1 where there is no tunnel, `mtu` what was measured to pass. From `way` on it is the programs' own. */
export const PEER = { underlay: 0, mac: 16, direct: 22, mtu: 24, way: 32, bytes: 56 } as const;
/** The largest of IP packets, in bytes: that of a peer whose way nobody found to be narrow. */
const LARGEST = 0xffff;
/** The way to a peer: the next hop's MAC and the MTU as one number of eight bytes, so that it is always of one time; our MAC; when the kernel said so. */
export const WAY = { hop: PEER.way, mtu: PEER.way + 6, own: PEER.way + 8, asked: PEER.way + 16 } as const;

const bytesOf = (family: Family): number => addressBits(family) / 8;

/** Maps by the names that programs have for them, without how many entries they have room for. */
const SPECS = {
  pods4: { name: "sky_pods4", type: "hash", key: bytesOf(4), value: POD.bytes },
  pods6: { name: "sky_pods6", type: "hash", key: bytesOf(6), value: POD.bytes },
  peers4: { name: "sky_peers4", type: "hash", key: 4 + bytesOf(4), value: PEER.bytes },
  peers6: { name: "sky_peers6", type: "hash", key: 4 + bytesOf(6), value: PEER.bytes },
  devices: { name: "sky_devices", type: "devices", key: 4, value: 4 },
  alive: { name: "sky_alive", type: "array", key: 4, value: 8 },
  counters: { name: "sky_counters", type: "per-CPU array", key: 4, value: 8 },
} as const satisfies Record<string, Omit<MapSpec, "entries">>;
export type MapName = keyof typeof SPECS;

/** How many entries maps have room for. */
export interface Room {
  /** Addresses of a family, and devices. */
  pods: number;
  /** Prefixes of a family. */
  peers: number;
}

/**
 * Maps have room for a power of this. A map takes memory, and time to read, for each entry that it has room for (kernel/bpf/hashtab.c, htab_map_alloc,
 * __htab_map_lookup_and_delete_batch), and a node may have hundreds of networks with a few pods each.
 */
const STEP = 4;
const LEAST = STEP ** 3;

/** Room for so many entries, and some more. */
export const roomFor = ({ pods, peers }: Room): Room => ({ pods: enough(pods), peers: enough(peers) });

function enough(count: number): number {
  let room = LEAST;
  while (room < count) room *= STEP;
  return room;
}

/** What a map is where there is so much room. */
export function mapSpec(name: MapName, { pods, peers }: Room): MapSpec {
  const room = name === "peers4" || name === "peers6" ? peers : pods;
  return { ...SPECS[name], entries: name === "counters" ? COUNTERS : name === "alive" ? 1 : room };
}

/** How many bytes of a value are the agent's; programs write what is behind them. */
export const OWNED: Readonly<Partial<Record<MapName, number>>> = { peers4: PEER.way, peers6: PEER.way };

/** A pod as programs know it. */
export interface FastPod {
  ip: string;
  ifindex: number;
  mac: string;
  /** What fits through its host end, in bytes. */
  mtu: number;
}

/** A prefix of a peer's as programs know it. */
export interface FastPrefix {
  prefix: string;
  /** Where the node is; the next hop where it is reached without the tunnel. */
  underlayIp: string;
  mac: string;
  direct?: boolean;
  /** Bytes of the largest packet that passes the way there, where that is less than it should be. */
  mtu?: number | undefined;
}

/** An entry, and the map that it is for. */
export interface Entry {
  map: MapName;
  key: Buffer;
  value: Buffer;
}

/** A number as a key. */
export function numberKey(value: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(value);
  return key;
}

/** The entry of a pod. */
export function podEntry({ ip, ifindex, mac, mtu }: FastPod): Entry {
  const value = Buffer.alloc(POD.bytes);
  value.writeUInt32LE(ifindex, POD.ifindex);
  value.writeUInt32LE(mtu, POD.mtu);
  value.set(macToBytes(mac), POD.mac);
  return { map: `pods${familyOf(ip)}`, key: Buffer.from(ipToBytes(ip)), value };
}

/** The entry of a host end. */
export const deviceEntry = (ifindex: number): Entry => ({
  map: "devices",
  key: numberKey(ifindex),
  value: numberKey(ifindex),
});

/** So long after the agent has looked last, programs that outlive it do nothing more, in nanoseconds. */
const ALIVE_NS = 3_000_000_000n;

/** That the agent is there. */
export function aliveEntry(): Entry {
  const value = Buffer.alloc(8);
  value.writeBigUInt64LE(process.hrtime.bigint() + ALIVE_NS);
  return { map: "alive", key: numberKey(0), value };
}

/** The entry of a peer's prefix. */
export function prefixEntry({ prefix, underlayIp, mac, direct = false, mtu = LARGEST }: FastPrefix): Entry {
  const [ip = "", bits] = prefix.split("/");
  const value = Buffer.alloc(PEER.bytes);
  value.set(ipToBytes(underlayIp), PEER.underlay);
  value.set(macToBytes(mac), PEER.mac);
  value[PEER.direct] = Number(direct);
  value.writeUInt16LE(mtu, PEER.mtu);
  return {
    map: `peers${familyOf(ip)}`,
    key: Buffer.concat([numberKey(Number(bits)), ipToBytes(ip)]),
    value,
  };
}
