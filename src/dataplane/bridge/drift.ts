/** Whether a notification speaks against what we believe, as in the overlay: the echo of our own work does not. */
import type { BridgePort, Link, NetlinkEvent, PortSettings } from "../../netlink/index.ts";
import { doubtAbout, entryKey, WHOLE } from "../../reconcile/index.ts";
import { POD_PORT } from "../pod-link/index.ts";
import { bridgeFdbEntry, type Devices, fdbEntry, neighbourEntry } from "./actual.ts";
import type { BridgeDesired } from "./desired.ts";
import { planBridgeDevice, planPort, tunnelPort } from "./device.ts";
import { bridgeOperations } from "./operations.ts";
import { BRIDGE_NAME, type BridgeEntry, portKey } from "./types.ts";

/** What a notification casts doubt on: an entry's key, or {@link WHOLE}; undefined when it says nothing new. */
export function doubtOf(desired: BridgeDesired, devices: Devices | undefined, event: NetlinkEvent): string | undefined {
  const gone = event.event === "del";
  const entryDoubt = (there: BridgeEntry, on: Devices) =>
    doubtAbout(desired.tracker, there, gone, bridgeOperations, on);
  switch (event.kind) {
    case "link":
      return linkDoubt(desired, devices, event.link, gone);
    case "bridgePort":
      return devices && portDoubt(desired, devices, event.bridgePort, gone);
    case "fdb":
      if (event.fdb.ifindex !== devices?.vxlan) return undefined;
      return entryDoubt(fdbEntry(event.fdb, devices), devices);
    case "bridgeFdb": {
      if (!devices || event.bridgeFdb.master !== devices.bridge) return undefined;
      const found = bridgeFdbEntry(event.bridgeFdb, nameOf(devices, event.bridgeFdb.ifindex));
      return found && entryDoubt(found, devices);
    }
    case "neighbour": {
      if (event.neighbour.ifindex !== devices?.bridge) return undefined;
      const found = neighbourEntry(event.neighbour);
      if (found) return entryDoubt(found, devices);
      // An entry of ours that is no longer permanent.
      const key = entryKey("neighbour", event.neighbour.ip);
      return desired.entries.has(key) ? key : undefined;
    }
    default:
      return undefined;
  }
}

/** Name of a port by its index. */
export function nameOf({ ports }: Devices, ifindex: number): string | undefined {
  for (const [name, index] of ports) if (index === ifindex) return name;
  return undefined;
}

function linkDoubt(
  { local, ports, entries }: BridgeDesired,
  devices: Devices | undefined,
  link: Link,
  gone: boolean,
): string | undefined {
  const { index, name } = link;
  if (index === devices?.bridge || name === BRIDGE_NAME) {
    return gone || !devices || index !== devices.bridge || planBridgeDevice(link, local).length > 0 ? WHOLE : undefined;
  }
  if (index === devices?.vxlan || name === local.device) {
    const right =
      !gone &&
      devices &&
      index === devices.vxlan &&
      name === local.device &&
      isTunnel(link, local) &&
      planPort(link, devices.bridge, tunnelPort(local)).length === 0;
    return right ? undefined : WHOLE;
  }
  const known = devices && nameOf(devices, index);
  if (known === undefined && !ports.has(name)) return undefined;
  const key = portKey(known ?? name);
  if (gone) return entries.has(key) ? key : undefined;
  const right = known === name && devices && planPort(link, devices.bridge, POD_PORT).length === 0;
  return right || !entries.has(key) ? undefined : key;
}

const isTunnel = ({ mac, mtu, vxlan }: Link, local: BridgeDesired["local"]): boolean =>
  mac === local.mac &&
  mtu === local.mtu &&
  vxlan?.vni === local.vni &&
  vxlan.port === local.port &&
  vxlan.local === local.underlayIp &&
  !vxlan.learning;

function portDoubt(
  { local, ports }: BridgeDesired,
  devices: Devices,
  { ifindex, port }: { ifindex: number; port?: BridgePort },
  gone: boolean,
): string | undefined {
  const name = nameOf(devices, ifindex);
  const isTunnelPort = ifindex === devices.vxlan;
  if (name === undefined || !(isTunnelPort || ports.has(name))) return undefined;
  const wanted = isTunnelPort ? tunnelPort(local) : POD_PORT;
  const keys = Object.keys(wanted) as (keyof PortSettings)[];
  const right =
    !gone &&
    port &&
    port.forwarding !== false &&
    keys.every((key) => port[key] === undefined || port[key] === wanted[key]);
  return right ? undefined : isTunnelPort ? WHOLE : portKey(name);
}
