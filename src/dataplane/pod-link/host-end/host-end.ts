/**
 * What a pod's host end must be as a device, in one description: ADD makes it so, CHECK says what is not, and the agent's
 * repair puts it right. Addresses and routes are in plan.ts.
 */
import { type Family } from "../../../addr/index.ts";
import { type Link, type LinkChange, POD_LINK_GROUP } from "../../../netlink/index.ts";
import { readSysctl, writeSysctlIfAny } from "../../../sys/index.ts";
import { HOST_MAC } from "../names.ts";

/** What it depends on. */
export interface HostEnd {
  name: string;
  /** Families of which the pod has an address. */
  families: ReadonlySet<Family>;
  /** It is a port of a bridge, which sees to what ports are. */
  bridged: boolean;
  /** In bytes; undefined where nobody has written it down. */
  mtu?: number | undefined;
}

/** One thing that is not as it must be. */
export interface HostEndFault {
  /** After "host interface X": "is down". */
  words: string;
  change: Omit<LinkChange, "index">;
}

/** How the pair is born, as far as it is the host end. */
export const HOST_END = { mac: HOST_MAC, group: POD_LINK_GROUP } as const;

/** What of a device is not as it must be. Pure. */
export function hostEndFaults(link: Link, { name, bridged, mtu }: HostEnd): HostEndFault[] {
  const faults: HostEndFault[] = [];
  const wrong = (is: boolean, words: string, change: Omit<LinkChange, "index">): void => {
    if (is) faults.push({ words, change });
  };
  wrong(link.name !== name, `is called ${link.name}`, { name });
  wrong(link.mac !== HOST_MAC, `has MAC address ${link.mac ?? "none"}, expected ${HOST_MAC}`, { mac: HOST_MAC });
  wrong(mtu !== undefined && link.mtu !== mtu, `has MTU ${link.mtu}, expected ${mtu}`, { mtu: mtu ?? link.mtu });
  wrong(link.group !== POD_LINK_GROUP, `is in link group ${link.group}, expected ${POD_LINK_GROUP}`, {
    group: POD_LINK_GROUP,
  });
  wrong(link.noArp === true, "does not ask for neighbours (NOARP)", { arp: true });
  wrong(link.noMulticast === true, "has multicast switched off", { multicast: true });
  if (bridged) return faults; // its bridge's reconciler sees to the rest
  wrong(link.master !== undefined && link.master !== 0, "is a port of another device", { master: 0 });
  wrong(!link.up, "is down", { up: true });
  return faults;
}

/** A kernel parameter of a host end. */
export interface HostEndSetting {
  key: string;
  value: string;
  /** What another value means. */
  meaning: string;
  /** Other values that do no harm. */
  fine?: readonly string[];
}

/** The kernel parameters that a host end must have, in the order in which they are set. */
export function hostEndSettings({ name, families, bridged, mtu }: HostEnd): HostEndSetting[] {
  const settings: HostEndSetting[] = [];
  const [v4, v6] = [`net.ipv4.conf.${name}`, `net.ipv6.conf.${name}`];
  // A port of a bridge forwards nothing by itself.
  if (!bridged && families.has(4)) {
    settings.push(
      { key: `${v4}.forwarding`, value: "1", meaning: `the host forwards no IPv4 from ${name}` },
      // it answers ARP, and learns who asked, only where the way back leads to it (see neighbours.ts)
      { key: `${v4}.arp_filter`, value: "1", meaning: `${name} answers ARP of addresses that are not the pod's` },
      // 2 and above want the asking address in a subnet of the gateway's, or leave it out as one of scope host
      {
        key: `${v4}.arp_ignore`,
        value: "0",
        fine: ["1"],
        meaning: `${name} does not answer ARP for the pod's gateway`,
      },
    );
  }
  if (!bridged && families.has(6)) {
    settings.push(
      { key: `${v6}.disable_ipv6`, value: "0", meaning: `IPv6 is off on host interface ${name}` },
      { key: `${v6}.forwarding`, value: "1", meaning: `${name} is no router of IPv6` },
    );
    if (mtu !== undefined)
      settings.push({
        key: `${v6}.mtu`,
        value: String(mtu),
        meaning: `host interface ${name} has another MTU for IPv6`,
      });
  }
  settings.push({ key: `${v6}.accept_ra`, value: "0", meaning: `${name} accepts router advertisements` });
  return settings;
}

/** The parameters that are not as they must be; one that this kernel lacks is none. Runs in the namespace of the host end. @throws SysError */
export function wrongSettings(settings: readonly HostEndSetting[]): (HostEndSetting & { now: string })[] {
  return settings.flatMap((setting) => {
    const now = readSysctl(setting.key);
    const right = now === undefined || now === setting.value || setting.fine?.includes(now);
    return right ? [] : [{ ...setting, now }];
  });
}

/**
 * Sets the parameters that are wrong. Runs in the namespace of the host end.
 * @returns what was set, in words. @throws SysError
 */
export function settleHostEnd(end: HostEnd): string[] {
  return wrongSettings(hostEndSettings(end)).flatMap(({ key, value, now }) =>
    writeSysctlIfAny(key, value) ? [`${key} ${now} → ${value}`] : [],
  );
}
