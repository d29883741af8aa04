/**
 * Kernel parameters under /proc/sys. Those under net/ are of the network namespace of the calling thread, so the
 * same functions serve inside `withNetns`.
 */
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { SysError } from "./errors.ts";

/** Where parameters are. A container's own /proc/sys is read-only: its manifest mounts the host's network part elsewhere. */
const root = (): string => process.env["SKYLANE_PROC_SYS"] ?? "/proc/sys";
/** Parameters of one interface, whose name may have dots in it: net.ipv4.conf.<name>.rp_filter. */
const PER_INTERFACE = /^(net)\.(ipv4|ipv6)\.(conf|neigh)\.(.+)\.([^.]+)$/;

/** The file of a parameter; only an interface's name may contain dots. @throws RangeError when the key cannot be one. */
export function sysctlPath(key: string): string {
  const parts = PER_INTERFACE.exec(key)?.slice(1) ?? key.split(".");
  const bad = (part: string) =>
    part === "" || part === "." || part === ".." || part.includes("/") || part.includes("\0");
  if (parts.length < 2 || parts.some(bad)) throw new RangeError(`${JSON.stringify(key)} is not a kernel parameter`);
  return `${root()}/${parts.join("/")}`;
}

/** The value of a parameter ("net.ipv4.ip_forward" → "1"), `undefined` where this kernel has none. @throws SysError, RangeError */
export function readSysctl(key: string): string | undefined {
  try {
    return readFileSync(sysctlPath(key), "utf8").trimEnd();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw SysError.from(error, `reading kernel parameter ${key}`);
  }
}

const setting = (key: string, value: string | number): string =>
  `setting kernel parameter ${key} to ${JSON.stringify(String(value))}`;

/**
 * Sets a parameter. One that has the value already is left alone, which also serves containers whose /proc/sys is
 * read-only.
 * @throws SysError ENOENT where this kernel has none, EROFS, EINVAL …; RangeError when the key cannot be a parameter.
 */
export function writeSysctl(key: string, value: string | number): void {
  if (!writeSysctlIfAny(key, value)) throw new SysError(constants.errno.ENOENT, "open", setting(key, value));
}

/** The same, but a parameter that this kernel does not have is not set: returns whether it has it. @throws SysError, RangeError */
export function writeSysctlIfAny(key: string, value: string | number): boolean {
  const path = sysctlPath(key);
  const text = String(value);
  const now = readSysctl(key);
  if (now === undefined || now === text) return now !== undefined;
  try {
    // "r+" and not "w": a parameter that is not there must not be taken for a file to create.
    writeFileSync(path, text, { flag: "r+" });
    return true;
  } catch (error) {
    throw SysError.from(error, setting(key, value));
  }
}

/** Parameters with the values that they must have, in the order in which they are set. */
export type WantedSysctls = readonly (readonly [key: string, value: string])[];

/** Those that have another value now. One that this kernel does not have is none of them. @throws SysError, RangeError */
export function wrongSysctls(wanted: WantedSysctls): { key: string; value: string; now: string }[] {
  return wanted.flatMap(([key, value]) => {
    const now = readSysctl(key);
    return now === undefined || now === value ? [] : [{ key, value, now }];
  });
}

/** Sets those that have another value. @returns what was set, in words: "net.ipv4.ip_forward 0 → 1". @throws SysError, RangeError */
export function settleSysctls(wanted: WantedSysctls): string[] {
  const did: string[] = [];
  // One by one: switching forwarding on sets others, which may be in the list behind it.
  for (const parameter of wanted) {
    for (const { key, value, now } of wrongSysctls([parameter]))
      if (writeSysctlIfAny(key, value)) did.push(`${key} ${now} → ${value}`);
  }
  return did;
}

/**
 * The same for a device that was just made, whose parameters are not yet as they should be: they are written without a look
 * first, which is half the work; only where writing is not possible they are looked at. @throws SysError, RangeError
 */
export function initSysctlIfAny(key: string, value: string | number): boolean {
  let fd: number;
  try {
    fd = openSync(sysctlPath(key), "r+");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return writeSysctlIfAny(key, value);
  }
  try {
    writeSync(fd, String(value));
    return true;
  } catch (error) {
    throw SysError.from(error, setting(key, value));
  } finally {
    closeSync(fd);
  }
}
