/**
 * WireGuard devices as the kernel's generic netlink has them (include/uapi/linux/wireguard.h): a device's key, port and peers are read and set
 * here; the device itself is made by rtnetlink. The family has a number that each boot gives anew, so it is asked for by name
 * (genetlink's controller, include/uapi/linux/genetlink.h).
 *
 * Whoever makes messages of a private key must not print them: errors and descriptions here name devices and public keys alone.
 */
import { readU16, writeU16 } from "netlink/dist/structs.js";
import { bytesToIp, cidrOf, familyOf, ipToBytes, networkAddress } from "../../addr/index.ts";
import { AF_INET, AF_INET6, Flags, NLMSG, Protocol } from "../constants.ts";
import { eachAttribute, ip, need, u16At, u32, u8 } from "../decode/attributes.ts";
import { decodeError } from "../decode/message.ts";
import { MalformedMessage, NetlinkError } from "../errors.ts";
import { Connection } from "../transport/connection.ts";
import { dump, get } from "../transport/dump.ts";
import type { MessageWriter } from "../transport/writer.ts";

/** genetlink's controller: its own number, the question for a family, and the attributes of name and number. */
const CTRL = { ID: 16, GETFAMILY: 3, FAMILY_ID: 1, FAMILY_NAME: 2 } as const;
const FAMILY_NAME = "wireguard";
/** struct genlmsghdr: command, version, two bytes of nothing. */
const GENERIC_HEADER = 4;
const VERSION = 1;

const CMD = { GET_DEVICE: 0, SET_DEVICE: 1 } as const;
const DEVICE = { IFNAME: 2, PRIVATE_KEY: 3, PUBLIC_KEY: 4, LISTEN_PORT: 6, FWMARK: 7, PEERS: 8 } as const;
const PEER = {
  PUBLIC_KEY: 1,
  PRESHARED_KEY: 2,
  FLAGS: 3,
  ENDPOINT: 4,
  KEEPALIVE: 5,
  LAST_HANDSHAKE: 6,
  RX_BYTES: 7,
  TX_BYTES: 8,
  ALLOWED_IPS: 9,
} as const;
const PEER_FLAG = { REMOVE_ME: 1, REPLACE_ALLOWED_IPS: 2, UPDATE_ONLY: 4 } as const;
const ALLOWED_IP = { FAMILY: 1, ADDRESS: 2, PREFIX: 3 } as const;

/** Bytes of a key (RFC 7748, section 5). */
const KEY_BYTES = 32;
const NO_KEY = Buffer.alloc(KEY_BYTES);
/** struct sockaddr_in, struct sockaddr_in6. */
const SOCKADDR = { 4: 16, 6: 28 } as const;
/** Peers in one message: an attribute has 64 KiB, and a peer some 200 bytes. */
const PEERS_AT_ONCE = 64;
const TIMEOUT_MS = 5_000;
const ENOENT = 2;

/** A peer of a device; keys are base64, as all tools of WireGuard have them. */
export interface WireguardPeer {
  publicKey: string;
  endpoint?: { ip: string; port: number };
  /** Canonical prefixes, in no order. */
  allowedIps: readonly string[];
  /** It has a preshared key; which one is not read. */
  preshared?: true;
}

/** A peer as it stands. */
export interface WireguardPeerState extends WireguardPeer {
  /** When it and this device last agreed on keys, in seconds since 1970; absent while they never have. */
  lastHandshake?: number;
  rxBytes: number;
  txBytes: number;
}

/** A device; its private key is not read. */
export interface WireguardDevice {
  /** Absent while it has no key. */
  publicKey?: string;
  listenPort: number;
  fwmark: number;
  peers: WireguardPeerState[];
}

/** What to set of a device itself. */
export interface WireguardSettings {
  /** 32 bytes. */
  privateKey: Uint8Array;
  listenPort: number;
  fwmark: number;
}

/** What to change of a device's peers. */
export type WireguardChange =
  | {
      op: "put";
      peer: Required<Pick<WireguardPeer, "publicKey" | "endpoint" | "allowedIps">>;
    }
  /** Begins a handshake, where the last one is no longer good; one that failed is given up after 90 seconds, and nothing begins another but a packet. */
  | { op: "wake"; publicKey: string }
  | { op: "remove"; publicKey: string };

