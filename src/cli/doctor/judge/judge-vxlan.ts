/** Who else has the UDP port of VXLAN: devices here, devices made here that are in other namespaces, and sockets. */
import type { Link } from "../../../netlink/index.ts";
import { deviceAlias, isOverlayDevice } from "../../../dataplane/vxlan/index.ts";
import { type Facts, networkOf, type UdpHolder, type VxlanElsewhere } from "../facts.ts";
import { fail, type Finding, ok, some, warn } from "../finding.ts";

const NAME = "port.vxlan";
/** What the alias of each of our own devices begins with. */
const OURS = deviceAlias("");
/** Kinds of devices that have a UDP socket of the kernel's and say nowhere that Skylane reads which port it has. */
const TUNNELS = new Set(["geneve", "wireguard", "bareudp", "gtp"]);

/** Somebody else's device on our port, wherever it is. */
interface Other {
  name: string;
  vni: number;
  /** As an operator finds it: "vx0 in namespace /run/netns/a". */
  text: string;
  remove: string;
}

const here = ({ name, vxlan }: Link): Other => ({
  name,
  vni: vxlan?.vni ?? 0,
  text: name,
  remove: `ip link delete ${name}`,
});

const there = ({ name, vni, netns }: VxlanElsewhere): Other => ({
  name,
  vni,
  text: `${name} in the network namespace ${netns}${netns.includes("docker") ? " (Docker Swarm)" : ""}`,
  remove: `nsenter --net=${netns} ip link delete ${name}`,
});

/** All about the port. */
export function judgeVxlanPort(facts: Facts): Finding {
  const { links, udpHolders, settings, vxlanElsewhere } = facts;
  const network = networkOf(facts);
  const port = network?.port ?? settings.port;
  // The default network's: those of the others are in namespaces of their own.
  const ours = links.find((link) => (network ? link.name === network.device : isOverlayDevice(link)));
  const vni = network?.vni ?? (settings.vni === "auto" ? ours?.vxlan?.vni : settings.vni);
  const others = [
    ...links.filter((link) => link !== ours && link.vxlan?.port === port).map(here),
    ...vxlanElsewhere.filter(({ alias = "" }) => !alias.startsWith(OURS)).map(there),
  ];
  const twin = others.find((other) => other.vni === vni);
  if (twin)
    return fail(
      NAME,
      `${twin.text} is a VXLAN device with our VNI ${vni} and our UDP port ${port}`,
      "The kernel allows one device for a VNI and port: ours cannot be made, or its packets go to the other.",
      `Remove it if it is a leftover (${twin.remove}), or give Skylane another vni or port, the same on all nodes.`,
    );
  if (udpHolders.length > 0 && !ours?.up) return taken(port, udpHolders, others, links);
  if (others.length > 0)
    return warn(
      NAME,
      `${some(others.map(({ text, vni: theirs }) => `${text} (VNI ${theirs})`))} uses UDP port ${port} too`,
      "Both work, since their VNIs differ; but firewall rules for the one then hold for the other.",
      "Remove it if it is a leftover of another CNI plugin.",
    );
  return ok(NAME, ours ? `UDP port ${port} is ${ours.name}'s` : `UDP port ${port} is free`);
}

/** Our device does not receive, and the port has sockets. */
function taken(port: number, holders: readonly UdpHolder[], others: readonly Other[], links: readonly Link[]): Finding {
  const meaning = "The VXLAN device cannot receive: it does not come up.";
  const process = holders.find((holder) => holder.process !== undefined)?.process;
  if (process !== undefined)
    return fail(
      NAME,
      `UDP port ${port} is taken by ${process}`,
      meaning,
      `End what has it (ss -ulnp 'sport = :${port}'), or set another port, the same on all nodes.`,
    );
  if (others.length > 0)
    return fail(
      NAME,
      `UDP port ${port} is taken by the kernel's socket of ${some(others.map(({ text, vni }) => `${text} (VNI ${vni})`))}`,
      "Devices with other settings of VXLAN (metadata of Open vSwitch or Cilium, checksums, GBP) do not share a socket: ours does not come up.",
      `Remove it if it is a leftover (${others[0]?.remove}), or set another port, the same on all nodes.`,
    );
  const tunnels = links.filter(({ kind = "" }) => TUNNELS.has(kind)).map(({ name, kind }) => `${name} (${kind})`);
  const candidates =
    tunnels.length > 0
      ? `${some(tunnels)} may be what has it`
      : "a tunnel in a network namespace that cannot be seen from here may be what has it";
  return fail(
    NAME,
    `UDP port ${port} is taken by a socket that no visible process has open, so by one of the kernel's, or one beyond this container: ${candidates}`,
    meaning,
    "On the host itself (not in a container) skylanectl doctor looks into all network namespaces. Remove the device, or set another port, the same on all nodes.",
  );
}
