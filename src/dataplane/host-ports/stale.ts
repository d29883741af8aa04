/**
 * Connections that were there before a mapping, or are there after it. The kernel decides with the first packet of a connection where its packets
 * go, and one of UDP lasts as long as somebody sends: a client that goes on sending to a node's port would never reach the new pod, or
 * would go on reaching the address of the old one, whoever has it next. Those connections are ended: the next packet begins another.
 */
import { FAMILIES, familyOf } from "../../addr/index.ts";
import { Rtnl } from "../../netlink/index.ts";
import { type Connection, Conntrack, type HeldConnection } from "../conntrack/index.ts";
import { familiesOf, isForAll, type PortMapping, PROTOCOLS } from "./mapping.ts";
import type { Mapped } from "./records.ts";

/** Whether a connection was made to a mapping's port, with an address of its family. */
const isTo = ({ protocol, original }: Connection, mapping: PortMapping): boolean =>
  protocol === PROTOCOLS[mapping.protocol] &&
  original.destinationPort === mapping.hostPort &&
  familiesOf(mapping).includes(familyOf(original.destination)) &&
  (isForAll(mapping) || mapping.hostIp === original.destination);

/**
 * Ends connections to a pod's new host ports that do not lead to it. Of TCP there is nothing to end: a client that is refused begins again.
 * @param netns path or descriptor of the network namespace; the process's own by default @throws SysError, NetlinkError
 */
export async function endFormer({ ips, ports }: Mapped, netns?: number | string): Promise<void> {
  const asked = ports.filter(({ protocol }) => protocol !== "tcp");
  if (asked.length === 0) return;
  using conntrack = Conntrack.open(netns);
  const found: HeldConnection[] = [];
  const [first, ...more] = asked as [PortMapping, ...PortMapping[]];
  // One port is looked for by the kernel, many of them are by us.
  const port = more.length === 0 ? { protocol: PROTOCOLS[first.protocol], port: first.hostPort } : undefined;
  for (const family of FAMILIES.filter((one) => ips.some((ip) => familyOf(ip) === one)))
    found.push(
      ...(await conntrack.select(
        (connection) => !ips.includes(connection.reply.source) && asked.some((mapping) => isTo(connection, mapping)),
        { family, ...(port && { destination: port }) },
      )),
    );
  if (found.length === 0) return;
  // What goes through this node to the same port of another machine is nobody's business here.
  using rtnl = Rtnl.open(netns === undefined ? {} : { netns });
  const local = new Set(rtnl.addresses().map(({ ip }) => ip));
  for (const connection of found)
    if (local.has(connection.original.destination) || connection.original.destination.startsWith("127."))
      conntrack.delete(connection);
}

/** Ends all connections to a pod by host ports that are no longer its. @throws SysError */
export async function endLeft(records: readonly Mapped[], netns?: number | string): Promise<void> {
  const [record] = records;
  if (!record) return;
  const ports = records.flatMap((one) => one.ports);
  using conntrack = Conntrack.open(netns);
  for (const ip of record.ips) {
    const isOurs = (connection: Connection): boolean =>
      connection.reply.source === ip &&
      connection.original.destination !== ip &&
      ports.some((mapping) => isTo(connection, mapping));
    for (const connection of await conntrack.select(isOurs, { family: familyOf(ip), answering: ip }))
      conntrack.delete(connection);
  }
}
