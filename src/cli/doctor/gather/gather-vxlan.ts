/**
 * VXLAN devices that no list of this host's devices shows: made here and moved into another network namespace, as Docker Swarm does
 * it with those of its networks. The UDP socket of such a device stays here, and is nobody's process's. So all other namespaces
 * that can be seen are looked through: those of processes, and those that somebody holds by a mount.
 */
import { existsSync, readFileSync } from "node:fs";
import { type Link, NetlinkError, Rtnl } from "../../../netlink/index.ts";
import { closeFd, netnsIdentity, openNetns, processIds, SysError } from "../../../sys/index.ts";
import type { VxlanElsewhere } from "../facts.ts";

const OWN = "/proc/self/ns/net";
/** Namespaces that are looked into: more than any node has pods. */
const MOST = 4_096;

/** Devices on this UDP port that were made here and are in another namespace. */
export function vxlanElsewhere(port: number): VxlanElsewhere[] {
  const home = openNetns(OWN);
  try {
    const { ino } = netnsIdentity(home);
    const seen = new Set([ino]);
    const found: VxlanElsewhere[] = [];
    for (const path of candidates()) {
      if (seen.size > MOST) break;
      found.push(...skipGone(() => lookInto(path, seen, home, port), []));
    }
    return found;
  } finally {
    closeFd(home);
  }
}

/** Paths of namespaces, those with a name first: a name says more than a process. */
function candidates(): string[] {
  return [...mounted(), ...processIds().map((pid) => `/proc/${pid}/ns/net`)];
}

/** Mounts of namespaces (proc_pid_mountinfo(5)): the fifth field is the place, the type follows a dash. */
function mounted(): string[] {
  const lines = skipGone(() => readFileSync("/proc/self/mountinfo", "utf8").split("\n"), []);
  return lines.flatMap((line) => {
    const [before = "", after = ""] = line.split(" - ");
    const place = before.split(" ")[4] ?? "";
    return after.startsWith("nsfs ") && existsSync(place) ? [place] : [];
  });
}

function lookInto(path: string, seen: Set<number>, home: number, port: number): VxlanElsewhere[] {
  const fd = openNetns(path);
  try {
    const { ino } = netnsIdentity(fd);
    if (seen.has(ino)) return [];
    seen.add(ino);
    using rtnl = Rtnl.open({ netns: fd });
    const devices = rtnl.links().filter(({ vxlan, peerNetnsId }) => vxlan?.port === port && peerNetnsId !== undefined);
    if (devices.length === 0) return [];
    const here = rtnl.netnsId(home);
    return devices
      .filter(({ peerNetnsId }) => here !== undefined && peerNetnsId === here)
      .map((link) => elsewhere(link, path));
  } finally {
    closeFd(fd);
  }
}

const elsewhere = ({ name, alias, vxlan }: Link, netns: string): VxlanElsewhere => ({
  name,
  vni: vxlan?.vni ?? 0,
  netns,
  ...(alias !== undefined && { alias }),
});

/** Processes end and mounts go while one looks at them, some may not be looked at, and some mounts are of other namespaces. */
function skipGone<T>(look: () => T, otherwise: T): T {
  try {
    return look();
  } catch (error) {
    const code =
      error instanceof SysError || error instanceof NetlinkError ? error.code : (error as { code?: string }).code;
    if (["ENOENT", "ESRCH", "EACCES", "EPERM", "EINVAL"].includes(code ?? "")) return otherwise;
    throw error;
  }
}
