/** Processes of this machine, as far as this process's own view of them goes (proc_pid(5)). */
import { readdirSync } from "node:fs";

/** Their ids, as /proc names them. Any may be gone by the time that it is looked at. */
export const processIds = (): string[] => readdirSync("/proc").filter((name) => /^\d+$/.test(name));
