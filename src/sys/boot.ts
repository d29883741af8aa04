/**
 * Which boot of the machine this is: state that lives in the kernel (namespaces, devices) is gone when it changes.
 */
import { readFileSync } from "node:fs";

/** No process outlives its boot. */
let known: string | undefined;

/** The kernel's random identifier of this boot. @throws Error of fs when /proc is not mounted */
export const bootId = (): string => (known ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim());
