/**
 * What a node sends to its link when an address has come to it: neighbours that know it at another MAC send to the right one from then on.
 * For IPv4 an ARP announcement (RFC 5227, section 3), for IPv6 an unsolicited neighbour advertisement (RFC 4861, section 7.2.6).
 */
import { familyOf, ipToBytes, macToBytes } from "../../addr/index.ts";
import { checksum } from "../../sys/index.ts";

const BROADCAST = "ff:ff:ff:ff:ff:ff";
/** ff02::1, and its Ethernet address (RFC 2464, section 7). */
const ALL_NODES = { ip: "ff02::1", mac: "33:33:00:00:00:01" } as const;
const ICMPV6 = 58;
const ADVERTISEMENT = 136;
/** It overrides what is known (O), and is a router (R). */
const FLAGS = 0xa000_0000;
/** Type of the option that has the sender's MAC, and its length in units of 8 bytes. */
const TARGET_MAC = [2, 1] as const;

const ethernet = (destination: string, source: string, type: number): Buffer =>
  Buffer.concat([macToBytes(destination), macToBytes(source), Uint8Array.of(type >> 8, type & 0xff)]);

/** The frame that announces an address at a MAC. */
export const announcementOf = (ip: string, mac: string): Buffer => (familyOf(ip) === 4 ? arp(ip, mac) : nd(ip, mac));

function arp(ip: string, mac: string): Buffer {
  const address = ipToBytes(ip);
  // Ethernet, IPv4, their lengths, and a request: it is asked for what it has itself.
  const head = Uint8Array.of(0, 1, 0x08, 0, 6, 4, 0, 1);
  return Buffer.concat([ethernet(BROADCAST, mac, 0x0806), head, macToBytes(mac), address, new Uint8Array(6), address]);
}

function nd(ip: string, mac: string): Buffer {
  const [source, destination] = [ipToBytes(ip), ipToBytes(ALL_NODES.ip)];
  const message = Buffer.alloc(32);
  message[0] = ADVERTISEMENT;
  message.writeUInt32BE(FLAGS, 4);
  message.set(source, 8);
  message.set(TARGET_MAC, 24);
  message.set(macToBytes(mac), 26);
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(message.length, 0);
  pseudo[7] = ICMPV6;
  message.writeUInt16BE(checksum(Buffer.concat([source, destination, pseudo, message])), 2);
  const header = Buffer.alloc(8);
  header[0] = 0x60;
  header.writeUInt16BE(message.length, 4);
  header[6] = ICMPV6;
  // A receiver takes no other (RFC 4861, section 7.1.2).
  header[7] = 255;
  return Buffer.concat([ethernet(ALL_NODES.mac, mac, 0x86dd), header, source, destination, message]);
}
