/**
 * A program for pods of a test: it answers on ports of TCP, UDP and SCTP, and asks others when its input tells it to, a line of JSON each. SCTP is spoken
 * by hand, a first packet (INIT) and its answer, since not every kernel that forwards SCTP has it itself.
 *
 *     node speaker.ts '{"tcp":[80],"udp":[53],"sctp":[9003]}'
 */
import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";
import { bytesToIp, ipToBytes } from "../../../../src/addr/index.ts";
import { libc } from "../../../../src/sys/libc.ts";
import { watchArrivals } from "../../../../src/sys/sockets/arrivals.ts";

export type Protocol = "tcp" | "udp" | "sctp";

/** A question, answered by a line with its number and whether there was an answer before "end" came, which ends all. */
export interface Question {
  id: number;
  protocol: Protocol;
  ip: string;
  port: number;
}

type Settle = (answered: boolean) => void;

const [wanted = "{}"] = process.argv.slice(2);
const ports = JSON.parse(wanted) as Record<Protocol, number[]>;
const isV6 = (ip: string): boolean => ip.includes(":");

function askTcp({ ip, port }: Question, settle: Settle): () => void {
  const socket = connect({ host: ip, port });
  socket.on("error", () => settle(false));
  socket.on("connect", () => socket.write("?"));
  socket.on("data", () => settle(true));
  return () => socket.destroy();
}

function askUdp({ ip, port }: Question, settle: Settle): () => void {
  const socket = createSocket(isV6(ip) ? "udp6" : "udp4");
  socket.on("error", () => settle(false));
  socket.on("message", () => settle(true));
  socket.send("?", port, ip);
  return () => socket.close();
}

const SCTP = 132;
const INIT = 1;
const INIT_ACK = 2;
const HEADER = 12;
/** Of INIT and INIT ACK: chunk header, tag, window, streams, first number. */
const CHUNK = 20;
const TAG = 1;

/** CRC32c (RFC 9260, appendix A). */
function crc32c(bytes: Buffer): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f6_3b78 : crc >>> 1;
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}

function sctpPacket(type: number, from: number, to: number): Buffer {
  const bytes = Buffer.alloc(HEADER + CHUNK);
  bytes.writeUInt16BE(from, 0);
  bytes.writeUInt16BE(to, 2);
  bytes.writeUInt32BE(type === INIT ? 0 : TAG, 4);
  bytes[HEADER] = type;
  bytes.writeUInt16BE(CHUNK, HEADER + 2);
  bytes.writeUInt32BE(TAG, HEADER + 4);
  bytes.writeUInt32BE(0xffff, HEADER + 8);
  bytes.writeUInt16BE(1, HEADER + 12);
  bytes.writeUInt16BE(1, HEADER + 14);
  bytes.writeUInt32LE(crc32c(bytes), 8);
  return bytes;
}

/** Raw sockets for SCTP, one a family. */
const DOMAIN = { 4: 2, 6: 10 } as const;
const SOCK_RAW = 3;
const raw = { 4: 0, 6: 0 };
const asked = new Map<number, Settle>();
let nextPort = 20_000;

function sendRaw(ip: string, packet: Buffer): void {
  const address = Buffer.alloc(isV6(ip) ? 28 : 16);
  address.writeUInt16LE(DOMAIN[isV6(ip) ? 6 : 4], 0);
  address.set(ipToBytes(ip), isV6(ip) ? 8 : 4);
  libc().call.sendto(raw[isV6(ip) ? 6 : 4], packet, BigInt(packet.length), 0, address, address.length);
}

function askSctp({ ip, port }: Question, settle: Settle): () => void {
  const from = nextPort++;
  asked.set(from, settle);
  sendRaw(ip, sctpPacket(INIT, from, port));
  return () => asked.delete(from);
}

const MSG_DONTWAIT = 0x40;

function hearSctp(family: 4 | 6): void {
  const { call } = libc();
  const socket = (raw[family] = call.socket(DOMAIN[family], SOCK_RAW, SCTP));
  if (socket < 0) throw new Error("a raw socket cannot be opened");
  const buffer = Buffer.alloc(2048);
  const address = Buffer.alloc(28);
  const length = Buffer.alloc(4);
  watchArrivals(socket, () => {
    for (;;) {
      length.writeUInt32LE(address.length);
      const size = Number(call.recvfrom(socket, buffer, BigInt(buffer.length), MSG_DONTWAIT, address, length));
      if (size < 0) return;
      const from = bytesToIp(address.subarray(family === 4 ? 4 : 8, family === 4 ? 8 : 24));
      // IPv4 hands its header over as well.
      heardSctp(buffer.subarray(family === 4 ? ((buffer[0] as number) & 0xf) * 4 : 0, size), from);
    }
  });
}

function heardSctp(packet: Buffer, from: string): void {
  if (packet.length < HEADER + CHUNK) return;
  const [source, destination] = [packet.readUInt16BE(0), packet.readUInt16BE(2)];
  if (packet[HEADER] === INIT_ACK) asked.get(destination)?.(true);
  else if (packet[HEADER] === INIT && ports.sctp.includes(destination))
    sendRaw(from, sctpPacket(INIT_ACK, destination, source));
}

const ASK = { tcp: askTcp, udp: askUdp, sctp: askSctp } as const;

/** Questions without an answer yet. */
const open = new Set<Settle>();

function ask(question: Question): void {
  const settle: Settle = (answered) => {
    if (!open.delete(settle)) return;
    // Not before there is something to be ended.
    setImmediate(() => end());
    console.log(JSON.stringify({ id: question.id, answered }));
  };
  open.add(settle);
  const end = ASK[question.protocol](question, settle);
}

const listening = [
  ...ports.tcp.map((port) => {
    const server = createServer((socket) => socket.on("error", () => undefined).pipe(socket));
    return new Promise<void>((resolve) => server.listen(port, "::", resolve));
  }),
  ...ports.udp.map((port) => {
    const socket = createSocket("udp6");
    socket.on("message", (message, { address, port: to }) => socket.send(message, to, address));
    return new Promise<void>((resolve) => socket.bind(port, "::", resolve));
  }),
];
hearSctp(4);
hearSctp(6);
await Promise.all(listening);
createInterface({ input: process.stdin }).on("line", (line) => {
  if (line !== "end") return ask(JSON.parse(line) as Question);
  for (const settle of open) settle(false);
});
console.log("ready");
