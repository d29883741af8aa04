/**
 * What a VXLAN device needs besides its link settings, before it goes up.
 *
 * - IPv6 switched on for it where the node's pods have IPv6, whatever the host's default for new devices is; no router
 *   advertisement may configure it, and it gets no link-local address (the overlay has no use for one, and every
 *   address is one more thing that could answer).
 * - Loose reverse-path filtering. A peer's host may send to our pods from its underlay address, which the strict
 *   filter would look for on the uplink and drop here. The kernel takes the stricter of `all` and the device's own value
 *   except that 2 beats 1, so 2 is the one value that has the same effect on every host
 *   (Documentation/networking/ip-sysctl.rst, rp_filter).
 * - TX checksum offload. Kernels before ea64d8d6c675 ("netfilter: nat: never update the UDP checksum when it's
 *   0", Linux 5.7 and the stable releases below) corrupt the outer checksum of VXLAN packets that kube-proxy
 *   masquerades, so NodePort traffic to other nodes' pods stalls for 63 seconds; without the offload they do not.
 */
import { release } from "node:os";
import {
  setTxChecksum,
  settleSysctls,
  SysError,
  txChecksum,
  type WantedSysctls,
  withNetns,
  wrongSysctls,
} from "../../../sys/index.ts";
import type { NetlinkEvent } from "../../../netlink/index.ts";
import type { DesiredDevice } from "../../../peers/index.ts";

/** Where and for what the device is prepared. */
export interface Preparation {
  /** Namespace of the device; the process's own when absent. */
  netns?: number | string | undefined;
  /** Whether this node's pods have IPv6 addresses. */
  ipv6: boolean;
}

/** First release of each stable series that has the fix; every later series has it. */
const CHECKSUM_FIXED: readonly [number, number, number][] = [
  [4, 14, 181],
  [4, 19, 123],
  [5, 4, 41],
  [5, 6, 13],
];
const CHECKSUM_FIXED_SINCE: readonly [number, number] = [5, 7];

/** Whether the offload works with masqueraded VXLAN packets on a kernel of this release (uname -r). */
export function checksumOffloadWorks(kernel: string): boolean {
  const [major = 0, minor = 0, patch = 0] = kernel.split(/[^0-9]/).map(Number);
  const [sinceMajor, sinceMinor] = CHECKSUM_FIXED_SINCE;
  if (major > sinceMajor || (major === sinceMajor && minor >= sinceMinor)) return true;
  return CHECKSUM_FIXED.some(([a, b, c]) => a === major && b === minor && patch >= c);
}

/** The device's kernel parameters, in the order in which they are set. */
function deviceSysctls(name: string, ipv6: boolean): WantedSysctls {
  return [
    // what new devices get from `default` is off on hardened hosts, whatever `all` says
    [`net.ipv4.conf.${name}.forwarding`, "1"],
    [`net.ipv4.conf.${name}.rp_filter`, "2"],
    ...(ipv6
      ? [[`net.ipv6.conf.${name}.disable_ipv6`, "0"] as const, [`net.ipv6.conf.${name}.forwarding`, "1"] as const]
      : []),
    [`net.ipv6.conf.${name}.accept_ra`, "0"],
    [`net.ipv6.conf.${name}.addr_gen_mode`, "1"],
  ];
}

/** What was done to a device, in words, and what could not be. */
export interface Prepared {
  did: string[];
  problems: string[];
}

/** Prepares a device; what is right already is left alone. */
export function prepareDevice({ name, txChecksum: wanted }: DesiredDevice, { netns, ipv6 }: Preparation): Prepared {
  return inside(netns, () => {
    const did: string[] = [];
    const problems: string[] = [];
    for (const parameter of deviceSysctls(name, ipv6))
      attempt(problems, () => void did.push(...settleSysctls([parameter])));
    const offload = wanted === "auto" ? checksumOffloadWorks(release()) : wanted === "on";
    attempt(problems, () => {
      if (txChecksum(name) === offload) return;
      setTxChecksum(name, offload);
      did.push(`switched its checksum offload ${offload ? "on" : "off"}`);
    });
    return { did, problems };
  });
}

/**
 * Whether notifications tell of kernel parameters of a device, and these are not what {@link prepareDevice} makes them: what a parameter is
 * now is not told, so it is looked at. One that cannot be read counts as wrong; whoever puts it right says what stands in the way.
 */
export function tellWrongParameters(
  events: readonly NetlinkEvent[],
  { index, name }: { index: number | undefined; name: string },
  { netns, ipv6 }: Preparation,
): boolean {
  if (!events.some((event) => event.kind === "netconf" && event.netconf.ifindex === index)) return false;
  try {
    return inside(netns, () => wrongSysctls(deviceSysctls(name, ipv6)).length > 0);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return true;
  }
}

const inside = <T>(netns: Preparation["netns"], action: () => T): T =>
  netns === undefined ? action() : withNetns(netns, action);

function attempt(problems: string[], action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    problems.push(error.message);
  }
}
