/** Packets that rules of the packet filter log. */
export { type LoggedPacket, PacketLog, type PacketLogOptions } from "./packet-log.ts";
