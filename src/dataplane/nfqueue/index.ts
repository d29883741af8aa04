/** Packets that rules of the packet filter hand to this process, which decides when they go on. */
export { PacketQueue, type PacketQueueOptions, type QueuedPacket } from "./packet-queue.ts";
export { type TcpSegment, tcpSegment } from "./tcp-segment.ts";
export { type UdpPacket, udpPacket } from "./udp-packet.ts";