/** A change that was refused: its place in the list that was given. */
export interface WireguardRefusal {
  index: number;
  error: NetlinkError;
}

const keyBytes = (key: string): Buffer => {
  const bytes = Buffer.from(key, "base64");
  if (bytes.length !== KEY_BYTES)
    throw new RangeError(`a key of WireGuard has ${KEY_BYTES} bytes, not ${bytes.length}`);
  return bytes;
};

function header(w: MessageWriter, command: number): void {
  w.u8(command);
  w.u8(VERSION);
  w.u16(0);
}

const u16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2);
  writeU16.call(bytes, value, 0);
  return bytes;
};

const u64 = (value: Buffer): number => Number(need(value, 8).readBigUInt64LE(0));

/** struct sockaddr_in or sockaddr_in6; the port is in network order, the family in the machine's. */
function sockaddr({ ip: address, port }: { ip: string; port: number }): Buffer {
  const family = familyOf(address);
  const bytes = Buffer.alloc(SOCKADDR[family]);
  writeU16.call(bytes, family === 4 ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(ipToBytes(address), family === 4 ? 4 : 8);
  return bytes;
}

function endpoint(value: Buffer): WireguardPeer["endpoint"] {
  const family = readU16.call(need(value, 4), 0);
  const port = value.readUInt16BE(2);
  if (family === AF_INET) return { ip: bytesToIp(need(value, 8).subarray(4, 8)), port };
  if (family === AF_INET6) return { ip: bytesToIp(need(value, 24).subarray(8, 24)), port };
  throw new MalformedMessage(`an endpoint of family ${family}`);
}

/** The body of the question for a device. */
export function wireguardQuestion(w: MessageWriter, name: string): void {
  header(w, CMD.GET_DEVICE);
  w.attributeString(DEVICE.IFNAME, name);
}

/** The body of a message that sets a device's own key, port and mark. */
export function wireguardSettings(w: MessageWriter, name: string, settings: WireguardSettings): void {
  header(w, CMD.SET_DEVICE);
  w.attributeString(DEVICE.IFNAME, name);
  w.attribute(DEVICE.PRIVATE_KEY, settings.privateKey);
  w.attribute(DEVICE.LISTEN_PORT, u16(settings.listenPort));
  w.attributeU32(DEVICE.FWMARK, settings.fwmark);
}

/**
 * The body of a message that changes peers. A peer that is put is told at once to keep its connection alive, and then no longer: the first of the
 * two has it begin a handshake now (drivers/net/wireguard/netlink.c, set_peer). Where the other node has not known this one yet, its own
 * attempts have failed, and it would try again only after 5 seconds (REKEY_TIMEOUT).
 */
export function wireguardChanges(w: MessageWriter, name: string, changes: readonly WireguardChange[]): void {
  header(w, CMD.SET_DEVICE);
  w.attributeString(DEVICE.IFNAME, name);
  const nested = (type: number, body: () => void): void => w.nest(type, body, true);
  nested(DEVICE.PEERS, () => {
    for (const change of changes) {
      if (change.op === "remove") {
        nested(0, () => {
          w.attribute(PEER.PUBLIC_KEY, keyBytes(change.publicKey));
          w.attributeU32(PEER.FLAGS, PEER_FLAG.REMOVE_ME);
        });
        continue;
      }
      if (change.op === "wake") {
        nested(0, () => keepalive(w, change.publicKey, 1));
        nested(0, () => keepalive(w, change.publicKey, 0));
        continue;
      }
      const { publicKey, endpoint: at, allowedIps } = change.peer;
      nested(0, () => {
        w.attribute(PEER.PUBLIC_KEY, keyBytes(publicKey));
        w.attribute(PEER.PRESHARED_KEY, NO_KEY);
        w.attributeU32(PEER.FLAGS, PEER_FLAG.REPLACE_ALLOWED_IPS);
        w.attribute(PEER.ENDPOINT, sockaddr(at));
        w.attribute(PEER.KEEPALIVE, u16(1));
        nested(PEER.ALLOWED_IPS, () => {
          for (const cidr of allowedIps)
            nested(0, () => {
              w.attribute(ALLOWED_IP.FAMILY, u16(familyOf(cidr) === 4 ? AF_INET : AF_INET6));
              w.attribute(ALLOWED_IP.ADDRESS, ipToBytes(networkAddress(cidr)));
              w.attributeU8(ALLOWED_IP.PREFIX, cidrOf(cidr).prefix);
            });
        });
      });
      nested(0, () => keepalive(w, publicKey, 0));
    }
  });
}

/** Of a peer that is there. */
function keepalive(w: MessageWriter, publicKey: string, seconds: number): void {
  w.attribute(PEER.PUBLIC_KEY, keyBytes(publicKey));
  w.attributeU32(PEER.FLAGS, PEER_FLAG.UPDATE_ONLY);
  w.attribute(PEER.KEEPALIVE, u16(seconds));
}

/** One message of an answer: what of the device stands in it, and some of the peers. @throws MalformedMessage */
export function decodeWireguard(data: Buffer): Partial<WireguardDevice> & Pick<WireguardDevice, "peers"> {
  const found: Partial<WireguardDevice> & Pick<WireguardDevice, "peers"> = { peers: [] };
  eachAttribute(need(data, GENERIC_HEADER), GENERIC_HEADER, (type, value) => {
    switch (type) {
      case DEVICE.PUBLIC_KEY:
        found.publicKey = need(value, KEY_BYTES).toString("base64");
        break;
      case DEVICE.LISTEN_PORT:
        found.listenPort = u16At(value, 0);
        break;
      case DEVICE.FWMARK:
        found.fwmark = u32(value);
        break;
      case DEVICE.PEERS:
        eachAttribute(value, 0, (_, one) => found.peers.push(decodePeer(one)));
        break;
      default:
    }
  });
  return found;
}

function decodePeer(data: Buffer): WireguardPeerState {
  const allowedIps: string[] = [];
  const peer: WireguardPeerState = { publicKey: "", allowedIps, rxBytes: 0, txBytes: 0 };
  eachAttribute(data, 0, (type, value) => {
    switch (type) {
      case PEER.PUBLIC_KEY:
        peer.publicKey = need(value, KEY_BYTES).toString("base64");
        break;
      case PEER.PRESHARED_KEY:
        if (value.some((byte) => byte !== 0)) peer.preshared = true;
        break;
      case PEER.ENDPOINT: {
        const at = endpoint(value);
        if (at) peer.endpoint = at;
        break;
      }
      case PEER.LAST_HANDSHAKE: {
        const seconds = u64(value);
        if (seconds > 0) peer.lastHandshake = seconds;
        break;
      }
      case PEER.RX_BYTES:
        peer.rxBytes = u64(value);
        break;
      case PEER.TX_BYTES:
        peer.txBytes = u64(value);
        break;
      case PEER.ALLOWED_IPS:
        eachAttribute(value, 0, (_, one) => allowedIps.push(decodeAllowedIp(one)));
        break;
      default:
    }
  });
  if (peer.publicKey === "") throw new MalformedMessage("a peer of WireGuard without a key");
  return peer;
}

function decodeAllowedIp(data: Buffer): string {
  let [address, prefix] = ["", 0];
  eachAttribute(data, 0, (type, value) => {
    if (type === ALLOWED_IP.ADDRESS) address = ip(value);
    else if (type === ALLOWED_IP.PREFIX) prefix = u8(value);
  });
  if (address === "") throw new MalformedMessage("an allowed IP without an address");
  return `${address}/${prefix}`;
}

/** Puts the messages of an answer together: a peer with many prefixes goes on in the next one. */
export function joinWireguard(parts: readonly ReturnType<typeof decodeWireguard>[]): WireguardDevice {
  const peers = new Map<string, WireguardPeerState>();
  const device: WireguardDevice = { listenPort: 0, fwmark: 0, peers: [] };
  for (const { peers: some, ...settings } of parts) {
    Object.assign(device, settings);
    for (const peer of some) {
      const before = peers.get(peer.publicKey);
      peers.set(peer.publicKey, before ? { ...before, allowedIps: [...before.allowedIps, ...peer.allowedIps] } : peer);
    }
  }
  return { ...device, peers: [...peers.values()] };
}

/**
 * A conversation about WireGuard devices of one network namespace. Every method is synchronous and may throw NetlinkError, NetlinkTimeout,
 * MalformedMessage and SysError, as those of Rtnl.
 */
export class Wireguard implements Disposable {
  readonly #connection: Connection;
  #family: number | undefined;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** @param netns its namespace, as path or descriptor; the process's own by default. @throws SysError when no socket can be opened */
  static open(netns?: number | string): Wireguard {
    const options = { timeoutMs: TIMEOUT_MS, protocol: Protocol.GENERIC };
    return new Wireguard(Connection.open(netns === undefined ? options : { ...options, netns }));
  }

  /** Whether this kernel knows WireGuard; asking loads its module where there is one. */
  get known(): boolean {
    return this.#number !== undefined;
  }

  /** A device with its peers; undefined where there is none of this name, or it is of another kind. */
  device(name: string): WireguardDevice | undefined {
    const type = this.#number;
    if (type === undefined) return undefined;
    const parts = dump(this.#connection, {
      doing: `reading WireGuard device ${name}`,
      type,
      body: (w) => wireguardQuestion(w, name),
      decode: decodeWireguard,
      none: ["ENODEV", "EOPNOTSUPP"],
    });
    return parts.length === 0 ? undefined : joinWireguard(parts);
  }

  /** Sets a device's own key, port and mark; its peers stay. */
  configure(name: string, settings: WireguardSettings): void {
    this.#set(`setting key and port of WireGuard device ${name}`, (w) => wireguardSettings(w, name, settings));
  }

  /** Changes peers, each for itself: one that is refused does not keep the others. @returns those refused, in order */
  change(name: string, changes: readonly WireguardChange[]): WireguardRefusal[] {
    const refused: WireguardRefusal[] = [];
    for (let from = 0; from < changes.length; from += PEERS_AT_ONCE) {
      const some = changes.slice(from, from + PEERS_AT_ONCE);
      if (this.#try(name, some) === undefined) continue;
      // Where one is refused, those behind it are not looked at.
      for (const [index, one] of some.entries()) {
        const error = this.#try(name, [one]);
        if (error) refused.push({ index: from + index, error });
      }
    }
    return refused;
  }

  /** Closes the socket; a second call does nothing. */
  close(): void {
    this.#connection.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #try(name: string, changes: readonly WireguardChange[]): NetlinkError | undefined {
    const [first] = changes;
    const key = first?.op === "put" ? first.peer.publicKey : first?.publicKey;
    const doing = `changing peers of WireGuard device ${name}${changes.length === 1 ? `: ${key}` : ""}`;
    try {
      this.#set(doing, (w) => wireguardChanges(w, name, changes));
      return undefined;
    } catch (error) {
      if (error instanceof NetlinkError) return error;
      throw error;
    }
  }

  #set(doing: string, body: (w: MessageWriter) => void): void {
    const type = this.#number;
    if (type === undefined) throw new NetlinkError({ errno: ENOENT, doing: `${doing} (this kernel has no WireGuard)` });
    const connection = this.#connection;
    const seq = connection.nextSeq();
    connection.writer.reset();
    connection.writer.message(type, Flags.REQUEST | Flags.ACK, seq, () => body(connection.writer));
    connection.exchange(doing, seq, seq, (message) => {
      if (message.type !== NLMSG.ERROR) return false;
      const { errno, extack } = decodeError(message);
      if (errno !== 0) throw new NetlinkError({ errno, extack, doing });
      return true;
    });
  }

  /** The family's number. It stays as long as the module, so one that is not there is asked for again. */
  get #number(): number | undefined {
    return (this.#family ??= get(this.#connection, {
      doing: "asking for generic netlink's family of WireGuard",
      type: CTRL.ID,
      body: (w) => {
        header(w, CTRL.GETFAMILY);
        w.attributeString(CTRL.FAMILY_NAME, FAMILY_NAME);
      },
      decode: (data) => {
        let number: number | undefined;
        eachAttribute(need(data, GENERIC_HEADER), GENERIC_HEADER, (type, value) => {
          if (type === CTRL.FAMILY_ID) number = u16At(value, 0);
        });
        return number;
      },
      none: ["ENOENT"],
    }));
  }
}
